"""Places on the timeline and lengths of time, as people and clients write them. Pure.

In: texts, and numbers of JSON. Out: a `Point`, nanoseconds, or RequestInvalid, which says what is possible. Whatever
comes in, nothing else is raised. Where on a recording a point is, is sessions.py's business.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recorder.clock import SECOND_NS
from recorder.errors import RequestInvalid

INT64_MAX = (1 << 63) - 1

MOMENTS = "2026-01-31T12:00:00.123456789Z, an epoch in s, ms or ns, @position, start, live"
DURATIONS = "seconds like 5 or 0.5, or 500ms, 10s, 5m, 1h"

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+ -]\d\d:?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|)", re.ASCII)
_UNITS_NS = {"ms": SECOND_NS // 1000, "s": SECOND_NS, "": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}
_EPOCHS = ((11, SECOND_NS), (14, 1_000_000), (17, 1_000))  # digits up to which a whole number has this unit; else ns


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the timeline: exactly one of the four."""

    position: int | None = None
    ns: int | None = None  # UTC
    start: bool = False
    live: bool = False


def point(name: str, given: object) -> Point:
    """A place on the timeline as people write it. Raises RequestInvalid."""
    text = str(given) if type(given) in (str, int) else ""
    if text in ("live", "start"):
        return Point(start=text == "start", live=text == "live")
    if text[:1] == "@" and _NUMBER.fullmatch(text[1:]) and "." not in text and int(text[1:]) <= INT64_MAX:
        return Point(position=int(text[1:]))
    ns = _epoch_ns(text) if _NUMBER.fullmatch(text) else _iso_ns(text)
    if ns is None or not 0 <= ns <= INT64_MAX:
        raise RequestInvalid(name, given, MOMENTS)
    return Point(ns=ns)


def _epoch_ns(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if fraction:
        return int(whole) * SECOND_NS + int(f"{fraction:0<9}")
    return int(whole) * next((unit_ns for digits, unit_ns in _EPOCHS if len(whole) <= digits), 1)


def _iso_ns(text: str) -> int | None:
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, minute, second, fraction, zone = found.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}").replace(tzinfo=UTC)
    except ValueError:
        return None
    ns = (when - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    ns += int(f"{fraction or '':0<9}")
    if zone and zone != "Z":  # a + in a query arrives as a blank
        ahead_ns = (int(zone[1:3]) * 60 + int(zone[-2:])) * 60 * SECOND_NS
        ns += ahead_ns if zone[0] == "-" else -ahead_ns
    return ns


def duration_ns(name: str, given: object) -> int:
    """A length of time in nanoseconds, below zero if it says so. Raises RequestInvalid."""
    if type(given) in (int, float) and math.isfinite(given) and abs(given) < 1e9:  # type: ignore[arg-type]
        return int(given * SECOND_NS)  # type: ignore[operator]
    found = _DURATION.fullmatch(given) if isinstance(given, str) else None
    if found is None or abs(ns := int(float(found[1]) * _UNITS_NS[found[2]])) > INT64_MAX:
        raise RequestInvalid(name, given, DURATIONS)
    return ns


def positive_ns(name: str, given: object) -> int:
    """The same, but not below zero."""
    ns = duration_ns(name, given)
    if ns < 0:
        raise RequestInvalid(name, given, DURATIONS)
    return ns


def iso(ns: int) -> str:
    """UTC nanoseconds as `2026-01-31T12:00:00.123456789Z`."""
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // SECOND_NS)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS:09d}Z"
