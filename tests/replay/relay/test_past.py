from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.clock import SECOND_NS
from recorder.journal.database import STORE_FILE
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.relay import past
from recorder.replay.selection import Selection
from recorder.replay.timeline import Timeline

Record = Callable[..., None]

NEWS = Stream("news", "finlight")
QUOTES = Stream("quotes", "finance_query.quotes")
PROFILES = [Stream("profiles", "finance_query.profile", symbol) for symbol in ("AAPL", "NVDA")]
EVERY = Selection(kinds=frozenset({Kind.DATA}))


def message(position: int, stream: Stream = QUOTES, mark: Mark = Mark.NONE, seconds: float | None = None) -> Message:
    at_ns = int((position if seconds is None else seconds) * SECOND_NS)
    return Message(position, stream, Kind.DATA, mark, at_ns, at_ns, 1, b"%d" % position)


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    """5,000 messages, one a second: news at 100 and 4,000, all but the last thousand sealed in four parts."""
    of = {100: NEWS, 4000: NEWS, 4500: PROFILES[0], 20: PROFILES[1]}
    made = [message(position, of.get(position, QUOTES)) for position in range(1, 5001)]
    record(tmp_path / "data", made, per_group=100, seals=(1000, 2000, 3000, 4000))
    return tmp_path / "data"


def news(data: Path, before: int, number: bytes | None = None) -> int | None:
    selection = Selection(feeds=frozenset({"news"}), kinds=frozenset({Kind.DATA}))
    found = past.newest(Timeline(data), before, selection, lambda m: number is None or m.payload == number)
    return found.position if found else None


@pytest.mark.parametrize(
    ("before", "position"), [(10_000, 4000), (4001, 4000), (4000, 100), (101, 100), (100, None), (1, None), (0, None)]
)
def test_the_newest_is_the_last_one_before_the_position(data: Path, before: int, position: int | None) -> None:
    assert news(data, before) == position


def test_of_the_selected_the_newest_wanted_one_is_found(data: Path) -> None:
    assert news(data, 10_000, b"100") == 100
    assert news(data, 10_000, b"7") is None


def test_the_look_ends_at_its_limit(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "POSITIONS_MAX", 3000)
    assert news(data, 4000) is None
    assert news(data, 3100) == 100


def test_windows_cover_everything_once_and_grow() -> None:
    windows = list(past.windows(50_000))
    assert windows[0] == (50_000 - past.FIRST_WINDOW, 49_999)
    assert windows[-1][0] == 1
    assert all(later[0] == earlier[1] + 1 for earlier, later in zip(windows[1:], windows, strict=False))
    assert list(past.windows(1)) == []


def test_each_stream_is_found_at_its_latest_until_that_is_enough(data: Path) -> None:
    timeline = Timeline(data)
    found = past.latest_of_each(timeline, 5001, EVERY, lambda found: {m.stream for m in found} >= {QUOTES, NEWS})
    assert sorted(m.position for m in found) == [4000, 4500, 5000]
    found = past.latest_of_each(timeline, 4400, EVERY, lambda _: True)
    assert sorted(m.position for m in found) == [4000, 4399]


def test_streams_silent_for_much_longer_than_others_are_not_looked_for(data: Path) -> None:
    found = past.latest_of_each(Timeline(data), 5001, EVERY, lambda _: False)
    assert sorted(m.position for m in found) == [4000, 4500, 5000]  # and not 20, an hour and more before


def test_in_a_gap_of_everything_the_frames_before_it_are_found(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [message(1), message(2, NEWS), message(3, NEWS, seconds=50_000)])
    found = past.latest_of_each(Timeline(tmp_path / "data"), 3, EVERY, lambda _: False)
    assert sorted(m.position for m in found) == [1, 2]


def test_odd_frames_are_no_frames(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [message(1), message(2, mark=Mark.ODD), message(3, NEWS, Mark.INITIAL)])
    found = past.latest_of_each(Timeline(tmp_path / "data"), 4, EVERY, lambda _: False)
    assert sorted(m.position for m in found) == [1, 3]


def test_nothing_recorded_has_no_past(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "data", [])
    assert past.newest(Timeline(tmp_path / "data"), 100, EVERY) is None
    assert past.latest_of_each(Timeline(tmp_path / "data"), 100, EVERY, lambda _: False) == []


def test_a_seal_between_two_looks_hides_no_stream(data: Path, record: Record) -> None:
    looking = past.streams(Timeline(data))
    known = set(next(looking))
    record(data, [], seals=(5000,))
    for some in looking:
        known |= set(some)
    assert known == {QUOTES, NEWS, *PROFILES}


def test_the_streams_are_known_sealed_or_not_and_from_the_parts_alone(data: Path) -> None:
    def known() -> set[Stream]:
        return {stream for some in past.streams(Timeline(data)) for stream in some}

    assert known() == {QUOTES, NEWS, *PROFILES}
    assert set(next(iter(past.streams(Timeline(data))))) == {QUOTES, NEWS, PROFILES[1]}  # of what is sealed
    for file in data.glob(f"{STORE_FILE}*"):
        file.unlink()
    assert known() == {QUOTES, NEWS, PROFILES[1]}
    shutil.rmtree(data / "messages")
    assert known() == set()
