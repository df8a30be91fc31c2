from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from recorder.demo.market_hours import NEW_YORK, early_closes, holidays, status


def at(text: str) -> datetime:
    """A moment by New York's clock."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-18 09:29:59", ("Closed", "Pre-market")),
        ("2026-11-18 00:00:00", ("Closed", "Pre-market")),
        ("2026-11-18 09:30:00", ("Open", "Regular trading hours")),
        ("2026-11-18 15:59:59", ("Open", "Regular trading hours")),
        ("2026-11-18 16:00:00", ("Closed", "After-hours")),
        ("2026-11-21 12:00:00", ("Closed", "Weekend")),
        ("2026-11-26 12:00:00", ("Closed", "Holiday: Thanksgiving Day")),
        ("2026-11-27 09:00:00", ("Closed", "Pre-market")),
        ("2026-11-27 12:59:59", ("Early Close", "Early Close Day: Black Friday")),
        ("2026-11-27 13:00:00", ("Closed", "Early Close: Black Friday")),
        ("2026-12-24 10:00:00", ("Early Close", "Early Close Day: Christmas Eve")),
        ("2026-07-03 10:00:00", ("Closed", "Holiday: Independence Day")),  # the 4th is a Saturday
        ("2025-07-03 10:00:00", ("Early Close", "Early Close Day: July 3rd")),
    ],
)
def test_status_and_reason_follow_new_yorks_clock(moment: str, expected: tuple[str, str]) -> None:
    assert status(at(moment)) == expected


def test_any_zone_will_do_and_summer_time_is_known() -> None:
    assert status(datetime(2026, 7, 1, 13, 30, tzinfo=UTC))[0] == "Open"
    assert status(datetime(2026, 12, 1, 13, 30, tzinfo=UTC))[0] == "Closed"
    assert status(datetime(2026, 12, 1, 14, 30, tzinfo=UTC))[0] == "Open"


def test_the_holidays_of_a_year_are_those_of_the_exchange() -> None:
    assert holidays(2024) == {
        date(2024, 1, 1): "New Year's Day",
        date(2024, 1, 15): "Martin Luther King Jr. Day",
        date(2024, 2, 19): "Presidents Day",
        date(2024, 3, 29): "Good Friday",
        date(2024, 5, 27): "Memorial Day",
        date(2024, 6, 19): "Juneteenth",
        date(2024, 7, 4): "Independence Day",
        date(2024, 9, 2): "Labor Day",
        date(2024, 11, 28): "Thanksgiving Day",
        date(2024, 12, 25): "Christmas Day",
    }
    assert early_closes(2024) == {
        date(2024, 7, 3): "July 3rd",
        date(2024, 11, 29): "Black Friday",
        date(2024, 12, 24): "Christmas Eve",
    }


def test_holidays_move_off_weekends_but_new_year_never_into_the_old_one() -> None:
    assert date(2027, 6, 18) in holidays(2027)  # Juneteenth is a Saturday
    assert date(2023, 1, 2) in holidays(2023)  # New Year is a Sunday
    assert date(2027, 12, 31) not in holidays(2027) and date(2028, 1, 1) not in holidays(2028)
    assert [day for year in (2025, 2026, 2027) for day, name in holidays(year).items() if name == "Good Friday"] == [
        date(2025, 4, 18),
        date(2026, 4, 3),
        date(2027, 3, 26),
    ]
