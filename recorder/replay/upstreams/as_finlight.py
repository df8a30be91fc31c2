"""Finlight's server side, imitated: subscriptions, leases, filters, heartbeats, the two limits of its gateway.

In: handshakes, frames, articles from whoever publishes them, the time. Out: frames to send and connections to end. An
article's bytes leave unchanged. Holds nothing that must survive. What the service does was read in its clients and
documentation (the page on Finlight's protocol); what nobody knows is chosen here and marked "unknown". Where articles
come from (a generator, a recording) is the Source's business.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import orjson

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams import finlight_query
from recorder.replay.upstreams.finlight_articles import ENHANCED, RAW, Article, Wanted
from recorder.replay.upstreams.imitation import LATER, NEVER_NS, Close, Later, Output, Send

__all__ = ["ENHANCED", "RAW", "Article", "Finlight", "Recent", "Source", "admin_kick", "error", "gateway_error"]

STREAMS = {"/": ENHANCED, "": ENHANCED, "/raw": RAW, "//raw": RAW}  # a URL with a trailing slash gives //raw

# After these a client comes back: the gateway's own close, and the official clients' rotation.
RETURNS = frozenset({1001, 4000})

_GATEWAY_ERROR = b'{"message": "Internal server error", "connectionId":"%s", "requestId":"%s"}'


class Source(Protocol):
    """Where the newest article comes from. New ones come by Finlight.publish()."""

    def newest(self, wanted: Wanted) -> Article | Later | None:
        """The newest article so far that is wanted. LATER: publish nothing until Finlight.answer is told which."""


class Recent:
    """A Source that remembers what was published last, at most `count_max` articles."""

    def __init__(self, count_max: int = 500) -> None:
        self._articles: deque[Article] = deque(maxlen=count_max)

    def add(self, article: Article) -> None:
        self._articles.append(article)

    def newest(self, wanted: Callable[[Article], bool]) -> Article | None:
        return next((article for article in reversed(self._articles) if wanted(article)), None)


class _Lease:
    """One connection, from the handshake on."""

    def __init__(self, stream: str, key: str, now: Moment) -> None:
        self.stream = stream
        self.key = key
        self.lease_id = str(uuid.uuid4())
        self.opened_ns = now.monotonic_ns
        self.active_ns = now.monotonic_ns
        self.preempts: int | None = None
        self.wanted: Wanted | None = None
        self.ending = False
        self.absence: _Absence | None = None


class _Absence:
    """A client that will be back, and what it misses meanwhile."""

    def __init__(self, lease: _Lease, wanted: Wanted) -> None:
        self.stream = lease.stream
        self.key = lease.key
        self.wanted = wanted
        self.until_ns = NEVER_NS  # NEVER_NS: it is back, and has not subscribed yet
        self.missed: list[Article] = []
        self.missed_bytes = 0


class Finlight:
    """The service. `keys` None lets any key in; `slots_max` None any number of connections a key.

    `limit_s`, `idle_s`: the gateway's two limits of a connection; None for none. `keep_s`: how long it is kept what a
    client misses between two connections, for one with the same key on the same stream; the service itself keeps
    nothing. A client that got it so gets no newest article: it has not been away.
    """

    name = "finlight"
    fragment_bytes_max: int | None = 32 << 10  # API Gateway splits what is longer
    ping_interval_s: float | None = None  # API Gateway sends no protocol pings of its own
    stop_code = 1001
    stop_reason = "Going away"

    def __init__(
        self,
        source: Source,
        *,
        keys: frozenset[str] | None = None,
        slots_max: int | None = None,
        limit_s: float | None = 7200.0,
        idle_s: float | None = 600.0,
        keep_s: float = 0.0,
    ) -> None:
        self.source = source
        self.keys = keys
        self.slots_max = slots_max
        self.limit_ns = NEVER_NS if limit_s is None else int(limit_s * SECOND_NS)
        self.idle_ns = NEVER_NS if idle_s is None else int(idle_s * SECOND_NS)
        self.keep_ns = int(keep_s * SECOND_NS)
        self.answers_pings = True  # off: a fault to order
        self._leases: dict[int, _Lease] = {}  # in order of opening
        self._absences: list[_Absence] = []

    # --- connections ------------------------------------------------------------------------------------------

    def handshake(self, connection: int, request: Handshake, now: Moment) -> Answer | None:
        if not request.upgrade:
            return Answer(426, b'{"message":"Upgrade Required"}')
        stream = STREAMS.get(request.path)
        if stream is None:
            return Answer(403, b'{"message":"Forbidden"}')
        key, headers = key_of(request), dict(request.headers)
        if not key or (self.keys is not None and key not in self.keys):
            return Answer(401, b'{"message":"Unauthorized"}')
        lease = _Lease(stream, key, now)
        mine = [number for number, each in self._leases.items() if each.key == key and not each.ending]
        if self.slots_max is not None and len(mine) >= self.slots_max:
            takeover = headers.get("x-takeover") or request.query.get("takeover") or ""
            if takeover.lower() != "true":
                return Answer(429, b'{"message":"Too Many Requests"}')
            lease.preempts = mine[0]
            self._leases[mine[0]].ending = True
        self._leases[connection] = lease
        lease.absence = self._absence(key, stream)
        if lease.absence is not None:
            lease.absence.until_ns = NEVER_NS
        return None

    def opened(self, connection: int, _now: Moment) -> list[Output]:
        lease = self._leases.get(connection)
        if lease is None or lease.preempts is None:
            return []
        return self.preempt(lease.preempts, "takeover", lease.lease_id)

    def closed(self, connection: int, now: Moment, code: int = 1006) -> list[Output]:
        lease = self._leases.pop(connection, None)
        if lease is not None and self.keep_ns:
            absence = lease.absence
            if absence is None and lease.wanted is not None and code in RETURNS:
                absence = _Absence(lease, lease.wanted)
                self._absences.append(absence)
            if absence is not None:
                absence.until_ns = now.monotonic_ns + self.keep_ns
        return []

    @property
    def is_listening(self) -> bool:
        """Whether anybody has subscribed, or had and will be back."""
        return any(lease.wanted is not None for lease in self._leases.values()) or self.expects_somebody

    @property
    def expects_somebody(self) -> bool:
        return bool(self._absences)

    def expects(self, key: str, stream: str) -> bool:
        """Whether a client with this key was on this stream and will be back."""
        return self._absence(key, stream) is not None

    def _absence(self, key: str, stream: str) -> _Absence | None:
        mine = (each for each in self._absences if (each.key, each.stream) == (key, stream))
        return next((absence for absence in mine if absence.until_ns != NEVER_NS), None)

    @property
    def kept_bytes(self) -> int:
        """How much waits for clients that will be back."""
        return sum(absence.missed_bytes for absence in self._absences)

    @property
    def wake_ns(self) -> int:
        deadlines = [
            min(lease.opened_ns + self.limit_ns, lease.active_ns + self.idle_ns)
            for lease in self._leases.values()
            if not lease.ending
        ]
        return min([NEVER_NS, *deadlines, *(absence.until_ns for absence in self._absences)])

    def tick(self, now: Moment) -> list[Output]:
        self._absences = [absence for absence in self._absences if absence.until_ns > now.monotonic_ns]
        outputs: list[Output] = []
        for number, lease in self._leases.items():
            deadline_ns = min(lease.opened_ns + self.limit_ns, lease.active_ns + self.idle_ns)
            if deadline_ns <= now.monotonic_ns and not lease.ending:
                lease.ending = True
                outputs.append(Close(number, 1001, "Going away"))
        return outputs

    # --- messages ---------------------------------------------------------------------------------------------

    def received(self, connection: int, message: str | bytes, now: Moment) -> list[Output]:
        lease = self._leases.get(connection)
        if lease is None:
            return []
        lease.active_ns = now.monotonic_ns
        try:
            fields = orjson.loads(message)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            return [Send((connection,), gateway_error(), lease.stream, "reply")]
        if fields.get("action") == "ping":
            if not self.answers_pings:
                return []
            pong = {"action": "pong"} | ({"t": fields["t"]} if "t" in fields else {})
            return [Send((connection,), orjson.dumps(pong), lease.stream, "reply")]
        return self._subscribe(connection, lease, fields, now)

    def _subscribe(self, connection: int, lease: _Lease, fields: dict[str, Any], now: Moment) -> list[Output]:
        """Whatever has no known action is a subscription; a second one replaces the first (unknown)."""
        try:
            wanted = Wanted(lease.stream, fields)
        except finlight_query.QueryInvalid as invalid:
            lease.wanted = None
            return [Send((connection,), error(f"Invalid query: {invalid.reason}"), lease.stream, "reply")]
        lease.wanted = wanted
        admit: dict[str, Any] = {"action": "admit", "leaseId": lease.lease_id, "serverNow": now.utc_ns // MS_NS}
        if fields.get("clientNonce") is not None:
            admit["clientNonce"] = fields["clientNonce"]
        outputs: list[Output] = [Send((connection,), orjson.dumps(admit), lease.stream, "reply")]
        if lease.absence is not None:
            missed = [article for article in lease.absence.missed if wanted(article)]
            self._absences.remove(lease.absence)
            lease.absence = None
            return [*outputs, *(Send((connection,), _bytes(article, lease.stream), lease.stream) for article in missed)]
        newest = self.source.newest(wanted) if lease.stream == ENHANCED else None
        return [*outputs, *self.answer(wanted, newest)]

    def answer(self, wanted: Wanted, newest: Article | Later | None) -> list[Output]:
        """The newest article for whoever has subscribed so, if they are still there and there is one."""
        if newest is None or newest is LATER:
            return []
        to = [number for number, lease in self._leases.items() if lease.wanted is wanted and not lease.ending]
        return [Send(to, newest.frame, ENHANCED, "initial")] if to else []

    def publish(self, article: Article, now: Moment, streams: Sequence[str] = (ENHANCED, RAW)) -> list[Output]:
        """A new article, to whoever wants it."""
        to: dict[str, list[int]] = {stream: [] for stream in streams}
        for number, lease in self._leases.items():
            if lease.wanted is not None and not lease.ending and lease.stream in to and lease.wanted(article):
                lease.active_ns = now.monotonic_ns
                to[lease.stream].append(number)
        for absence in self._absences:
            if absence.stream in to and absence.wanted(article):
                absence.missed.append(article)
                absence.missed_bytes += len(article.frame)
        return [Send(to[stream], _bytes(article, stream), stream) for stream in streams]

    # --- to order ---------------------------------------------------------------------------------------------

    def preempt(self, connection: int, reason: str, new_lease_id: str) -> list[Output]:
        """Another connection took this one's lease: told so, then closed 1000."""
        lease = self._leases.get(connection)
        if lease is None:
            return []
        lease.ending = True
        told = orjson.dumps({"action": "preempted", "reason": reason, "newLeaseId": new_lease_id})
        return [Send((connection,), told, lease.stream, "reply"), Close(connection, 1000, "Connection Closed Normally")]

    def tell_all(self, payload: bytes) -> list[Output]:
        """One reply to every connection."""
        return [Send((number,), payload, lease.stream, "reply") for number, lease in self._leases.items()]


def key_of(request: Handshake) -> str:
    """The API key of a client, "" for none. Exact lower case, as the service reads it: X-Api-Key is no key."""
    return dict(request.headers).get("x-api-key") or request.query.get("apiKey") or ""


def _bytes(article: Article, stream: str) -> bytes:
    return article.frame if stream == ENHANCED else article.raw_frame


def error(text: str) -> bytes:
    """An `error` frame. The words "limit" and "blocked" make the official client stay away for a minute or an hour."""
    return orjson.dumps({"action": "error", "data": text})


def admin_kick(retry_after_ms: int) -> bytes:
    """The client is asked to leave and to come back after so many milliseconds."""
    return orjson.dumps({"action": "admin_kick", "retryAfter": retry_after_ms})


def gateway_error() -> bytes:
    """API Gateway's own error frame, for a message its backend could not handle."""
    connection_id, request_id = uuid.uuid4().hex[:15].encode(), str(uuid.uuid4()).encode()
    return _GATEWAY_ERROR % (connection_id, request_id)
