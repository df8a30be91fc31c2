"""Finlight's server side, imitated: subscriptions, leases, filters, heartbeats, the two limits of its gateway.

In: handshakes, frames, articles from whoever publishes them, the time. Out: frames to send and connections to end. An
article's bytes leave unchanged. Holds nothing that must survive. What the service does was read in its clients and
documentation (the page on Finlight's protocol); what nobody knows is chosen here and marked "unknown". Where articles
come from (a generator, a recording) is the Source's business.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import orjson

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.replay import finlight_query
from recorder.replay.imitation import NEVER_NS, Answer, Close, Handshake, Output, Send

ENHANCED = "enhanced"
RAW = "raw"
STREAMS = {"/": ENHANCED, "": ENHANCED, "/raw": RAW, "//raw": RAW}  # a URL with a trailing slash gives //raw

_ENVELOPE = b'{"action":"sendArticle","data":'
_GATEWAY_ERROR = b'{"message": "Internal server error", "connectionId":"%s", "requestId":"%s"}'


class Article:
    """A sendArticle frame, byte for byte, and what the filters need to know of it."""

    def __init__(self, frame: bytes, raw_frame: bytes | None = None) -> None:
        self.frame = frame
        self.raw_frame = frame if raw_frame is None else raw_frame
        self.is_update = b'"isUpdate"' in frame and self.facts.get("isUpdate") is True

    @classmethod
    def of(cls, article: bytes, raw_article: bytes | None = None) -> Article:
        """From an article's JSON object, without the envelope; the raw stream gets `raw_article` if given."""
        raw_frame = None if raw_article is None else _ENVELOPE + raw_article + b"}"
        return cls(_ENVELOPE + article + b"}", raw_frame)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The article as parsed JSON; empty where the frame holds none. Parsed only when a filter asks."""
        try:
            data = orjson.loads(self.frame)["data"]
        except (ValueError, KeyError, TypeError):
            return {}
        return data if isinstance(data, dict) else {}


class Source(Protocol):
    """Where the newest article comes from. New ones come by Finlight.publish()."""

    def newest(self, wanted: Callable[[Article], bool]) -> Article | None:
        """The newest article so far that is wanted."""


class Recent:
    """A Source that remembers what was published last, at most `count_max` articles."""

    def __init__(self, count_max: int = 500) -> None:
        self._articles: deque[Article] = deque(maxlen=count_max)

    def add(self, article: Article) -> None:
        self._articles.append(article)

    def newest(self, wanted: Callable[[Article], bool]) -> Article | None:
        return next((article for article in reversed(self._articles) if wanted(article)), None)


class Wanted:
    """A subscription: its filters over articles. Unknown keys are ignored, null means unset. Raises QueryInvalid."""

    def __init__(self, stream: str, fields: dict[str, Any]) -> None:
        self.include_updates = fields.get("includeUpdates") is True
        tests: list[finlight_query.Predicate] = []
        query = fields.get("query")
        if isinstance(query, str) and query.strip():
            known = finlight_query.FIELDS if stream == ENHANCED else finlight_query.RAW_FIELDS
            tests.append(finlight_query.parse(query, known))
        if sources := {finlight_query.domain(each) for each in _texts(fields, "sources")}:
            tests.append(lambda facts: finlight_query.domain(str(facts.get("source"))) in sources)
        if excluded := {finlight_query.domain(each) for each in _texts(fields, "excludeSources")}:
            tests.append(lambda facts: finlight_query.domain(str(facts.get("source"))) not in excluded)
        if isinstance(language := fields.get("language"), str):
            tests.append(lambda facts: facts.get("language") == language)
        if stream == ENHANCED:
            if tickers := {each.upper() for each in _texts(fields, "tickers")}:
                tests.append(lambda facts: not tickers.isdisjoint(finlight_query.tickers(facts)))
            if countries := {each.lower() for each in _texts(fields, "countries")}:
                tests.append(_any_of("countries", countries))
            if categories := {each.lower() for each in _texts(fields, "categories")}:
                tests.append(_any_of("categories", categories))
            if fields.get("excludeEmptyContent") is True:
                tests.append(lambda facts: bool(facts.get("content")))
        self._tests = tests

    def __call__(self, article: Article) -> bool:
        if article.is_update and not self.include_updates:
            return False
        return all(test(article.facts) for test in self._tests)


def _any_of(name: str, values: set[str]) -> finlight_query.Predicate:
    return lambda facts: any(str(each).lower() in values for each in facts.get(name) or ())


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    value = fields.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


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


class Finlight:
    """The service. `keys` None lets any key in; `slots_max` None any number of connections a key."""

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
        limit_s: float = 7200.0,
        idle_s: float = 600.0,
    ) -> None:
        self.source = source
        self.keys = keys
        self.slots_max = slots_max
        self.limit_ns = int(limit_s * SECOND_NS)
        self.idle_ns = int(idle_s * SECOND_NS)
        self.answers_pings = True  # off: a fault to order
        self._leases: dict[int, _Lease] = {}  # in order of opening

    # --- connections ------------------------------------------------------------------------------------------

    def handshake(self, connection: int, request: Handshake, now: Moment) -> Answer | None:
        if not request.upgrade:
            return Answer(426, b'{"message":"Upgrade Required"}')
        stream = STREAMS.get(request.path)
        if stream is None:
            return Answer(403, b'{"message":"Forbidden"}')
        # Exact lower case, as the service reads them: X-Api-Key is no key (tests in its .NET and Java clients).
        headers = dict(request.headers)
        key = headers.get("x-api-key") or request.query.get("apiKey") or ""
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
        return None

    def opened(self, connection: int, _now: Moment) -> list[Output]:
        lease = self._leases.get(connection)
        if lease is None or lease.preempts is None:
            return []
        return self.preempt(lease.preempts, "takeover", lease.lease_id)

    def closed(self, connection: int, _now: Moment) -> list[Output]:
        self._leases.pop(connection, None)
        return []

    @property
    def wake_ns(self) -> int:
        deadlines = (
            min(lease.opened_ns + self.limit_ns, lease.active_ns + self.idle_ns)
            for lease in self._leases.values()
            if not lease.ending
        )
        return min(deadlines, default=NEVER_NS)

    def tick(self, now: Moment) -> list[Output]:
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
        if lease.stream == ENHANCED and (newest := self.source.newest(wanted)) is not None:
            outputs.append(Send((connection,), newest.frame, lease.stream, "initial"))
        return outputs

    def publish(self, article: Article, now: Moment) -> list[Output]:
        """A new article, to whoever wants it, on both streams."""
        to: dict[str, list[int]] = {ENHANCED: [], RAW: []}
        for number, lease in self._leases.items():
            if lease.wanted is not None and not lease.ending and lease.wanted(article):
                lease.active_ns = now.monotonic_ns
                to[lease.stream].append(number)
        return [Send(to[ENHANCED], article.frame, ENHANCED), Send(to[RAW], article.raw_frame, RAW)]

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
