"""What Finlight says and what is done about it, as tables; and the reading of what it says.

In: a frame's bytes, a word, a code, a number, from a server that may be wrong about anything. Out: a parsed object, the
actions that answer it, a wait within bounds. Nothing here raises, remembers, or is lost with the power; when to look
things up is finlight.py's job. Words, codes and waits are those of the official Python client 2.4.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from recorder.feeds.feed import HangUp, RetryAfter

WAIT_S_MAX = 86_400  # whatever a server asks for, a day later the next try is due

# A text in `error` that contains the word, in any case; the first that fits. Any other text leaves the connection open.
ERRORS: tuple[tuple[str, RetryAfter, HangUp], ...] = (
    ("limit", RetryAfter(60, "rate limited"), HangUp(4001, "Rate limited", "rate limited")),
    ("blocked", RetryAfter(3600, "user blocked", loud=True), HangUp(4002, "User blocked", "user blocked")),
)

# Another connection took this one's lease. Official clients stop for good here; a recorder must not.
PREEMPTED = (
    RetryAfter(
        900, "preempted: another program took over this key's connection; give the recorder a key of its own", loud=True
    ),
    HangUp(1000, "Preempted by server", "preempted"),
)

KICKED_S = 900.0  # where admin_kick does not say; it says milliseconds

# Any other code is answered by dialling again as the redial ladder allows: at once after a proven connection.
CLOSES: Mapping[int, RetryAfter] = {
    1008: RetryAfter(900, "rejected by the server (1008): check the key and the plan", loud=True),
    1013: RetryAfter(60, "rate limited (1013)"),
    4001: RetryAfter(60, "rate limited (4001)"),
    4002: RetryAfter(3600, "user blocked (4002)", loud=True),
    4003: RetryAfter(KICKED_S, "kicked by an administrator (4003)"),
}

REFUSALS: Mapping[int, RetryAfter] = {
    401: RetryAfter(60, "key refused (401)", loud=True),
    403: RetryAfter(60, "key refused (403)", loud=True),
    429: RetryAfter(60, "connection limit (429)"),
}

# Our setting -> Finlight's field. `includeContent` and not `extended`, its deprecated name that only the Python client
# still sends: the old name will go first, and no client is known to send both.
FIELDS: Mapping[str, str] = {
    "query": "query",
    "sources": "sources",
    "exclude_sources": "excludeSources",
    "opt_in_sources": "optInSources",
    "language": "language",
    "tickers": "tickers",
    "include_content": "includeContent",
    "include_entities": "includeEntities",
    "exclude_empty_content": "excludeEmptyContent",
    "countries": "countries",
    "categories": "categories",
    "include_updates": "includeUpdates",
}


def parse(payload: bytes) -> dict[str, Any]:
    """The JSON object in a frame; an empty one where there is none. Never raises."""
    try:
        message = orjson.loads(payload)
    except ValueError:
        # orjson refuses half a surrogate pair, which JavaScript writes as \ud83d when a text is cut inside an emoji.
        try:
            message = json.loads(payload.decode())
        except (ValueError, RecursionError):
            return {}
    return message if isinstance(message, dict) else {}


def seconds(value: object, default_s: float, per_second: int = 1) -> float:
    """A wait an upstream asks for, between nothing and a day; the default where it is no number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return default_s
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return default_s
    return max(0.0, min(value, WAIT_S_MAX * per_second) / per_second)
