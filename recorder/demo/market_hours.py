"""When the New York exchanges are open: a moment in, Finance Query's status and reason out. Pure.

NYSE's calendar as that server applies it: 09:30 to 16:00 in New York, 13:00 on three early days, ten holidays that move
from Saturday to Friday and from Sunday to Monday (New Year only from Sunday: 31 December is a trading day).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPEN, EARLY_CLOSE, CLOSE = time(9, 30), time(13), time(16)


def status(now: datetime) -> tuple[str, str]:
    """`Open`, `Closed` or `Early Close`, and why. `now` must know its zone."""
    there = now.astimezone(NEW_YORK)
    day, clock = there.date(), there.time()
    if day.weekday() >= 5:
        return "Closed", "Weekend"
    if (holiday := holidays(day.year).get(day)) is not None:
        return "Closed", f"Holiday: {holiday}"
    early = early_closes(day.year).get(day)
    if clock < OPEN:
        return "Closed", "Pre-market"
    if early is not None:
        return (
            ("Early Close", f"Early Close Day: {early}") if clock < EARLY_CLOSE else ("Closed", f"Early Close: {early}")
        )
    return ("Open", "Regular trading hours") if clock < CLOSE else ("Closed", "After-hours")


@lru_cache(maxsize=16)
def holidays(year: int) -> dict[date, str]:
    """The days of a year on which the exchanges stay closed."""
    fixed = {
        date(year, 6, 19): "Juneteenth",
        date(year, 7, 4): "Independence Day",
        date(year, 12, 25): "Christmas Day",
    }
    days = {_observed(day): name for day, name in fixed.items()}
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:
        days[_observed(new_year)] = "New Year's Day"
    days[_nth(year, 1, 0, 3)] = "Martin Luther King Jr. Day"
    days[_nth(year, 2, 0, 3)] = "Presidents Day"
    days[_easter(year) - timedelta(days=2)] = "Good Friday"
    days[_nth(year, 6, 0, 1) - timedelta(days=7)] = "Memorial Day"
    days[_nth(year, 9, 0, 1)] = "Labor Day"
    days[_nth(year, 11, 3, 4)] = "Thanksgiving Day"
    return days


@lru_cache(maxsize=16)
def early_closes(year: int) -> dict[date, str]:
    """The days of a year that end at 13:00, where they are no holiday or weekend."""
    days = {
        date(year, 7, 3): "July 3rd",
        _nth(year, 11, 3, 4) + timedelta(days=1): "Black Friday",
        date(year, 12, 24): "Christmas Eve",
    }
    return {day: name for day, name in days.items() if day not in holidays(year)}


def _observed(day: date) -> date:
    return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))


def _nth(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _easter(year: int) -> date:
    """Gregorian Easter Sunday, by Meeus, Jones and Butcher."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    f = (b + 8) // 25
    h = (19 * a + b - d - (b - f + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return date(year, month, day + 1)
