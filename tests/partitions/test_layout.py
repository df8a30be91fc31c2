from __future__ import annotations

import itertools

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recorder.partitions import layout

HOUR_NS = 3600 * 10**9


def test_hour_is_utc() -> None:
    assert layout.hour_of(1_795_291_199_999_999_999) == "2026112119"
    assert layout.hour_of(1_795_291_200_000_000_000) == "2026112120"


def test_path_says_table_hour_and_positions() -> None:
    path = layout.hot_path("quotes", "2026112119", 7, 590)
    assert path == "quotes/hot/hour=2026112119/00000000000000000007-00000000000000000590.parquet"
    assert layout.table_of(path) == "quotes"
    assert layout.hour_in(path) == "2026112119"
    assert layout.positions_in(path) == (7, 590)


def test_names_that_are_no_parts_say_no_positions() -> None:
    assert layout.positions_in(layout.sentinel_path("quotes", "abc")) is None
    assert layout.positions_in("quotes/hot/hour=2026112119/_aside-1-x.parquet.tmp") is None
    assert layout.hour_in("quotes/cold/date=2026-11-21/1-2.parquet") is None


@given(st.lists(st.integers(1, 1 << 62), min_size=2, max_size=20, unique=True))
def test_names_sort_like_positions(positions: list[int]) -> None:
    names = [layout.hot_path("m", "2026112119", position, position) for position in sorted(positions)]
    assert names == sorted(names)


@given(st.lists(st.integers(0, 5 * HOUR_NS), min_size=1, max_size=50))
def test_runs_cover_every_row_once_and_hold_one_hour_each(times: list[int]) -> None:
    runs = list(layout.split_at_hours(pa.array(times, pa.int64())))
    assert [row for run in runs for row in range(run.start, run.stop)] == list(range(len(times)))
    for run in runs:
        assert {layout.hour_of(at) for at in times[run.start : run.stop]} == {run.hour}
    for before, after in itertools.pairwise(runs):
        assert before.hour != after.hour


def test_no_rows_are_no_runs() -> None:
    assert list(layout.split_at_hours(pa.array([], pa.int64()))) == []
