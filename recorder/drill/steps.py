"""`kill -9` before any chosen step of recording, sealing, publishing and compacting, and what is left then.

In: a folder, and the number of a step, or chance for moments in between. Out: what was being done, and what is wrong
with the recording afterwards: nothing. What dies here is lives.py's; whole recorders, with feeds and sockets, are
killed by kill.py.
"""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from recorder.commands.verify import verify
from recorder.drill.lives import AFTER, BEFORE, NEVER, payload, stage_of
from recorder.errors import RecorderError
from recorder.journal import lock
from recorder.partitions.catalog import CATALOG, connect
from recorder.partitions.schema import MESSAGES

GROUPS = 4  # commits in a life that is killed before a step: more would only be the same steps again
GROUPS_AT_RANDOM = 40  # so that a third of a life is writing
HEIRS = 20  # kills in a row on one recording, each of the heir of the last
GROWTH = 1.02  # of how long a life is taken to be, a kill: it is made shorter by those that come too late
PATIENCE_S = 60
EVERYTHING = "SELECT position, text FROM messages ORDER BY position"
TYPED = ("quotes", "articles")  # of odd positions, and of even ones
VIEWS = "SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Killed:
    """What came of one kill."""

    stage: str
    step: str  # "" where no step was chosen, or the process came to its end before it
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Life:
    stage: str
    step: str
    durable: int  # as it was told, by the process itself
    status: int  # 0, or the signal or what else ended it

    @property
    def wrong(self) -> list[str]:
        fine = self.status in (0, -signal.SIGKILL)
        return [] if fine else [f"it ended with {self.status} while {self.stage}; its own words are above"]


class Steps:
    """`with Steps(folder) as steps:`; then `all` or `at_random`. What went wrong is kept in the folder."""

    def __init__(self, folder: Path, groups: int = GROUPS) -> None:
        self._folder = folder
        self._data = folder / "data"  # always the same: a catalogue holds the path it was made for
        self._groups = groups
        self._server: subprocess.Popen[str] | None = None
        self._kept = 0

    def __enter__(self) -> Steps:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = subprocess.Popen(
            [sys.executable, "-m", "recorder.drill.lives"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._live(NEVER)
        self._data.rename(self._folder / "before")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None and self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE_S)

    def all(self, first: int = 1, every: int = 1) -> Iterator[Killed]:
        """One kill before each step, or before one in so many, from the first to the last; each on a fresh copy."""
        number = first
        while (killed := self.kill(number)).step or killed.wrong:
            yield killed
            if not killed.step:
                break  # it ended by itself, and badly
            number += every

    def kill(self, number: int) -> Killed:
        """Record once more, be killed before step `number` (from 1), look, and record again in peace."""
        self._fresh()
        life = self._live(BEFORE, number)
        wrong = [*life.wrong, *_wrong(self._data, "after the kill", life.durable), *_views_wrong(self._data)]
        return self._judged(Killed(life.stage, life.step), wrong)

    def at_random(self, times: int, chance: random.Random) -> Iterator[Killed]:
        """So many kills wherever it is at that moment; recordings grow over some kills before another is begun."""
        life_s = self._life_s()
        wrong: list[str] = []
        at = -1
        while times:
            if (at := (at + 1) % HEIRS) == 0:
                self._fresh()
                durable = 0
            after_s = chance.uniform(0, life_s)
            life = self._live(AFTER, after_s)
            durable = max(durable, life.durable)
            if not life.status:
                life_s = after_s  # it was faster than chance: a machine is not always as busy
                continue
            life_s *= GROWTH
            times -= 1
            wrong = [*life.wrong, *_wrong(self._data, "after the kill", durable), *_views_wrong(self._data)]
            killed = Killed(life.stage, "", tuple(wrong))
            last = at == HEIRS - 1 or not times or bool(wrong)
            if last:
                at = -1
            yield self._judged(killed, wrong) if last else killed

    def _life_s(self) -> float:
        self._fresh()
        begun = time.monotonic()
        self._live(NEVER)
        return time.monotonic() - begun

    def _fresh(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        shutil.copytree(self._folder / "before", self._data)

    def _judged(self, killed: Killed, wrong: list[str]) -> Killed:
        """What its heir makes of it, in peace."""
        heir = self._live(NEVER)
        wrong += [f"the next recorder: {each}" for each in heir.wrong]
        wrong += _wrong(self._data, "after the next recorder", heir.durable)
        wrong += [f"{finding.what}: {finding.where}: {finding.detail}" for finding in verify(self._data).findings]
        if wrong:
            self._kept += 1
            kept = self._data.rename(self._folder / f"killed-{self._kept}")
            wrong.append(f"it is kept in {kept}")
        return replace(killed, wrong=tuple(wrong))

    def _live(self, when: str, how_much: float = 0) -> _Life:
        """One life in the process that forks them."""
        assert self._server is not None and self._server.stdin is not None and self._server.stdout is not None
        print(f"{when} {how_much} {self._groups} {self._data}", file=self._server.stdin, flush=True)
        stage, step, durable = "opening", "", 0
        while not (line := self._server.stdout.readline()).startswith("gone"):
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "at":
                stage = rest
            elif word == "durable":
                durable = int(rest)
            elif word == "step":
                step, stage = rest, stage_of(rest, stage)
            else:
                raise RuntimeError("the process that forks recorders is gone; its own words are above")
        return _Life(stage, step, durable, int(line.split()[1]))


def _wrong(data: Path, when: str, durable: int) -> Iterator[str]:
    """What a reader sees: every position from 1 on, once, with what belongs there, and no row too few or too many."""
    try:
        with closing(connect(data, (MESSAGES, *TYPED))) as connection:
            found = connection.sql(EVERYTHING).fetchall()
            typed = [connection.table(table).project("position").order("position").fetchall() for table in TYPED]
        with closing(duckdb.connect(str(data / CATALOG), read_only=True)) as catalogue:
            sealed = catalogue.sql(EVERYTHING).fetchall()
    except (RecorderError, duckdb.Error) as error:
        yield f"{when}: it cannot be read: {error}"
        return
    if [position for position, _ in found] != list(range(1, len(found) + 1)):
        yield f"{when}: positions are not dense"
    if any(text.encode() != payload(position) for position, text in found):
        yield f"{when}: a message is not what was recorded"
    if sealed != found[: len(sealed)]:
        yield f"{when}: the catalogue shows something else"
    for rest, (table, rows) in enumerate(zip(TYPED, typed, strict=True)):
        if [position for (position,) in rows] != [n for n in range(1, len(found) + 1) if n % 2 != rest]:
            yield f"{when}: {table} has other rows than messages"
    told = max(durable, lock.published(data))
    if len(found) < told:
        yield f"{when}: {told} were published as durable, {len(found)} are there"


def _views_wrong(data: Path) -> Iterator[str]:
    """Whether each view of the catalogue answers."""
    try:
        with closing(duckdb.connect(str(data / CATALOG), read_only=True)) as catalogue:
            for (view,) in catalogue.sql(VIEWS).fetchall():
                catalogue.view(view).count("*").fetchall()
    except duckdb.Error as error:
        yield f"after the kill: the catalogue does not answer: {error}"
