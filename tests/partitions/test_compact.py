from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.journal.registry import Part
from recorder.partitions import compact, layout
from recorder.partitions.catalog import divide
from recorder.partitions.compact import Work, plan

TABLES = ("messages", "quotes", "articles")
START = datetime(2026, 11, 21, 20, tzinfo=UTC)


def hour_at(hours: int) -> str:
    return f"{START + timedelta(hours=hours):%Y%m%d%H}"


def hot(table: str, hours: int, first: int, last: int, byte_count: int = 1000) -> Part:
    path = layout.hot_path(table, hour_at(hours), first, last)
    return Part(table, path, "hot", first, last, hours + 1, hours + 1, last - first + 1, byte_count, 1)


def applied(parts: Sequence[Part], work: Work) -> list[Part]:
    """The registry when a piece of work is done."""
    gone = set(work.inputs)
    assert gone <= set(parts)
    made = []
    for output in work.outputs:
        of = output.inputs
        rows, size = sum(part.row_count for part in of), sum(part.byte_count for part in of)
        span = of[0].first_position, of[-1].last_position, of[0].first_received_ns, of[-1].last_received_ns
        made.append(Part(output.table, output.path, "cold", *span, rows, size, 2))
    return [*(part for part in parts if part not in gone), *made]


def finished(parts: Sequence[Part]) -> list[Part]:
    """When all there is to do is done."""
    parts = list(parts)
    while works := plan(parts):
        for work in works:
            parts = applied(parts, work)
    return parts


def minutes(table: str, hours: int, first: int, count: int) -> list[Part]:
    return [hot(table, hours, first + 10 * n, first + 10 * n + 9) for n in range(count)]


CASES: dict[str, tuple[list[Part], list[tuple[str, int, str]]]] = {
    "nothing": ([], []),
    "the hour under way stays": (minutes("messages", 0, 1, 3), []),
    "an hour that is over becomes one file a table": (
        [*minutes("messages", 0, 1, 3), *minutes("quotes", 0, 1, 2), *minutes("messages", 1, 31, 1)],
        [("hour 2026112120", 2, "2026112121")],
    ),
    "the oldest hour first": (
        [*minutes("messages", 0, 1, 2), *minutes("messages", 1, 21, 2), *minutes("messages", 2, 41, 1)],
        [("hour 2026112120", 1, "2026112121"), ("hour 2026112121", 1, "2026112122")],
    ),
    "one part alone becomes cold too, so that the bound can move": (
        [*minutes("messages", 0, 1, 1), *minutes("messages", 1, 11, 1)],
        [("hour 2026112120", 1, "2026112121")],
    ),
    "a table that nobody knows is left alone": (
        [*minutes("messages", 1, 1, 1), *minutes("unheard_of", 0, 1, 2)],
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_plan(case: str) -> None:
    parts, expected = CASES[case]
    assert [(work.what, len(work.outputs), work.hot_since) for work in plan(parts)] == expected


def test_a_day_that_is_over_becomes_one_file_a_table() -> None:
    parts = []
    for hours in range(6):  # from 20:00 to 02:00 of the next day
        parts += minutes("messages", hours, 1 + 20 * hours, 2) + minutes("quotes", hours, 1 + 20 * hours, 2)
    done = {part.path for part in finished(parts)}
    assert done == {
        *(layout.cold_path(table, hour_at(0), 1, 80, day=True) for table in ("messages", "quotes")),
        *(layout.cold_path(table, hour_at(4), 81, 100, day=False) for table in ("messages", "quotes")),
        *(part.path for part in parts if part.first_position > 100),
    }


def test_an_hour_that_cannot_be_read_does_not_hold_the_others_up_but_its_day() -> None:
    parts = [part for hours in range(6) for part in minutes("messages", hours, 1 + 20 * hours, 2)]
    bad = hour_at(1)
    while works := [work for work in plan(parts) if work.what != f"hour {bad}"]:
        for work in works:
            parts = applied(parts, work)
    assert {layout.hour_in(part.path) for part in parts if part.tier == "hot"} == {bad, hour_at(5)}
    assert [part.path for part in parts if not layout.hour_in(part.path)] == []
    assert {layout.hour_in(part.path) for part in finished(parts)} == {None, hour_at(4), hour_at(5)}


def test_a_file_that_stays_is_made_of_so_many_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "FILE_BYTES_MAX", 4500)
    parts = [part for hours in range(6) for part in minutes("messages", hours, 1 + 20 * hours, 2)]
    spans = [(part.first_position, part.last_position) for part in finished(parts) if not layout.hour_in(part.path)]
    assert spans == [(1, 40), (41, 80)]


class Disk:
    """A data directory as its readers see it, with every file that was ever made and what is in it."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.files: dict[str, Counter[int]] = {}
        self.hot_since: str | None = None

    def seal(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self.files[part.path] = Counter(range(part.first_position, part.last_position + 1))
        self.parts += parts

    def publish(self, work: Work) -> None:
        for output in work.outputs:
            assert output.path not in self.files
            self.files[output.path] = sum((self.files[part.path] for part in output.inputs), Counter())

    def register(self, work: Work) -> None:
        self.parts = applied(self.parts, work)
        self.hot_since = max(work.hot_since, self.hot_since or "")

    def catalogue(self) -> tuple[dict[str, list[str]], str]:
        return divide((part.path for part in self.parts), self.hot_since)

    def seen(self, catalogue: tuple[dict[str, list[str]], str]) -> dict[str, Counter[int]]:
        """How often each position of each table is read by whoever has this catalogue."""
        listed, bound = catalogue
        found = [path for path in self.files if layout.is_hot(path) and (layout.hour_in(path) or "") >= bound]
        return self._read([*found, *(path for paths in listed.values() for path in paths)])

    def registered(self) -> dict[str, Counter[int]]:
        return self._read([part.path for part in self.parts])

    def _read(self, paths: Sequence[str]) -> dict[str, Counter[int]]:
        seen: dict[str, Counter[int]] = {table: Counter() for table in TABLES}
        for path in paths:
            seen[layout.table_of(path)].update(self.files[path])
        return seen


Seal = tuple[int, int, frozenset[str]]  # hours since the one before, messages, typed tables that have rows
SEALS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 1, 5, 30, -1]), st.integers(1, 5), st.frozensets(st.sampled_from(TABLES[1:]))
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(SEALS, st.sets(st.integers(0, 24)))
def test_whoever_reads_sees_every_position_once_before_and_after_every_step(seals: list[Seal], stops: set[int]) -> None:
    """Also where the clock goes back between two seals, and for a catalogue from before the step."""
    disk = Disk()
    expected: dict[str, Counter[int]] = {table: Counter() for table in TABLES}
    hours = position = 0

    def work_off() -> None:
        while works := plan(disk.parts):
            for work in works:
                before = disk.catalogue()
                disk.publish(work)
                assert disk.seen(before) == disk.registered() == expected
                disk.register(work)
                assert disk.seen(before) == disk.seen(disk.catalogue()) == disk.registered() == expected

    for number, (later, count, typed) in enumerate(seals):
        hours = max(0, hours + later)
        span = (position + 1, position + count)
        position += count
        disk.seal([hot(table, hours, *span) for table in ("messages", *sorted(typed))])
        for table in ("messages", *typed):
            expected[table].update(range(span[0], span[1] + 1))
        assert disk.seen(disk.catalogue()) == expected
        if number in stops:
            work_off()
    work_off()
    newest = max((layout.hour_in(part.path) or "" for part in disk.parts), default="")
    for part in disk.parts:
        hour = layout.hour_in(part.path)
        assert hour is None or hour == newest or (not layout.is_hot(part.path) and hour[:8] == newest[:8])
