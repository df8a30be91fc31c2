"""Which parts become one. Pure.

In: the part registry. Out: pieces of work, each some files that are to stand for others. The hot parts of an hour that
is over become one file a table, quickly, so that queries open few files; the hours of a day that is over become the
file that stays, pressed hard. An hour is one piece with all its tables, because one bound says for all of them what is
hot. Making the files is merge.py's job, registering them and deleting what they stand for is upkeep.py's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from recorder.journal.registry import Part
from recorder.partitions import layout, schema
from recorder.partitions.views import STORED

FILE_BYTES_MAX = 128 << 20  # of inputs for one file: bounds what a crash makes us do again, and the room it takes

_TABLES = frozenset(stored.name for stored in STORED)


@dataclass(frozen=True, slots=True)
class Output:
    """One file that is to stand for its inputs, which are next to each other in their table."""

    table: str
    path: str
    inputs: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """One step: all its outputs stand for all their inputs at once."""

    what: str
    outputs: tuple[Output, ...]
    level: int | None = None  # of zstd; None: the one for files that stay
    hot_since: str = ""  # the hour before which nothing has to be looked for among the hot files any more

    @property
    def inputs(self) -> list[Part]:
        return [part for output in self.outputs for part in output.inputs]

    @property
    def byte_count(self) -> int:
        return sum(part.byte_count for part in self.inputs)


def plan(parts: Sequence[Part], present_hour: str = "") -> list[Work]:
    """All there is to do now, hours first, the oldest first. Pure.

    An hour or a day is over when something later was sealed: receive times never go back, so nothing of it will come.
    Where nobody records and nothing waits to be sealed, it is over when the clock says so: before `present_hour`.
    """
    runs = list(_runs(sorted(parts, key=lambda part: (part.table_name, part.first_position, part.last_position))))
    newest = max((hour for hour, _ in runs), default="")
    newest = max(newest, present_hour)
    work = []
    hot = [(hour, run) for hour, run in runs if hour < newest and layout.is_hot(run[0].path)]
    for hour, those in groupby(sorted(hot, key=_when), _when):
        outputs = tuple(_output(run, day=False) for _, run in those)
        work.append(Work(f"hour {hour}", outputs, schema.FAST_LEVEL, layout.next_hour(hour)))
    unfinished = {hour[:8] for hour, run in runs if layout.is_hot(run[0].path)} | {newest[:8]}
    cold = [(hour[:8], run) for hour, run in runs if hour[:8] not in unfinished]
    for day, run in sorted(cold, key=_when):
        work += [Work(f"{day} {run[0].table_name}", (_output(some, day=True),)) for some in _bounded(run)]
    return work


def _when(each: tuple[str, list[Part]]) -> str:
    return each[0]


def _runs(ordered: Sequence[Part]) -> Iterator[tuple[str, list[Part]]]:
    """Hot parts of an hour, and cold parts of hours of one day, without any other part of their table in between."""

    def key(part: Part) -> tuple[str, bool, str]:
        hot, hour = layout.is_hot(part.path), layout.hour_in(part.path) or ""
        return part.table_name, hot, hour if hot else hour[:8]

    for (table, _, when), run in groupby(ordered, key):
        if when and table in _TABLES:
            those = list(run)
            yield layout.hour_in(those[-1].path) or "", those


def _bounded(run: Sequence[Part]) -> Iterator[list[Part]]:
    """Cut where the next part would make it more than FILE_BYTES_MAX."""
    some: list[Part] = []
    for part in run:
        if some and sum(each.byte_count for each in (*some, part)) > FILE_BYTES_MAX:
            yield some
            some = []
        some.append(part)
    yield some


def _output(inputs: Sequence[Part], *, day: bool) -> Output:
    first, last = inputs[0], inputs[-1]
    hour = layout.hour_in(first.path) or ""
    path = layout.cold_path(first.table_name, hour, first.first_position, last.last_position, day=day)
    return Output(first.table_name, path, tuple(inputs))
