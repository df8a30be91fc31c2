"""Finance Query's server side (v1), imitated: four endpoints, channels with a fetch task each, the daily limit.

In: handshakes, frames, the time. Out: frames to send and connections to cut. What a fetch gives is the Source's
business: a generator, a recording. Holds nothing that must survive. Facts are from the page on Finance Query's
protocol, its section numbers in brackets. The server's deadly habits (dead channels, colliding names) are imitated;
that one slow reader stalls everybody is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import unquote

import orjson

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.replay.imitation import NEVER_NS, Answer, Cut, Handshake, Output, Send

DAY_NS = 86_400 * SECOND_NS
SECOND_FRAME_NS = 5 * MS_NS  # the channel's first broadcast follows the initial frame by 1 to 120 ms [Q11]

Endpoint = Literal["quotes", "profile", "market", "hours"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """What a channel asks for. `symbols` are upper case for quotes, as the path says for profile, else empty."""

    endpoint: Endpoint
    symbols: frozenset[str] = frozenset()


class Source(Protocol):
    """What the server gets from its own upstream."""

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | None:
        """The frame's text as UTF-8; None: the fetch failed."""


@dataclass(slots=True)
class _Channel:
    """All clients of one name. The first one's fetch serves them all, even after it has left [2.4, Q5]."""

    fetch: Fetch
    due_ns: int
    members: list[int] = field(default_factory=list)
    dead: bool = False  # its fetch task has died: initial frames only, until everyone has left [Q1, Q2]


@dataclass(slots=True)
class _Day:
    """Connects of one client address in its rolling 24 hours [2.5]."""

    since_ns: int
    connects: int = 0


class FinanceQuery:
    """The server. `refresh_s` between broadcasts of a channel; `connects_per_day_max` switches its security on."""

    name = "finance_query"
    fragment_bytes_max: int | None = None
    ping_interval_s: float | None = 20.0
    stop_code = 1012
    stop_reason = ""

    def __init__(self, source: Source, *, refresh_s: float = 5.0, connects_per_day_max: int | None = None) -> None:
        self.source = source
        self.refresh_ns = int(refresh_s * SECOND_NS)
        self.connects_per_day_max = connects_per_day_max
        self._channels: dict[str, _Channel] = {}
        self._waiting: dict[int, Fetch | None] = {}  # not on a channel yet; None: waits for its first text
        self._joined: dict[int, str] = {}
        self._metadata: dict[int, bytes] = {}
        self._days: dict[str, _Day] = {}

    # --- connections ------------------------------------------------------------------------------------------

    def handshake(self, connection: int, request: Handshake, now: Moment) -> Answer | None:
        if not request.upgrade:
            return self._plain(request.path, now)
        path = unquote(request.path)
        if path == "/quotes":
            fetch = None
        elif path == "/market":
            fetch = Fetch("market")
        elif path == "/hours":
            fetch = Fetch("hours")
        elif path.startswith("/profile/") and path.count("/") == 2 and len(path) > len("/profile/"):
            fetch = Fetch("profile", frozenset({path.removeprefix("/profile/")}))
        else:
            return Answer(403)
        if self.connects_per_day_max is not None:
            day = self._days.get(request.client)
            if day is None or now.monotonic_ns - day.since_ns >= DAY_NS:
                day = self._days[request.client] = _Day(now.monotonic_ns)
            if day.connects >= self.connects_per_day_max:
                return Answer(403)  # the code says close(1008) before accept: on the wire that is an HTTP 403
            day.connects += 1
            self._metadata[connection] = orjson.dumps(
                {
                    "rate_limit": self.connects_per_day_max,
                    "remaining_requests": self.connects_per_day_max - day.connects,
                    "reset": (day.since_ns + DAY_NS - now.monotonic_ns) // SECOND_NS,
                }
            )
        self._waiting[connection] = fetch
        return None

    def _plain(self, path: str, now: Moment) -> Answer:
        """The few REST routes that a liveness probe may use [2.1]."""
        if path == "/hours":
            body = self.source.fetch(Fetch("hours"), now)
            return Answer(500, b"Internal Server Error", "text/plain") if body is None else Answer(200, body)
        if path in ("/v1/health", "/v1/ping"):
            return Answer(200, b'{"status":"healthy"}')
        return Answer(404, b'{"detail":"Not Found"}')

    def opened(self, connection: int, now: Moment) -> list[Output]:
        fetch = self._waiting.get(connection)
        if fetch is None:
            return []
        name = f"profile:{next(iter(fetch.symbols))}" if fetch.endpoint == "profile" else fetch.endpoint
        return self._join(connection, name, fetch, now)

    def received(self, connection: int, message: str | bytes, now: Moment) -> list[Output]:
        """Only the first text on /quotes means anything; a binary message is the end of the connection [4, Q7]."""
        if isinstance(message, bytes):
            return [Cut(connection)]
        if connection not in self._waiting:
            return []
        return self._join(connection, message, Fetch("quotes", frozenset(message.upper().split(","))), now)

    def _join(self, connection: int, name: str, fetch: Fetch, now: Moment) -> list[Output]:
        del self._waiting[connection]
        initial = self.source.fetch(fetch, now)
        if initial is None:
            return [Cut(connection)]  # the first fetch failed after accept [fact 9]
        if (metadata := self._metadata.pop(connection, None)) is not None:
            initial = with_metadata(initial, metadata)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(fetch, now.monotonic_ns + SECOND_FRAME_NS)
        channel.members.append(connection)
        self._joined[connection] = name
        return [Send((connection,), initial, name, "initial")]

    def closed(self, connection: int, _now: Moment) -> list[Output]:
        self._waiting.pop(connection, None)
        self._metadata.pop(connection, None)
        name = self._joined.pop(connection, None)
        if name is not None:
            self._channels[name].members.remove(connection)
            if not self._channels[name].members:
                del self._channels[name]
        return []

    # --- broadcasts -------------------------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        return min((channel.due_ns for channel in self._channels.values() if not channel.dead), default=NEVER_NS)

    def tick(self, now: Moment) -> list[Output]:
        outputs: list[Output] = []
        for name, channel in self._channels.items():
            if channel.dead or channel.due_ns > now.monotonic_ns:
                continue
            channel.due_ns = now.monotonic_ns + self.refresh_ns  # from now: the real server drifts, too [fact 3]
            frame = self.source.fetch(channel.fetch, now)
            if frame is None:
                channel.dead = True
            else:
                outputs.append(Send(tuple(channel.members), frame, name))
        return outputs

    # --- to order ---------------------------------------------------------------------------------------------

    @property
    def channels(self) -> dict[str, tuple[int, ...]]:
        """Who is on which channel. Names: the client's whole text for quotes, `profile:AAPL`, `market`, `hours`."""
        return {name: tuple(channel.members) for name, channel in self._channels.items()}

    def kill(self, name: str) -> None:
        """Let the channel's fetch task die. Raises KeyError if there is no such channel."""
        self._channels[name].dead = True

    def kill_endpoint(self, endpoint: str) -> None:
        """Let the fetch tasks of all channels of an endpoint die, whatever their clients call them."""
        for channel in self._channels.values():
            channel.dead = channel.dead or channel.fetch.endpoint == endpoint


def with_metadata(frame: bytes, metadata: bytes) -> bytes:
    """The initial frame with its rate limit: first key of an object, element 0 of an array [fact 5]."""
    opening, closing = (b'{"metadata":', b"") if frame[:1] == b"{" else (b'[{"metadata":', b"}")
    rest = frame[1:]
    return opening + metadata + closing + (b"" if rest in (b"}", b"]") else b",") + rest
