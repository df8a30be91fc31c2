"""What clients of the native endpoint are told besides messages and gaps: state, error, end. Pure.

In: the facts. Out: JSON texts, each an object with one key that says what it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from recorder.errors import RequestInvalid
from recorder.replay.listener import State
from recorder.replay.moments import iso
from recorder.replay.playhead import MAX
from recorder.replay.wire import RequestId


@dataclass(slots=True)
class Sent:
    """What one listener was sent so far. `bytes` are those of the messages' and gaps' texts, or Arrow frames."""

    messages: int = 0
    bytes: int = 0
    gaps: int = 0


def state_text(state: State, session: str | None, sent: Sent, request_id: RequestId = None) -> bytes:
    """`{"state":{…}}`"""
    late = state.lateness_ms
    told = {
        "status": state.status,
        "moment": None if state.moment_ns is None else iso(state.moment_ns),
        "position": state.position,
        "speed": "max" if state.speed == MAX else state.speed,
        "speed_reached": round(state.speed_reached, 3),
        "lateness_ms": None if late is None else {"p50": round(late[0], 3), "p99": round(late[1], 3)},
        "session": session,
        "listeners": state.listeners,
        "loops": state.loops,
        "sent": sent,
    }
    if request_id is not None:
        told["request_id"] = request_id
    return orjson.dumps({"state": told})


def end_text(cause: str, sent: Sent, digest: str) -> bytes:
    """`{"end":{…}}`: the last message before the close."""
    return orjson.dumps({"end": {"cause": cause, "sent": sent, "digest": digest}})


def error_text(refused: RequestInvalid) -> bytes:
    """`{"error":{…}}`: the body of a 400, or an answer on the open socket."""
    error: dict[str, object] = {
        "message": str(refused),
        "parameter": refused.parameter,
        "given": refused.given,
        "possible": refused.possible,
    }
    if refused.request_id is not None:
        error["request_id"] = refused.request_id
    return orjson.dumps({"error": error})
