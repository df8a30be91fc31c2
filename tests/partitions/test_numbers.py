from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.partitions import numbers
from recorder.partitions.numbers import HEADLINES_HELD_S, SECOND_NS, ago_ns, ago_within_s


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("59112.48", 59112.48),
        ("59,208.36", 59208.36),
        ("177,920.00%", 177920.0),
        ("1,234,567", 1234567.0),
        ("+1.82%", 1.82),
        ("-0.67%", -0.67),
        ("0.84%", 0.84),
        ("+4.30", 4.3),
        ("3.460T", 3.46e12),
        ("684.286B", 684.286e9),
        ("520.00M", 520e6),
        ("12.5k", 12500.0),
        (4300.0, 4300.0),
        (26172813, 26172813.0),
    ],
)
def test_four_styles_of_numbers_are_read(text: Any, value: float) -> None:
    assert numbers.number(text) == value


def test_signed_zero_keeps_its_sign() -> None:
    zero = numbers.number("-0.00")
    assert zero == 0.0
    assert zero is not None and math.copysign(1, zero) == -1
    assert math.copysign(1, numbers.number("+0.00") or 0.0) == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        "N/A",
        "--",
        "∞",
        "1,2",
        "1,2345",
        "12,34.5",
        ",123",
        "1.",
        ".5",
        "1e5",
        "0x10",
        "٣",
        "nan",
        "inf",
        " 1",
        "1 ",
        "1_000",
        "5%%",
        "3.4T%",
        "+-1",
        None,
        True,
        [],
        {},
    ],
)
def test_what_is_not_surely_a_number_is_none(value: Any) -> None:
    assert numbers.number(value) is None


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("150,000", 150000),
        ("161000", 161000),
        (5, 5),
        ("2.5T", 2500000000000),
        ("1.5", None),
        ("12%", None),
        ("9" * 19, None),
        (1 << 63, None),
        ((1 << 63) - 1, (1 << 63) - 1),
        (True, None),
        (1.0, 1),
        (0.5, None),
        ("", None),
    ],
)
def test_whole_numbers_lose_nothing(value: Any, read: int | None) -> None:
    assert numbers.whole(value) == read


def test_short_numbers_fit_32_bits() -> None:
    assert numbers.short((1 << 31) - 1) == (1 << 31) - 1
    assert numbers.short(1 << 31) is None


def test_stars_are_counted() -> None:
    assert numbers.stars("★★") == 2
    assert numbers.stars("★★½") is None
    assert numbers.stars("") is None
    assert numbers.stars(2) is None


MAY_26 = 1_779_810_508 * SECOND_NS  # 2026-05-26T15:48:28Z


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-05-26T15:48:28.000Z", MAY_26),
        ("2026-05-26T15:48:28Z", MAY_26),
        ("2026-05-26T15:48:28", MAY_26),
        ("2026-05-26 15:48:28", MAY_26),
        ("2026-05-26T17:48:28+02:00", MAY_26),
        ("2026-05-26T10:18:28-0530", MAY_26),
        ("2026-05-26T15:48:28.5Z", MAY_26 + SECOND_NS // 2),
        ("2026-05-26T15:48:28.123456789Z", MAY_26 + 123_456_789),
        ("2026-05-26T15:48:28.1234567891Z", MAY_26 + 123_456_789),
        ("2026-05-26T15:48", MAY_26 - 28 * SECOND_NS),
        ("2026-05-26", MAY_26 - 56_908 * SECOND_NS),
        ("1969-12-31T23:59:59.999Z", -1_000_000),
    ],
)
def test_iso_moments_are_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert numbers.moment_ns(text) == ns


@pytest.mark.parametrize(
    "value",
    [
        "",
        "2 hours ago",
        "2026-13-01",
        "2026-02-30",
        "2026-05-26T25:00:00Z",
        "1600-01-01",
        "2300-01-01",
        "2026-05-26T15:48:28+99:00",
        "26.05.2026",
        1779810508,
        None,
    ],
)
def test_what_is_no_moment_is_none(value: Any) -> None:
    assert numbers.moment_ns(value) is None


def test_days_and_ranges_of_days() -> None:
    assert numbers.day("Aug 12, 2024") == date(2024, 8, 12)
    assert numbers.day("Feb 30, 2024") is None
    assert numbers.day("Foo 1, 2024") is None
    assert numbers.first_day("Apr 23, 2024 - Apr 27, 2024") == date(2024, 4, 23)
    assert numbers.last_day("Apr 23, 2024 - Apr 27, 2024") == date(2024, 4, 27)
    assert numbers.first_day("Oct 31, 2024") == numbers.last_day("Oct 31, 2024") == date(2024, 10, 31)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON)
def test_no_value_raises(value: Any) -> None:
    for read in (numbers.number, numbers.whole, numbers.short, numbers.stars, numbers.moment_ns, numbers.day):
        read(value)
    numbers.first_day(value)
    numbers.last_day(value)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_printed_numbers_come_back(value: Any) -> None:
    assert numbers.number(f"{value:.2f}") == float(f"{value:.2f}")
    assert numbers.number(f"{value:+,.2f}%") == float(f"{value:.2f}")


@pytest.mark.parametrize(
    ("text", "seconds", "unit_s"),
    [
        ("2 hours ago", 7_200, 3_600),
        ("1 hours ago", 3_600, 3_600),  # so Finance Query writes it
        ("an hour ago", 3_600, 3_600),
        ("just now", 0, 60),
        ("0 minutes ago", 0, 60),
        ("45 seconds ago", 45, 1),
        ("59 Minutes  ago", 3_540, 60),
        ("yesterday", 86_400, 86_400),
        ("3 days ago", 259_200, 86_400),
        ("2 weeks ago", 1_209_600, 604_800),
        ("1 month ago", 2_629_746, 33 * 86_400),
        ("a year ago", 31_556_952, 367 * 86_400),
    ],
)
def test_relative_times_are_a_span_and_a_unit_of_uncertainty(text: str, seconds: int, unit_s: int) -> None:
    assert ago_ns(text) == seconds * SECOND_NS
    assert ago_within_s(text) == unit_s + HEADLINES_HELD_S


@pytest.mark.parametrize(
    "value",
    ["", "ago", "hours ago", "in 2 hours", "2 fortnights ago", "12345 days ago", "Aug 12, 2024", 7, None, ["x"]],
)
def test_what_is_no_relative_time_is_none(value: object) -> None:
    assert ago_ns(value) is None
    assert ago_within_s(value) is None


@given(st.integers(0, 999), st.sampled_from([60, 3600, 86_400, 604_800]), st.floats(0, 1), st.integers(0, 900))
def test_published_lies_within_the_uncertainty_however_the_upstream_rounds(
    count: int, unit_s: int, fraction: float, held_s: int
) -> None:
    unit = {60: "minutes", 3600: "hours", 86_400: "days", 604_800: "weeks"}[unit_s]
    truly_ago_s = (count + fraction) * unit_s + held_s  # when it arrives here
    for said in (count, count + 1, round(count + fraction)):  # down, up, nearest
        text = f"{said} {unit} ago"
        read_ns, within_s = ago_ns(text), ago_within_s(text)
        assert read_ns is not None and within_s is not None
        assert abs(read_ns / SECOND_NS - truly_ago_s) <= within_s
