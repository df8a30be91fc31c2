"""What the frames of Finance Query's four endpoints look like.

In: a frame. Out: whether it has the shape that the endpoint sends, and the rate limit it may carry. Pure; frames of
every shape are recorded (that is the conversation's job), and parsed into tables elsewhere.

A channel can deliver another endpoint's frames (a /quotes text may name the hours channel), or whatever anybody
published in Redis, so each frame is looked at. Frames carry no type, but the server writes keys in a fixed order: the
first bytes tell, and only a frame that begins otherwise is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from recorder.feeds.feed import Frame

# Rate limit of a server with security on: first key of an object, or element 0 of an array. Flat, so it ends at `}`.
_METADATA = re.compile(rb'\{"metadata":(\{[^{}]*\}),|\[\{"metadata":(\{[^{}]*\})\},?')

NO_QUOTE = b'{"quote":null'  # how a profile begins whose quote could not be fetched


@dataclass(frozen=True, slots=True)
class Shape:
    """One endpoint's frames. `key` is the key every object, or every row of the array, has."""

    usual: bytes  # how nearly every frame begins
    key: str
    is_array: bool = False
    has_floats: bool = False  # a bare NaN, which is not JSON, could stand in it

    def are_usual(self, frames: Iterable[Frame]) -> bool:
        """Whether all frames hold this shape at first sight, at about 0.1 µs each, a market's 42 KB in 20 µs.

        False is no verdict."""
        usual = self.usual
        for frame in frames:
            if not frame.is_text or not frame.payload.startswith(usual):
                return False
            if self.has_floats and b":NaN" in frame.payload:
                return False
        return True

    def holds(self, frame: Frame) -> bool:
        """Whether the frame is of this endpoint, metadata or not. Never raises."""
        if not frame.is_text:
            return False
        bare = without_metadata(frame.payload)
        if self.are_usual((Frame(bare),)):
            return True
        try:
            document = orjson.loads(bare)
        except orjson.JSONDecodeError:
            return False
        if self.is_array:
            return isinstance(document, list) and all(isinstance(row, dict) and self.key in row for row in document)
        return isinstance(document, dict) and self.key in document


QUOTES = Shape(b'[{"symbol":', "symbol", is_array=True)  # `[]` where no symbol is known: that is an answer
PROFILE = Shape(b'{"quote":{', "quote")
MARKET = Shape(b'{"actives":[', "actives", has_floats=True)
HOURS = Shape(b'{"status":', "status")


@dataclass(frozen=True, slots=True)
class ConnectLimit:
    """What a server with security on says about its limit of connects a day and address."""

    remaining: int  # after this connect
    reset_s: int  # until the count begins anew


def without_metadata(payload: bytes) -> bytes:
    """The frame as a server without security would have sent it; byte for byte what was told where there is none."""
    found = _METADATA.match(payload)
    return payload if found is None else payload[:1] + payload[found.end() :]


def connect_limit(payload: bytes) -> ConnectLimit | None:
    """The rate limit a frame carries; None where it carries none that can be understood. Never raises."""
    found = _METADATA.match(payload)
    if found is None:
        return None
    try:
        fields: dict[str, Any] = orjson.loads(found[1] or found[2])
    except orjson.JSONDecodeError:
        return None
    remaining, reset_s = fields.get("remaining_requests"), fields.get("reset")
    if not isinstance(remaining, int) or not isinstance(reset_s, int):
        return None
    return ConnectLimit(remaining, reset_s)
