"""A recorder's life in short, forked to be killed: `python -m recorder.drill.lives`.

In: lines on stdin, `before STEP GROUPS FOLDER`, `after SECONDS GROUPS FOLDER`, `never 0 GROUPS FOLDER`. Out: what each
life is at, what it publishes as durable, before which step it died, and `gone` with how it ended.

A step is whatever the process asks the system for by name in the data folder (open, rename, remove, mkdir) and every
SQL statement; the interpreter's audit events and SQLite's trace tell of them, so the product has no hooks and new code
has its steps at once. A life is forked from a process that has everything imported and nothing begun: it takes a
quarter of a second, not two.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.dataset  # noqa: F401 - pyarrow imports it when first needed, which would be in every life anew

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions import seal
from recorder.partitions.catalog import CATALOG
from recorder.partitions.sealer import Sealer
from recorder.partitions.upkeep import Upkeep

T = TypeVar("T")

BEFORE, AFTER, NEVER = "before", "after", "never"
START_NS = 1_767_222_000 * SECOND_NS  # 2025-12-31 23:00 UTC
LIFE_NS = 7_200 * SECOND_NS  # two hours and a new year in each recorder's life, so that there is something to compact
STREAMS = (Stream("quotes", "finance_query.quotes"), Stream("news", "finlight"))
GROUP_MESSAGES = 6
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
CATALOGUE, PUBLISHING = "catalogue", "publishing"


def payload(position: int) -> bytes:
    """What is recorded at a position: one of two feeds, so that typed tables have rows as well."""
    if position % 2:
        return b'[{"symbol":"S%d","price":"%d.00"}]' % (position, position)
    return b'{"action":"sendArticle","data":{"link":"https://example.com/%d","title":"%d"}}' % (position, position)


async def record(data: Path, groups: int) -> None:
    """Open, go on where the last one ended, seal, show, compact, delete, close."""
    _say("at opening")
    clock = Clock()
    seal.HOUR_PAUSE_S = 0.0  # for readers, and nobody reads meanwhile
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), clock)
    journal.on_durable(lambda position: _say(f"durable {position}"))
    sealer = Sealer(data, journal, 64 << 20, clock, lambda: ThreadPoolExecutor(1))
    upkeep = Upkeep(data, journal, settings.Compact(level=1, grace_s=0), clock, sealer.show, _Here())
    _say("at writing")
    apart_ns = LIFE_NS // (groups * GROUP_MESSAGES)
    for _ in range(groups):
        last = journal.durable + GROUP_MESSAGES
        for position in range(journal.durable + 1, last + 1):
            moment = Moment(START_NS + position * apart_ns, position)
            journal.append(STREAMS[(position + 1) % 2], Kind.DATA, 1, [payload(position)], Mark.NONE, moment)
        await journal.wait_durable(last)
    _say("at sealing")
    await sealer.seal()
    _say("at compacting")
    await upkeep.compact()
    await upkeep.close()
    _say("at closing")
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


class Count:
    """Dies before the step it was told."""

    def __init__(self, data: Path, number: int) -> None:
        self._data = str(data)
        self._left = number
        self._connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def begin(self) -> None:
        sys.addaudithook(self._audit)
        # For a trace of what SQLite does: it has no hook for connections to be.
        sqlite3.connect = self._traced  # type: ignore[assignment]

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if isinstance(path, str) and path.startswith(self._data):
                self._step(f"{event.removeprefix('os.')} {path.removeprefix(self._data) or '/'}")

    def _traced(self, *arguments: Any, **options: Any) -> sqlite3.Connection:
        """In place of sqlite3's own: the audit event of a connection comes before it can be traced."""
        db: sqlite3.Connection = self._connect(*arguments, **options)
        db.set_trace_callback(lambda statement: self._step(f"sql {statement[:200]}"))
        return db

    def _step(self, name: str) -> None:
        self._left -= 1
        if self._left == 0:
            _say(f"step {plain(name)}")
            os.kill(os.getpid(), signal.SIGKILL)


_TABLES = re.compile(r"^/\w+(?=/(hot|cold|_views)\b)")


def plain(step: str) -> str:
    """A step's name without what differs from one life or table to the next: numbers, values, the names of tables."""
    word, _, rest = re.sub(r"\s+", " ", step).partition(" ")
    if word == "sql":
        statement = re.split(r" VALUES| WHERE| ORDER", rest)[0]
        fact = re.search(r"'(\w+)'", rest) if statement.endswith(" facts") else None
        return f"sql {re.sub(r'[0-9]+', '#', statement)}{f' {fact[1]}' if fact else ''}"
    return f"{word} {re.sub(r'[0-9a-f]{16}|[0-9]+', '#', _TABLES.sub('/TABLE', rest))}"


def stage_of(step: str, stage: str) -> str:
    """What a step belongs to: the catalogue and the publishing of a file happen while something else goes on."""
    word, _, path = step.partition(" ")
    if word == "sql" or path == "/":
        return stage
    if CATALOG in path or "/_views" in path:
        return CATALOGUE
    return PUBLISHING if "/hot/" in path or "/cold/" in path else stage


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _serve() -> None:
    for line in sys.stdin:
        when, how_much, groups, folder = line.rstrip("\n").split(" ", 3)
        pid = os.fork()
        if pid == 0:
            if when == BEFORE:
                Count(Path(folder), int(how_much)).begin()
            asyncio.run(record(Path(folder), int(groups)))
            os._exit(0)
        if when == AFTER:
            time.sleep(float(how_much))
            os.kill(pid, signal.SIGKILL)  # not waited for yet, so nobody else has this number
        _say(f"gone {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")


if __name__ == "__main__":
    _serve()
