"""What clients of the native endpoint may say: query parameters and operations. Pure.

In: a query as the handshake gives it, frames that clients send. Out: `Options`, an `Operation`, or `Refused`, which
names the parameter, what was given and what is possible. Whatever comes in, nothing else is raised. What is answered
is answers.py's, messages are encoded in encoding.py, and what the words do is session.py's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import orjson

from recorder.clock import SECOND_NS
from recorder.errors import RequestInvalid
from recorder.message import Kind
from recorder.replay.playhead import MAX, checked

SHOWN_CHARACTERS_MAX = 100
NAMES_MAX = 1_000  # feeds or symbols in one list
INT64_MAX = (1 << 63) - 1
SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

MOMENTS = "2026-01-31T12:00:00.123456789Z, an epoch in s, ms or ns, @position, start, live"
DURATIONS = "seconds like 5 or 0.5, or 500ms, 10s, 5m, 1h"

_ISO = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?(Z|[+ -]\d\d:?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,9})?", re.ASCII)
_DURATION = re.compile(r"(-?\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|)", re.ASCII)
_UNITS_NS = {"ms": SECOND_NS // 1000, "s": SECOND_NS, "": SECOND_NS, "m": 60 * SECOND_NS, "h": 3600 * SECOND_NS}
_EPOCHS = ((11, SECOND_NS), (14, 1_000_000), (17, 1_000))  # digits up to which a whole number has this unit; else ns

OnGap = Literal["mark", "skip", "stop"]
Format = Literal["json", "arrow"]
RequestId = str | int | None


class Refused(RequestInvalid):
    """Something a client asks for is not possible; safe to be said back to it."""

    def __init__(self, parameter: str, given: object, possible: str, request_id: RequestId = None) -> None:
        self.request_id = request_id
        super().__init__(_shown(parameter), _shown(given), possible)


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the timeline: exactly one of the four."""

    position: int | None = None
    ns: int | None = None  # UTC
    start: bool = False
    live: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """What a listener asks for in its URL. None is all of them."""

    from_: Point = field(default_factory=lambda: Point(start=True))
    to: Point | None = None
    feeds: frozenset[str] | None = None
    kinds: frozenset[Kind] = frozenset({Kind.DATA})
    symbols: frozenset[str] | None = None
    speed: float = 1.0
    max_idle_ns: int | None = None
    loop: bool = False
    paused: bool = False
    format: Format = "json"
    session: str | None = None
    on_gap: OnGap = "mark"


def parse_query(query: Mapping[str, str]) -> Options:
    """The options of `/replay?…`. A `token` is the server's business. Raises Refused."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name != "token":
            if name not in _PARAMETERS:
                raise Refused("parameter", name, ", ".join(_PARAMETERS))
            field_name, parse = _PARAMETERS[name]
            values[field_name] = parse(name, text)
    options = Options(**values)
    if options.to is not None and (options.to.live or options.to.start):
        raise Refused("to", query["to"], "a moment or a @position; without `to` it goes on into the live recording")
    return options


def point(name: str, given: object) -> Point:
    """A place on the timeline as people write it. Raises Refused."""
    text = str(given) if type(given) in (str, int) else ""
    if text in ("live", "start"):
        return Point(start=text == "start", live=text == "live")
    if text[:1] == "@" and _NUMBER.fullmatch(text[1:]) and "." not in text and int(text[1:]) <= INT64_MAX:
        return Point(position=int(text[1:]))
    ns = _epoch_ns(text) if _NUMBER.fullmatch(text) else _iso_ns(text)
    if ns is None or not 0 <= ns <= INT64_MAX:
        raise Refused(name, given, MOMENTS)
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
    """A length of time in nanoseconds, below zero if it says so. Raises Refused."""
    if type(given) in (int, float) and math.isfinite(given) and abs(given) < 1e9:  # type: ignore[arg-type]
        return int(given * SECOND_NS)  # type: ignore[operator]
    found = _DURATION.fullmatch(given) if isinstance(given, str) else None
    if found is None or abs(ns := int(float(found[1]) * _UNITS_NS[found[2]])) > INT64_MAX:
        raise Refused(name, given, DURATIONS)
    return ns


def _positive_ns(name: str, given: object) -> int:
    ns = duration_ns(name, given)
    if ns < 0:
        raise Refused(name, given, DURATIONS)
    return ns


def _speed(name: str, given: object) -> float:
    try:
        if given == "max":
            return MAX
        if type(given) not in (int, float, str) or not math.isfinite(speed := float(given)):  # type: ignore[arg-type]
            raise ValueError
        return checked(speed)
    except (ValueError, OverflowError):
        raise Refused(name, given, "0.01 to 1000000, or max") from None


def _names(name: str, text: str) -> frozenset[str] | None:
    names = frozenset(filter(None, text.split(",")))
    if len(names) > NAMES_MAX:
        raise Refused(name, f"{len(names)} names", f"up to {NAMES_MAX} of them")
    return names or None


def _kinds(name: str, text: str) -> frozenset[Kind]:
    words = {kind.word: kind for kind in Kind}
    if text == "all":
        return frozenset(Kind)
    if not set(text.split(",")) <= set(words):
        raise Refused(name, text, f"{', '.join(words)}, several of them with commas, or all")
    return frozenset(words[word] for word in text.split(","))


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise Refused(name, text, "true, false")
    return text.lower() in ("true", "1")


def session_name(name: str, text: str) -> str:
    if not SESSION_NAME.fullmatch(text):
        raise Refused(name, text, "letters, digits, _, - and ., at most 63, a letter or digit first")
    return text


def _one_of(*words: str) -> Any:
    def check(name: str, text: str) -> str:
        if text not in words:
            raise Refused(name, text, ", ".join(words))
        return text

    return check


_PARAMETERS: Mapping[str, tuple[str, Any]] = {
    "from": ("from_", point),
    "to": ("to", point),
    "feeds": ("feeds", _names),
    "kinds": ("kinds", _kinds),
    "symbols": ("symbols", _names),
    "speed": ("speed", _speed),
    "max_idle": ("max_idle_ns", _positive_ns),
    "loop": ("loop", _flag),
    "paused": ("paused", _flag),
    "format": ("format", _one_of("json", "arrow")),
    "session": ("session", session_name),
    "on_gap": ("on_gap", _one_of("mark", "skip", "stop")),
}

# --- operations -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """What a client asks for on the open socket. Which fields count, `op` says."""

    op: Literal["pause", "resume", "seek", "speed", "step", "stop", "state"]
    request_id: RequestId = None
    to: Point | None = None  # seek
    by_ns: int | None = None  # seek, from where it is
    speed: float | None = None
    messages: int | None = None  # step
    duration_ns: int | None = None  # step


_OPERATIONS: Mapping[str, Mapping[str, tuple[str, Any]]] = {
    "pause": {},
    "resume": {},
    "seek": {"to": ("to", point), "by": ("by_ns", duration_ns)},
    "speed": {"speed": ("speed", _speed)},
    "step": {
        "messages": ("messages", lambda name, given: _count(name, given)),
        "duration": ("duration_ns", _positive_ns),
    },
    "stop": {},
    "state": {},
}
_WANTED = {"seek": "one of to, by", "speed": "speed", "step": "one of messages, duration"}


def _count(name: str, given: object) -> int:
    if type(given) is not int or not 1 <= given <= 1_000_000:
        raise Refused(name, given, "1 to 1000000")
    return given


def parse_operation(message: str | bytes) -> Operation:
    """One operation as JSON. Raises Refused, with the request's id where it could be read."""
    possible = "a JSON object like " + '{"op":"pause"}'
    if not isinstance(message, str):
        raise Refused("operation", "a binary message", possible)
    try:
        given = orjson.loads(message)
    except ValueError:
        raise Refused("operation", message, possible) from None
    if not isinstance(given, dict):
        raise Refused("operation", given, possible)
    request_id = given.pop("request_id", None)
    if not (request_id is None or type(request_id) is int or (type(request_id) is str and len(request_id) <= 128)):
        raise Refused("request_id", request_id, "a number or a text of at most 128 characters")
    try:
        return _operation(given, request_id)
    except Refused as refused:
        refused.request_id = request_id
        raise


def _operation(given: dict[str, Any], request_id: RequestId) -> Operation:
    op = given.pop("op", None)
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise Refused("op", op, ", ".join(_OPERATIONS))
    known = _OPERATIONS[op]
    for name in given:
        if name not in known:
            raise Refused(name, given[name], f"no such field of {op}; it has {', '.join([*known, 'request_id'])}")
    if known and not given and op == "step":
        given = {"messages": 1}
    if known and len(given) != 1:
        raise Refused(op, ", ".join(given) or "nothing", _WANTED[op])
    values = {known[name][0]: known[name][1](name, value) for name, value in given.items()}
    return Operation(op, request_id, **values)  # type: ignore[arg-type]


# --- moments ----------------------------------------------------------------------------------------------------


def iso(ns: int) -> str:
    """UTC nanoseconds as `2026-01-31T12:00:00.123456789Z`."""
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // SECOND_NS)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS:09d}Z"


def _shown(given: object) -> str:
    """What was given, short enough and clean enough to be said back."""
    if given is None or type(given) in (str, int, float, bool):
        text = "nothing" if given is None else str(given)
    else:
        text = f"a JSON {'array' if isinstance(given, list) else 'object'}"
    if len(text) > SHOWN_CHARACTERS_MAX:
        text = text[:SHOWN_CHARACTERS_MAX] + "…"
    return text.encode(errors="replace").decode()
