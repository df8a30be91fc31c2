"""What clients of the native endpoint may say: query parameters and operations. Pure.

In: a query as the handshake gives it, frames that clients send. Out: `Options`, an `Operation`, or RequestInvalid,
which names the parameter, what was given and what is possible. Whatever comes in, nothing else is raised. What is
answered is answers.py's, messages are encoded in encoding.py, and what the words do is session.py's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from recorder.errors import RequestInvalid
from recorder.message import Kind
from recorder.replay.moments import Point, duration_ns, point, positive_ns
from recorder.replay.playhead import MAX, checked

NAMES_MAX = 1_000  # feeds or symbols in one list
SESSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

OnGap = Literal["mark", "skip", "stop"]
Format = Literal["json", "arrow"]
RequestId = str | int | None


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
    """The options of `/replay?…`. A `token` is the server's business. Raises RequestInvalid."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        if name != "token":
            if name not in _PARAMETERS:
                raise RequestInvalid("parameter", name, ", ".join(_PARAMETERS))
            field_name, parse = _PARAMETERS[name]
            values[field_name] = parse(name, text)
    options = Options(**values)
    if options.to is not None and (options.to.live or options.to.start):
        raise RequestInvalid(
            "to", query["to"], "a moment or a @position; without `to` it goes on into the live recording"
        )
    return options


def _speed(name: str, given: object) -> float:
    try:
        if given == "max":
            return MAX
        if type(given) not in (int, float, str) or not math.isfinite(speed := float(given)):  # type: ignore[arg-type]
            raise ValueError
        return checked(speed)
    except (ValueError, OverflowError):
        raise RequestInvalid(name, given, "0.01 to 1000000, or max") from None


def _names(name: str, text: str) -> frozenset[str] | None:
    names = frozenset(filter(None, text.split(",")))
    if len(names) > NAMES_MAX:
        raise RequestInvalid(name, f"{len(names)} names", f"up to {NAMES_MAX} of them")
    return names or None


def _kinds(name: str, text: str) -> frozenset[Kind]:
    words = {kind.word: kind for kind in Kind}
    if text == "all":
        return frozenset(Kind)
    if not set(text.split(",")) <= set(words):
        raise RequestInvalid(name, text, f"{', '.join(words)}, several of them with commas, or all")
    return frozenset(words[word] for word in text.split(","))


def _flag(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise RequestInvalid(name, text, "true, false")
    return text.lower() in ("true", "1")


def session_name(name: str, text: str) -> str:
    if not SESSION_NAME.fullmatch(text):
        raise RequestInvalid(name, text, "letters, digits, _, - and ., at most 63, a letter or digit first")
    return text


def _one_of(*words: str) -> Any:
    def check(name: str, text: str) -> str:
        if text not in words:
            raise RequestInvalid(name, text, ", ".join(words))
        return text

    return check


_PARAMETERS: Mapping[str, tuple[str, Any]] = {
    "from": ("from_", point),
    "to": ("to", point),
    "feeds": ("feeds", _names),
    "kinds": ("kinds", _kinds),
    "symbols": ("symbols", _names),
    "speed": ("speed", _speed),
    "max_idle": ("max_idle_ns", positive_ns),
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
        "duration": ("duration_ns", positive_ns),
    },
    "stop": {},
    "state": {},
}
_WANTED = {"seek": "one of to, by", "speed": "speed", "step": "one of messages, duration"}


def _count(name: str, given: object) -> int:
    if type(given) is not int or not 1 <= given <= 1_000_000:
        raise RequestInvalid(name, given, "1 to 1000000")
    return given


def parse_operation(message: str | bytes) -> Operation:
    """One operation as JSON. Raises RequestInvalid, with the request's id where it could be read."""
    possible = "a JSON object like " + '{"op":"pause"}'
    if not isinstance(message, str):
        raise RequestInvalid("operation", "a binary message", possible)
    try:
        given = orjson.loads(message)
    except ValueError:
        raise RequestInvalid("operation", message, possible) from None
    if not isinstance(given, dict):
        raise RequestInvalid("operation", given, possible)
    request_id = given.pop("request_id", None)
    if not (request_id is None or type(request_id) is int or (type(request_id) is str and len(request_id) <= 128)):
        raise RequestInvalid("request_id", request_id, "a number or a text of at most 128 characters")
    try:
        return _operation(given, request_id)
    except RequestInvalid as refused:
        refused.request_id = request_id
        raise


def _operation(given: dict[str, Any], request_id: RequestId) -> Operation:
    op = given.pop("op", None)
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise RequestInvalid("op", op, ", ".join(_OPERATIONS))
    known = _OPERATIONS[op]
    for name in given:
        if name not in known:
            raise RequestInvalid(
                name, given[name], f"no such field of {op}; it has {', '.join([*known, 'request_id'])}"
            )
    if known and not given and op == "step":
        given = {"messages": 1}
    if known and len(given) != 1:
        raise RequestInvalid(op, ", ".join(given) or "nothing", _WANTED[op])
    values = {known[name][0]: known[name][1](name, value) for name, value in given.items()}
    return Operation(op, request_id, **values)  # type: ignore[arg-type]
