"""`kill -9` before any chosen step of recording, sealing, publishing and compacting, and what is left then.

In: a folder, and the number of a step. Out: the step's name, and what is wrong with the recording afterwards: nothing.
A step is whatever the process asks the system for by name in the data folder (open, rename, remove, mkdir) and every
SQL statement; the interpreter's audit events and SQLite's trace tell of them, so the product has no hooks and new code
has its steps at once. Random moments, which also fall within a step, are kill.py's.

`python -m recorder.drill.steps` is the other end: for every line of stdin it forks a recorder that will be killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.commands.verify import verify
from recorder.errors import RecorderError
from recorder.journal import lock
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions import seal
from recorder.partitions.catalog import connect
from recorder.partitions.sealer import Sealer
from recorder.partitions.upkeep import Upkeep

T = TypeVar("T")

NEVER = 0
START_NS = 1_767_222_000 * SECOND_NS  # 2025-12-31 23:00 UTC
APART_NS = 300 * SECOND_NS  # two hours and a new year in each recorder's life, so that there is something to compact
STREAMS = (Stream("quotes", "finance_query.quotes"), Stream("news", "finlight"))
GROUPS, GROUP_MESSAGES = 4, 6
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of one kill."""

    step: str  # "" where the process came to its end before that step
    wrong: tuple[str, ...]


def payload(position: int) -> bytes:
    """What is recorded at a position: one of two feeds, so that typed tables have rows as well."""
    if position % 2:
        return b'[{"symbol":"S%d","price":"%d.00"}]' % (position, position)
    return b'{"action":"sendArticle","data":{"link":"https://example.com/%d","title":"%d"}}' % (position, position)


async def record(data: Path) -> None:
    """A recorder's life in short: open, go on where the last one ended, seal, show, compact, delete, close."""
    clock = Clock()
    seal.HOUR_PAUSE_S = 0.0  # for readers, and nobody reads meanwhile
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), clock)
    sealer = Sealer(data, journal, 64 << 20, clock, lambda: ThreadPoolExecutor(1))
    upkeep = Upkeep(data, journal, settings.Compact(level=1, grace_s=0), clock, sealer.show, _Here())
    for _ in range(GROUPS):
        last = journal.durable + GROUP_MESSAGES
        for position in range(journal.durable + 1, last + 1):
            moment = Moment(START_NS + position * APART_NS, position)
            journal.append(STREAMS[(position + 1) % 2], Kind.DATA, 1, [payload(position)], Mark.NONE, moment)
        await journal.wait_durable(last)
    await sealer.seal()
    await upkeep.compact()
    await upkeep.close()
    await sealer.close()
    await journal.close()


class _Here:
    """Where upkeep does its heavy work: in the process that is killed."""

    async def do(self, task: Callable[[], T]) -> T:
        return task()

    def kill(self) -> None:
        """Nothing else is there."""

    async def end(self) -> None:
        """Nor to be let go."""


class Steps:
    """`with Steps(folder) as steps:`; then `steps.kill(n)` for as many n as wanted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Steps:
        self._folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(record(self._folder / "before"))
        self._server = subprocess.Popen(
            [sys.executable, "-m", "recorder.drill.steps"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None and self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE_S)

    def kill(self, number: int) -> Killed:
        """Record once more, be killed before step `number` (from 1), look, and record again in peace."""
        data = self._folder / f"killed-{number}"
        shutil.copytree(self._folder / "before", data)
        step = self._run(data, number)
        wrong = list(_wrong(data, "after the kill"))
        if self._run(data, NEVER):
            wrong.append("the next recorder did not come to its end")
        wrong += _wrong(data, "after the next recorder")
        wrong += [f"{finding.what}: {finding.where}: {finding.detail}" for finding in verify(data).findings]
        if not wrong:
            shutil.rmtree(data)
        return Killed(step, tuple(wrong))

    def all(self, every: int = 1) -> Iterator[Killed]:
        """One kill before each step, or before one in so many, from the first to the last."""
        number = 1
        while (killed := self.kill(number)).step:
            yield killed
            number += every

    def _run(self, data: Path, number: int) -> str:
        """The name of the step before which it was killed; "" if it came to its end."""
        assert self._server is not None and self._server.stdin is not None and self._server.stdout is not None
        print(f"{number} {data}", file=self._server.stdin, flush=True)
        step = ""
        while not (line := self._server.stdout.readline()).startswith("gone"):
            if not line:
                raise RuntimeError("the process that forks recorders is gone; its own words are above")
            step = line.strip()
        status = int(line.split()[1])
        if status not in (0, -signal.SIGKILL):
            return f"{step} (ended with {status})"
        return step if status else ""


def _wrong(data: Path, when: str) -> Iterator[str]:
    """What a reader sees: every position from 1 on, once, with what belongs there."""
    try:
        with connect(data) as connection:
            found = connection.sql("SELECT position, text FROM messages ORDER BY position").fetchall()
    except (RecorderError, duckdb.Error) as error:
        yield f"{when}: it cannot be read: {error}"
        return
    if [position for position, _ in found] != list(range(1, len(found) + 1)):
        yield f"{when}: positions are not dense"
    if any(text.encode() != payload(position) for position, text in found):
        yield f"{when}: a message is not what was recorded"
    if len(found) < (told := lock.published(data)):
        yield f"{when}: {told} were published as durable, {len(found)} are there"


# --- the other end ------------------------------------------------------------------------------------------------


class _Count:
    """Dies before the step it was told."""

    def __init__(self, data: Path, number: int) -> None:
        self._data = str(data)
        self._left = number
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(self._data):
                self._step(f"{event.removeprefix('os.')} {path.removeprefix(self._data)}")

    def connect(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """In place of sqlite3's own: the audit event of a connection comes before it can be traced."""
        db: sqlite3.Connection = self._connect(*arguments, **options)
        db.set_trace_callback(lambda statement: self._step(f"sql {statement[:60]}"))
        return db

    def _step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            _say(re.sub(r"\d+|\s+", lambda found: "#" if found[0][0].isdigit() else " ", name))
            os.kill(os.getpid(), signal.SIGKILL)


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _serve() -> None:
    for line in sys.stdin:
        number, data = line.split(maxsplit=1)
        pid = os.fork()
        if pid == 0:
            folder = Path(data.strip())
            if int(number) != NEVER:
                count = _Count(folder, int(number))
                sys.addaudithook(count.audit)
                sqlite3.connect = count.connect  # type: ignore[assignment]
            asyncio.run(record(folder))
            os._exit(0)
        _say(f"gone {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")


if __name__ == "__main__":
    _serve()
