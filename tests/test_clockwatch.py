from __future__ import annotations

from recorder.clock import SECOND_NS, Moment
from recorder.clockwatch import ClockWatch, Entry

UTC_S, MONOTONIC_S = 1_800_000_000, 5_000


def looks(*walls_and_monotonics: tuple[float, float]) -> list[list[Entry]]:
    """What each look says; seconds since the first, of the wall clock and of the monotonic one."""
    watch, floor_ns, said = ClockWatch(1.0), 0, []
    for wall_s, monotonic_s in walls_and_monotonics:
        wall_ns = UTC_S * SECOND_NS + int(wall_s * SECOND_NS)
        floor_ns = max(floor_ns, wall_ns)
        moment = Moment(floor_ns, MONOTONIC_S * SECOND_NS + int(monotonic_s * SECOND_NS))
        said.append(watch.look(moment, floor_ns - wall_ns))
    return said


def test_clocks_that_go_as_they_should_say_nothing() -> None:
    assert looks((0, 0), (1, 1), (2.9, 2.9), (3.95, 3.9)) == [[], [], [], []]


def test_a_step_back_and_the_step_that_mends_it_are_each_said_once() -> None:
    said = looks((0, 0), (1, 1), (-58, 2), (-57, 3), (4, 4), (5, 5))
    assert said == [
        [],
        [],
        [("clock.stepped", {"behind_ns": 60 * SECOND_NS})],
        [],
        [("clock.stepped", {"ahead_ns": 60 * SECOND_NS})],
        [],
    ]


def test_a_step_forward_is_said_with_its_length() -> None:
    assert looks((0, 0), (3601, 1), (3602, 2))[1:] == [[("clock.stepped", {"ahead_ns": 3600 * SECOND_NS})], []]


def test_slewing_is_no_step_however_far_it_leads() -> None:
    assert not any(looks(*((second * 1.0005, float(second)) for second in range(10_000))))


def test_a_clock_that_is_behind_what_was_recorded_before_is_said_at_the_first_look() -> None:
    moment = Moment(UTC_S * SECOND_NS, 0)
    assert ClockWatch(1.0).look(moment, 90 * SECOND_NS) == [("clock.stepped", {"behind_ns": 90 * SECOND_NS})]


def test_a_loop_that_stood_still_is_said_with_how_long_beyond_its_second() -> None:
    assert looks((0, 0), (4, 4), (5, 5))[1:] == [[("recorder.stalled", {"stalled_ns": 3 * SECOND_NS})], []]
