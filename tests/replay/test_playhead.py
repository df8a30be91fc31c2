from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.replay.playhead import BUFFERING, FAR_NS, MAX, USER, Playhead, Steps, squeeze

S = 1_000_000_000
T = 1_800_000_000 * S


def test_at_speed_1_recorded_seconds_take_seconds() -> None:
    head = Playhead(T, 1, 5 * S)
    assert head.at(8 * S) == T + 3 * S
    assert head.due_ns(T + 3 * S) == 8 * S


def test_at_speed_60_an_hour_takes_a_minute() -> None:
    head = Playhead(T, 60, 0)
    assert head.due_ns(T + 3600 * S) == 60 * S


def test_at_max_everything_is_due_at_once_and_what_was_played_is_the_moment() -> None:
    head = Playhead(T, MAX, 0)
    assert head.is_due(T + 10**18, 0)
    head.reached(T + 7 * S, 1)
    assert head.at(99) == T + 7 * S
    head.set_speed(1, 100)
    assert head.at(100) == T + 7 * S


def test_a_pause_is_not_made_up_for() -> None:
    head = Playhead(T, 1, 0)
    head.hold(USER, 2 * S)
    assert head.at(50 * S) == T + 2 * S
    assert head.due_ns(T + 3 * S) == FAR_NS
    head.release(USER, 60 * S)
    assert head.due_ns(T + 3 * S) == 61 * S


def test_it_stands_while_anything_holds_it() -> None:
    head = Playhead(T, 1, 0)
    head.hold(USER, 0)
    head.hold(BUFFERING, 0)
    head.release(USER, 1)
    assert head.at(5 * S) == T
    head.release(BUFFERING, 5 * S)
    assert head.at(6 * S) == T + S


def test_seeking_goes_both_ways_and_keeps_holding() -> None:
    head = Playhead(T, 1, 0)
    head.hold(USER, 0)
    head.seek(T - 100 * S, 5)
    assert head.at(9 * S) == T - 100 * S
    head.release(USER, 10 * S)
    head.seek(T + 100 * S, 10 * S)
    assert head.at(11 * S) == T + 101 * S


def test_a_step_moves_a_paused_head_forward_only() -> None:
    head = Playhead(T, 1, 0)
    head.hold(USER, 0)
    head.reached(T + S, 3)
    head.reached(T, 4)
    assert head.at(100) == T + S


@pytest.mark.parametrize("speed", [0, -1, 0.001, 2e6, float("nan"), -MAX])
def test_a_speed_that_cannot_be_played_says_what_can(speed: float) -> None:
    with pytest.raises(ValueError, match=r"0\.01 to 1000000, or max"):
        Playhead(T, speed, 0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("speed"), st.floats(0.01, 1e6)),
            st.tuples(st.just("hold"), st.just(0.0)),
            st.tuples(st.just("release"), st.just(0.0)),
            st.tuples(st.just("wait"), st.floats(0, 100)),
        ),
        max_size=30,
    )
)
def test_whatever_is_done_but_a_seek_time_neither_jumps_nor_runs_back(steps: list[tuple[str, float]]) -> None:
    head = Playhead(T, 1, 0)
    now = 0
    for what, value in steps:
        before = head.at(now)
        if what == "speed":
            head.set_speed(value, now)
        elif what == "hold":
            head.hold(USER, now)
        elif what == "release":
            head.release(USER, now)
        else:
            now += int(value * S)
            assert head.at(now) >= before
            continue
        assert head.at(now) == before


@given(st.floats(0.01, 1e6), st.integers(0, 10**15))
def test_what_is_due_has_been_reached_when_it_is_due(speed: float, ahead_ns: int) -> None:
    head = Playhead(T, speed, 17)
    due_ns = head.due_ns(T + ahead_ns)
    if due_ns < FAR_NS:
        # A float holds 53 bits: beyond 104 days of nanoseconds the moment is right to a few nanoseconds.
        assert head.at(due_ns) >= T + ahead_ns - (ahead_ns >> 50) - 1


def test_a_long_play_does_not_drift() -> None:
    head = Playhead(T, 1.1, 0)
    for hour in range(24 * 30):
        assert head.due_ns(T + hour * 3600 * S) == pytest.approx(hour * 3600 * S / 1.1, abs=2)


def tape(times: list[int], **options: int) -> list[int]:
    moments, _, _ = squeeze(pa.array(times, pa.int64()), None, 0, options.get("max_idle"))
    return list(moments.to_pylist())


def test_time_that_goes_back_stands() -> None:
    assert tape([10, 30, 20, 25, 40]) == [10, 30, 30, 30, 40]


def test_long_silences_are_cut() -> None:
    assert tape([10, 11, 100, 101, 500], max_idle=5) == [10, 11, 16, 17, 22]


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=50),
    st.integers(1, 49),
    st.one_of(st.none(), st.integers(0, 99)),
)
def test_squeezing_in_pieces_is_squeezing_at_once(times: list[int], cut_at: int, max_idle: int | None) -> None:
    cut_at = min(cut_at, len(times) - 1)
    whole, _, _ = squeeze(pa.array(times, pa.int64()), None, 0, max_idle)
    head, last, cut = squeeze(pa.array(times[:cut_at], pa.int64()), None, 0, max_idle)
    rest, _, _ = squeeze(pa.array(times[cut_at:], pa.int64()), last, cut, max_idle)
    assert head.to_pylist() + rest.to_pylist() == whole.to_pylist()
    assert whole.to_pylist() == sorted(whole.to_pylist())


def test_steps_in_time_add_up_before_and_after_they_have_begun() -> None:
    steps = Steps()
    steps.add(0, 10)
    steps.add(0, 5)
    assert steps.until_ns is None
    steps.begin(100)
    assert steps.until_ns == 115
    steps.begin(110)  # on the way
    steps.add(0, 5)
    steps.begin(110)
    assert steps.until_ns == 120
    steps.clear()
    steps.begin(120)
    assert steps.until_ns is None


def test_steps_in_messages_add_up_and_replace_those_in_time() -> None:
    steps = Steps()
    steps.add(0, 10)
    steps.begin(100)
    steps.add(2, 0)
    steps.add(3, 0)
    steps.begin(100)
    assert (steps.messages, steps.until_ns) == (5, None)
    steps.add(0, 10)
    assert steps.messages == 0
