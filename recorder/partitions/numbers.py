"""Numbers and moments out of upstream text. Pure.

In: a JSON value. Out: what a typed column holds, or None for everything that is not surely that: nothing is guessed and
nothing raises. Whoever calls counts the values that were there and came out as None.

The upstreams write numbers in four styles (Finance Query's PROTOCOL, Q15): `59112.48` and `+1.25`, `59,208.36`,
`+1.82%` (percent stays percent), `3.460T`. A signed zero stays one. JSON numbers are taken as they are.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

SECOND_NS = 1_000_000_000
INT64_MAX = (1 << 63) - 1

# Plain digits, or groups of three after the first comma; "1,2" is neither.
_NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?([kKmMbBtT]?)(%?)", re.ASCII)
_MULTIPLES = {"": "", "k": "e3", "m": "e6", "b": "e9", "t": "e12"}

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?"
    r" ?(Z|z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
HEADLINES_HELD_S = 900  # Finance Query's PROTOCOL, 5 and 6: /market keeps them 15 minutes, a profile 5
_AGO = re.compile(r"(\d{1,4}|an?) (second|minute|hour|day|week|month|year)s? ago", re.ASCII)
_AGO_WORDS = {"just now": ("0", "minute"), "yesterday": ("1", "day")}
# A unit in seconds, and how far off one of them may be: months and years are means of the calendar's.
_AGO_UNITS = {
    "second": (1, 1),
    "minute": (60, 60),
    "hour": (3600, 3600),
    "day": (86_400, 86_400),
    "week": (604_800, 604_800),
    "month": (2_629_746, 33 * 86_400),
    "year": (31_556_952, 367 * 86_400),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = re.compile(r"([A-Za-z]{3})[a-z]* (\d{1,2}), (\d{4})", re.ASCII)


def number(value: Any) -> float | None:
    """A number in any of the four styles, or a JSON number."""
    if type(value) is str:
        return _number(value)
    return float(value) if type(value) in (int, float) else None


@lru_cache(maxsize=1 << 16)
def _number(text: str) -> float | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, digits, fraction, multiple, percent = match.groups()
    if multiple and percent:
        return None
    # One conversion from decimal: 3.460T is the double nearest to 3.46e12, not 3.46 times something.
    return float(f"{sign}{digits.replace(',', '')}{fraction or ''}{_MULTIPLES[multiple.lower()]}")


def whole(value: Any) -> int | None:
    """A whole number that fits a BIGINT; None where digits after the point would be lost."""
    if type(value) is int:
        return integer(value)
    if type(value) is str and value.isascii() and value.isdigit():
        return whole(int(value)) if len(value) < 20 else None
    if type(value) is str and value.endswith("%"):
        return None
    read = number(value)
    return int(read) if read is not None and abs(read) < 2**53 and read == int(read) else None


def integer(value: Any) -> int | None:
    """A JSON integer that fits a BIGINT."""
    return value if type(value) is int and -INT64_MAX <= value <= INT64_MAX else None


def short(value: Any) -> int | None:
    """A whole number that fits an INTEGER."""
    read = whole(value)
    return read if read is not None and -(1 << 31) <= read < 1 << 31 else None


def stars(value: Any) -> int | None:
    """How many stars: `★★` is 2."""
    return len(value) if type(value) is str and value and not value.strip("★") else None


def ago_ns(value: Any) -> int | None:
    """How long ago `2 hours ago` is, in nanoseconds; `just now` is 0. See `ago_within_s`."""
    span = _ago(value) if type(value) is str else None
    return None if span is None else span[0] * SECOND_NS


def ago_within_s(value: Any) -> int | None:
    """By how many seconds at most `2 hours ago` may be wrong, to either side.

    Nobody says whether the upstream rounds down, up or to the nearest, so one unit covers them all; on top comes the
    time for which the server repeats a headline with the text it once had.
    """
    span = _ago(value) if type(value) is str else None
    return None if span is None else span[1]


@lru_cache(maxsize=1 << 12)
def _ago(text: str) -> tuple[int, int] | None:
    """(seconds ago, seconds of uncertainty)"""
    words = " ".join(text.lower().split())
    match = _AGO.fullmatch(words)
    if match is None and words not in _AGO_WORDS:
        return None
    count, unit = match.groups() if match else _AGO_WORDS[words]
    unit_s, unsure_s = _AGO_UNITS[unit]
    return (1 if count in ("a", "an") else int(count)) * unit_s, unsure_s + HEADLINES_HELD_S


def moment_ns(value: Any) -> int | None:
    """An ISO 8601 text as nanoseconds since 1970 UTC.

    Takes what Finlight's clients are written for: `…Z`, an offset, no zone (UTC), a blank for the `T`, a date alone,
    up to nine fraction digits. None beyond the years a nanosecond timestamp holds (1677 to 2262).
    """
    return _moment_ns(value) if type(value) is str else None


@lru_cache(maxsize=1 << 12)
def _moment_ns(text: str) -> int | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        at = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
        offset = _offset(zone)
    except ValueError:
        return None
    seconds = (at - _EPOCH) // timedelta(seconds=1) - offset
    ns = seconds * SECOND_NS + int((fraction or "0").ljust(9, "0"))
    return ns if -INT64_MAX <= ns <= INT64_MAX else None


def _offset(zone: str | None) -> int:
    """Seconds east of UTC."""
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "")
    span = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    sign = -1 if zone[0] == "-" else 1
    timezone(sign * span)  # raises ValueError for what is no offset
    return sign * int(span.total_seconds())


def day(value: Any) -> date | None:
    """`Aug 12, 2024` as a date."""
    match = _DAY.fullmatch(value) if type(value) is str else None
    if match is None or match[1].lower() not in _MONTHS:
        return None
    try:
        return date(int(match[3]), _MONTHS.index(match[1].lower()) + 1, int(match[2]))
    except ValueError:
        return None


def first_day(value: Any) -> date | None:
    """The first date of `Apr 23, 2024 - Apr 27, 2024`, or the only one."""
    return day(value.partition(" - ")[0]) if type(value) is str else None


def last_day(value: Any) -> date | None:
    """The last date of a range, or the only one."""
    return day(value.rpartition(" - ")[2]) if type(value) is str else None
