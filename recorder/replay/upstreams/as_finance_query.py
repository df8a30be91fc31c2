"""Finance Query's server side (v1), imitated: four endpoints, channels with a fetch task each, the daily limit.

In: handshakes, frames, the time. Out: frames to send and connections to cut. What a fetch gives is the Source's
business: a generator, a recording. Holds nothing that must survive. Facts are from the page on Finance Query's
protocol, its section numbers in brackets. The server's deadly habits (dead channels, colliding names) are imitated;
that one slow reader stalls everybody is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import unquote

import orjson

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams.imitation import LATER, NEVER_NS, Cut, Later, Output, Send

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

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | Later | None:
        """The frame's text as UTF-8; None: the fetch failed; LATER: see FinanceQuery.answer."""


@dataclass(slots=True)
class _Channel:
    """All clients of one name. The first one's fetch serves them all, even after it has left [2.4, Q5]."""

    fetch: Fetch
    due_ns: int
    members: list[int] = field(default_factory=list)
    expecting: list[int] = field(default_factory=list)  # members without their initial frame
    dead: bool = False  # its fetch task has died: initial frames only, until everyone has left [Q1, Q2]


@dataclass(slots=True)
class _Day:
    """Connects of one client address in its rolling 24 hours [2.5]."""

    since_ns: int
    connects: int = 0


class FinanceQuery:
    """The server. `connects_per_day_max` switches its security on.

    `refresh_s` between broadcasts of a channel; None: no pace of its own, whoever feeds it calls `broadcast`.
    """

    name = "finance_query"
    fragment_bytes_max: int | None = None
    ping_interval_s: float | None = 20.0
    stop_code = 1012
    stop_reason = ""

    def __init__(
        self, source: Source, *, refresh_s: float | None = 5.0, connects_per_day_max: int | None = None
    ) -> None:
        self.source = source
        self.refresh_ns = None if refresh_s is None else int(refresh_s * SECOND_NS)
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
            if not isinstance(body, bytes):
                return Answer(500, b"Internal Server Error", "text/plain")
            return Answer(200, body)
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
        channel = self._channels.get(name)
        if channel is None:
            due_ns = NEVER_NS if self.refresh_ns is None else now.monotonic_ns + SECOND_FRAME_NS
            channel = self._channels[name] = _Channel(fetch, due_ns)
        channel.members.append(connection)
        self._joined[connection] = name
        channel.expecting.append(connection)
        return [] if isinstance(initial, Later) else self._initial(name, channel, initial, (connection,))

    def _initial(self, name: str, channel: _Channel, frame: bytes, to: tuple[int, ...]) -> list[Output]:
        """The first frame, to those of the channel that wait for it; each with its own metadata, if any."""
        channel.expecting = [number for number in channel.expecting if number not in to]
        plain = tuple(number for number in to if number not in self._metadata)
        outputs: list[Output] = [Send(plain, frame, name, "initial")] if plain else []
        limited = [(number, self._metadata.pop(number)) for number in to if number in self._metadata]
        outputs += [Send((number,), with_metadata(frame, limit), name, "initial") for number, limit in limited]
        return outputs

    def closed(self, connection: int, _now: Moment, _code: int = 1006) -> list[Output]:
        self._waiting.pop(connection, None)
        self._metadata.pop(connection, None)
        name = self._joined.pop(connection, None)
        if name is not None:
            channel = self._channels[name]
            channel.members.remove(connection)
            if connection in channel.expecting:
                channel.expecting.remove(connection)
            if not channel.members:
                del self._channels[name]
        return []

    # --- broadcasts -------------------------------------------------------------------------------------------

    @property
    def wake_ns(self) -> int:
        return min((channel.due_ns for channel in self._channels.values() if not channel.dead), default=NEVER_NS)

    def tick(self, now: Moment) -> list[Output]:
        outputs: list[Output] = []
        for name, channel in self._channels.items():
            if channel.dead or channel.due_ns > now.monotonic_ns or self.refresh_ns is None:
                continue
            channel.due_ns = now.monotonic_ns + self.refresh_ns  # from now: the real server drifts, too [fact 3]
            outputs += self._broadcast(name, channel, now)
        return outputs

    def broadcast(self, concerns: Callable[[Fetch], bool], now: Moment) -> list[Output]:
        """What these channels fetch has changed: the new frame to everyone on them."""
        outputs: list[Output] = []
        for name, channel in self._channels.items():
            if not channel.dead and concerns(channel.fetch):
                outputs += self._broadcast(name, channel, now)
        return outputs

    def _broadcast(self, name: str, channel: _Channel, now: Moment) -> list[Output]:
        frame = self.source.fetch(channel.fetch, now)
        if frame is None:
            channel.dead = True
        if not isinstance(frame, bytes):
            return []
        members = tuple(number for number in channel.members if number not in channel.expecting)
        outputs = self._initial(name, channel, frame, tuple(channel.expecting))
        return [*outputs, Send(members, frame, name)] if members else outputs

    def answer(self, now: Moment) -> list[Output]:
        """The source knows more than before: the initial frame to those who still wait for it, where there is one."""
        outputs: list[Output] = []
        for name, channel in self._channels.items():
            if not channel.expecting:
                continue
            frame = self.source.fetch(channel.fetch, now)
            if frame is None:
                outputs += [Cut(number) for number in channel.expecting]
            elif frame is not LATER:
                outputs += self._initial(name, channel, frame, tuple(channel.expecting))
        return outputs

    def members(self, concerns: Callable[[Fetch], bool]) -> list[int]:
        """Who is on the channels that fetch this."""
        return [number for each in self._channels.values() if concerns(each.fetch) for number in each.members]

    def begin_anew(self) -> None:
        """Everybody waits for an initial frame again: the source has moved to another moment. `answer` sends it."""
        for channel in self._channels.values():
            channel.expecting = list(channel.members)

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
