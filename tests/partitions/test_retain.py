from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from recorder.clock import SECOND_NS
from recorder.journal.registry import Part
from recorder.partitions import layout
from recorder.partitions.retain import plan, thinning, without

DAY_NS = 86_400 * SECOND_NS
FIRST_DAY = datetime(2026, 11, 1, tzinfo=UTC)
FIRST_NS = int(FIRST_DAY.timestamp()) * SECOND_NS
NOW_NS = FIRST_NS + 10 * DAY_NS  # the eleventh day has just begun


def day(number: int, table: str = "messages", byte_count: int = 100, known: bool = True) -> Part:
    """The file of a whole day, 0 for the first; ten positions a day."""
    date = f"{FIRST_DAY + timedelta(days=number):%Y%m%d}00"
    first, last = number * 10 + 1, number * 10 + 10
    path = layout.cold_path(table, date, first, last, day=True)
    times = (FIRST_NS + number * DAY_NS, FIRST_NS + (number + 1) * DAY_NS - 1) if known else (0, 0)
    return Part(table, path, "cold", first, last, *times, 10, byte_count, 1)


def hot(hour: str, first: int, last: int) -> Part:
    path = layout.hot_path("messages", hour, first, last)
    return Part("messages", path, "hot", first, last, NOW_NS, NOW_NS, 10, 100, 1)


TABLES = ("messages", "quotes", "lifecycle")
TEN_DAYS = [day(number, table) for number in range(10) for table in TABLES]
TODAY = hot("2026111100", 101, 110)
BOUND = "2026111100"


def gone(
    parts: list[Part], days: float = 0, bytes_max: int = 0, hot_since: str | None = BOUND
) -> tuple[int, set[str], int]:
    """Up to where it goes, of which tables, and how many files."""
    found = plan(parts, NOW_NS, days, bytes_max, {}, {}, hot_since)
    if not found:
        return 0, set(), 0
    (going,) = found
    assert going.feed is None
    assert all(part.last_position <= going.last_position for part in going.parts)
    return going.last_position, {part.table_name for part in going.parts}, len(going.parts)


@pytest.mark.parametrize(("days", "position"), [(0, 0), (10, 0), (9, 10), (8.5, 10), (8, 20), (1, 90), (0.001, 90)])
def test_what_is_older_than_so_many_days_goes_a_whole_part_at_a_time(days: float, position: int) -> None:
    assert gone([*TEN_DAYS, TODAY], days)[0] == position


@pytest.mark.parametrize(
    ("bytes_max", "position"),
    [(0, 0), (4000, 0), (3100, 0), (3099, 10), (2900, 10), (2899, 20), (1, 100)],
)
def test_the_oldest_goes_until_the_rest_is_small_enough(bytes_max: int, position: int) -> None:
    assert gone([*TEN_DAYS, TODAY], bytes_max=bytes_max)[0] == position


def test_all_tables_go_together_but_the_recorders_own() -> None:
    assert gone(TEN_DAYS, 8) == (20, {"messages", "quotes"}, 4)


def test_a_part_that_reaches_further_than_what_goes_stays() -> None:
    first, last = day(0, "quotes"), day(3, "quotes")
    path = layout.cold_path("quotes", "2026110100", 1, 40, day=True)
    wide = Part("quotes", path, "cold", 1, 40, first.first_received_ns, last.last_received_ns, 40, 100, 1)
    messages = [day(number) for number in range(10)]
    assert gone([wide, *messages], 7) == (30, {"messages"}, 3)
    assert gone([wide, *messages], 6) == (40, {"messages", "quotes"}, 5)


def test_what_is_not_done_with_stays_however_full_it_gets() -> None:
    assert gone([TODAY, hot("2026111023", 91, 100)], bytes_max=1, hot_since=None) == (0, set(), 0)
    assert gone([TODAY], bytes_max=1)[0] == 0


def test_a_hot_part_that_could_not_be_compacted_goes_in_its_turn() -> None:
    old = replace(hot("2026110812", 71, 80), last_received_ns=FIRST_NS + 8 * DAY_NS)
    days = [day(number) for number in range(10) if number != 7]
    assert gone([*days, old], 1.5) == (80, {"messages"}, 8)


def test_the_date_counts_where_nobody_knows_the_time() -> None:
    assert gone([day(number, known=False) for number in range(10)], 7.9)[0] == 20


def test_a_single_feed_goes_by_its_own_days_and_only_once() -> None:
    found = plan(TEN_DAYS, NOW_NS, 9, 0, {"prices": 7.0, "news": 30.0}, {"prices": 20}, BOUND)
    assert [(going.feed, going.last_position) for going in found] == [(None, 10), ("prices", 30)]
    assert [part.path for part in found[1].parts] == [day(2).path, day(2, "quotes").path]
    assert plan(TEN_DAYS, NOW_NS, 0, 0, {"prices": 7.0}, {"prices": 30}, BOUND) == []


def test_a_part_written_anew_never_has_a_name_it_had() -> None:
    part = day(0)
    seen = {part.path}
    for _ in range(3):
        (output,) = thinning(part).outputs
        assert output.path not in seen
        seen.add(output.path)
        assert layout.positions_in(output.path) == (1, 10)
        assert output.path.startswith("messages/cold/date=2026-11-01/kept=")
        part = Part("messages", output.path, "cold", 1, 10, 1, 2, 3, 4, 5)


def test_of_messages_the_recorders_entries_about_a_feed_stay() -> None:
    kinds = ["data", "data", "lifecycle", "reply"]
    rows = pa.table({"feed": ["a", "b", "a", "a"], "kind": kinds, "position": [1, 2, 3, 4]})
    assert without(rows, "a")["position"].to_pylist() == [2, 3]
    assert without(rows.drop(["kind"]), "a")["position"].to_pylist() == [2]
