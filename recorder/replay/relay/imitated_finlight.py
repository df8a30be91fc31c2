"""`/finlight` and `/finlight/raw`: Finlight, out of a recording.

In: handshakes as Finlight's clients send them. Out: relays of one stream each. Holds nothing that must survive.

Each stream is fed by feeds of its own kind, and by those of the other kind where only that was recorded: then what
comes has more, or fewer, fields than Finlight's own, since no frame is re-written to look like one of the other kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from websockets.http11 import Response

from recorder.message import Stream
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.port.socket import Socket
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.imitated import Imitated, Turned, not_recorded
from recorder.replay.relay.relay import Relay
from recorder.replay.relay.relay_finlight import FinlightRelay
from recorder.replay.upstreams.as_finlight import STREAMS, key_of
from recorder.replay.upstreams.finlight_articles import ENHANCED, RAW

KINDS = {ENHANCED: ("finlight", "finlight.raw"), RAW: ("finlight.raw", "finlight")}


class ImitatedFinlight(Imitated):
    """A place of the server.

    A named session is shared by all who ask for the same stream of it. Without a name each client has a session of its
    own; one that comes back with the same key, after the gateway's close or its own rotation, finds it again.
    """

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:
        return await super().knock(socket, number, _with_stream_in_path(request))

    async def relay(self, request: Handshake, asked: Asked) -> Relay:
        stream = STREAMS.get(request.path)
        if stream is None:
            raise Turned(Answer(403, b'{"message":"Forbidden"}'))
        if (found := self._found(key_of(request), stream, asked)) is not None:
            return found
        kinds = await self._kinds(stream, asked)
        wanted = await self.wanted(asked, kinds)
        plan = await self.plan(asked)
        # Another client may have come while all that was looked up.
        return self._found("", stream, asked) or FinlightRelay(stream, self.sessions, asked, plan, wanted)

    async def plain(self, request: Handshake) -> Answer:  # noqa: ARG002 - whatever was asked
        return Answer(426, b'{"message":"Upgrade Required"}')

    async def _kinds(self, stream: str, asked: Asked) -> frozenset[str]:
        if asked.feeds:
            return frozenset(KINDS[stream])
        for kind in KINDS[stream]:
            if await self.recorded(_is_of(kind)):
                return frozenset({kind})
        raise not_recorded(KINDS[stream][0])

    def _found(self, key: str, stream: str, asked: Asked) -> Relay | None:
        for relay in self.relays:
            if isinstance(relay, FinlightRelay) and relay.stream == stream:
                is_back = relay.asked == asked and relay.finlight.expects(key, stream)
                if is_back or (relay.asked.may_share(asked) and not relay.ended):
                    return relay
        return None


def _is_of(kind: str) -> Callable[[Stream], bool]:
    return lambda stream: stream.feed_kind == kind


def _with_stream_in_path(request: Handshake) -> Handshake:
    """The official raw client appends /raw to its URL, behind the query where it has one."""
    if request.path not in ("", "/") or not request.query:
        return request
    name, text = list(request.query.items())[-1]
    if not text.endswith("/raw"):
        return request
    return replace(request, path="/raw", query={**request.query, name: text.removesuffix("/raw").rstrip("/")})
