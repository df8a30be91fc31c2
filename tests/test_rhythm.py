from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from recorder.clock import SECOND_NS
from recorder.rhythm import HOUR_NS, HOURS, Rhythm, Rhythms

MONDAY_NS = 1_795_996_800 * SECOND_NS  # 2026-11-30T00:00:00Z, a Monday
LOOK_NS = 20 * SECOND_NS

Silence = Callable[[int], float]  # UTC ns -> mean seconds between articles


def business(now_ns: int) -> float:
    """A minute by day, two hours at night, six at the weekend."""
    hour_of_week = (now_ns - MONDAY_NS) // HOUR_NS % HOURS
    day, hour = divmod(hour_of_week, 24)
    return 6 * 3600 if day >= 5 else 60 if 7 <= hour < 22 else 2 * 3600


def weeks(count: int, mean_s: Silence, seed: int = 1) -> tuple[Rhythm, int, int, int]:
    """The rhythm after so many weeks, when data came last, the time, and how many looks found it unusual."""
    chance = random.Random(seed)
    rhythm, alarms = Rhythm(), 0
    now_ns = last_ns = MONDAY_NS
    next_ns = now_ns
    while now_ns < MONDAY_NS + count * HOURS * HOUR_NS:
        if now_ns >= next_ns:
            last_ns = now_ns
            mean = mean_s(now_ns)
            next_ns = now_ns + int(min(mean * chance.uniform(0.5, 1.5), 2 * mean) * SECOND_NS)
        rhythm.look(last_ns, now_ns)
        alarms += rhythm.unusual_s(last_ns, now_ns) > 0
        now_ns += LOOK_NS
    return rhythm, last_ns, now_ns, alarms


def test_months_of_quiet_nights_and_weekends_are_no_alarm() -> None:
    _, _, _, alarms = weeks(8, business)
    assert alarms == 0


def test_half_an_hour_of_silence_is_unusual_in_the_morning_and_not_at_night() -> None:
    rhythm, *_ = weeks(3, business)
    monday = MONDAY_NS + 3 * HOURS * HOUR_NS
    morning, night = monday + 10 * HOUR_NS, monday + 2 * HOUR_NS
    assert rhythm.unusual_s(morning - 1800 * SECOND_NS, morning) == 1800
    assert rhythm.unusual_s(night - 1800 * SECOND_NS, night) == 0


def test_without_history_nothing_is_unusual() -> None:
    rhythm, last_ns, now_ns, _ = weeks(1, business)
    assert rhythm.unusual_s(last_ns, now_ns + 10 * HOUR_NS) == 0


def test_hours_nobody_looked_at_teach_nothing() -> None:
    rhythm = Rhythm()
    rhythm.look(MONDAY_NS, MONDAY_NS)
    rhythm.look(MONDAY_NS, MONDAY_NS + 50 * HOUR_NS)
    assert not any(rhythm.weeks)


def test_a_holiday_is_no_alarm_where_market_hours_are_recorded_and_teaches_nothing() -> None:
    rhythm, *_ = weeks(3, business)
    thanksgiving = MONDAY_NS + 3 * HOURS * HOUR_NS + 3 * 24 * HOUR_NS
    noon, since = thanksgiving + 17 * HOUR_NS, thanksgiving + 12 * HOUR_NS
    known = Rhythms()
    known.of["news"] = rhythm
    taught = rhythm.to_json()[noon // HOUR_NS % HOURS][:]

    def frame(reason: str) -> bytes:
        return b'{"status":"Closed","reason":"%s","timestamp":"2026-11-26T17:00:00+00:00"}' % reason.encode()

    assert known.look("news", since, noon) == 5 * 3600, "nobody said that it is one"
    known.market_hours(frame("Holiday: Thanksgiving Day"), noon - HOUR_NS)
    assert known.look("news", since, noon) == 5 * 3600, "what was said an hour ago holds no more"
    for minute in range(60):
        known.market_hours(frame("Holiday: Thanksgiving Day"), noon + minute * 60 * SECOND_NS)
        assert known.look("news", since, noon + minute * 60 * SECOND_NS) == 0
    known.look("news", since, noon + HOUR_NS)
    assert rhythm.to_json()[noon // HOUR_NS % HOURS] == taught
    known.market_hours(frame("After-hours"), noon + HOUR_NS)
    assert known.look("news", since, noon + HOUR_NS) == 6 * 3600


@pytest.mark.parametrize("frame", [b"", b"[]", b"null", b"\xff", b'{"reason":7}', b'{"status":"Closed"}'])
def test_market_hours_without_their_shape_say_nothing(frame: bytes) -> None:
    known = Rhythms()
    known.market_hours(frame, MONDAY_NS)
    assert known.look("news", 0, MONDAY_NS) == 0


def test_it_survives_as_json() -> None:
    rhythm, *_ = weeks(2, business)
    assert Rhythm.from_json(rhythm.to_json()).weeks == rhythm.weeks
    with pytest.raises(ValueError, match="168"):
        Rhythm.from_json([[]])


def test_what_is_no_rhythm_is_learned_anew() -> None:
    known = Rhythms()
    known.look("news", MONDAY_NS, MONDAY_NS)
    again = Rhythms()
    again.take(known.to_json() | {"raw": [[1]], "quotes": None})
    assert set(again.of) == {"news"}
    again.take("nonsense")
