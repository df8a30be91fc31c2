"""`/quotes`, `/profile/{symbol}`, `/market` and `/hours`: Finance Query, out of a recording.

In: handshakes as its clients send them. Out: relays that serve all four endpoints. Holds nothing that must survive.
"""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

from recorder.clock import Moment
from recorder.message import Kind
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.relay import past
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.imitated import Imitated, Turned, not_recorded
from recorder.replay.relay.latest import PREFIX, PROFILE
from recorder.replay.relay.relay import Relay
from recorder.replay.relay.relay_finance_query import FinanceQueryRelay
from recorder.replay.selection import Selection
from recorder.replay.upstreams.as_finance_query import Fetch, FinanceQuery

ENDPOINTS = ("quotes", "profile", "market", "hours")
KINDS = frozenset(PREFIX + endpoint for endpoint in ENDPOINTS)


class ImitatedFinanceQuery(Imitated):
    """A place of the server, at its root: every other path is forbidden, as there.

    A named session is shared by all who ask for the same feeds of it; without a name each client has its own.
    """

    async def relay(self, request: Handshake, asked: Asked) -> Relay:
        endpoint, _, symbol = unquote(request.path).removeprefix("/").partition("/")
        if endpoint not in ENDPOINTS or bool(symbol) != (endpoint == "profile"):
            raise Turned(Answer(403))
        kind = PREFIX + endpoint
        if not await self.recorded(lambda stream: stream.feed_kind == kind):
            raise not_recorded(kind)
        await self.recorded(lambda stream: stream.feed_kind == PROFILE and stream.channel.upper() == symbol.upper())
        if (found := self._found(asked)) is not None:
            return found
        wanted = await self.wanted(asked, frozenset({kind}) if asked.name is None else KINDS)
        plan = await self.plan(asked)
        # Another client may have come while all that was looked up.
        return self._found(asked) or FinanceQueryRelay(self._has_profile, self.sessions, asked, plan, wanted)

    async def plain(self, request: Handshake) -> Answer:
        """The few REST routes that a liveness probe may use."""
        source = _Hours()
        if request.path == "/hours":
            plan = await self.plan(asked := self.asked(request))
            session = next((each for each in self.sessions.all if each.name == asked.name and asked.name), None)
            position = plan.start.position if session is None else session.next_position
            selection = Selection(asked.feeds, frozenset({f"{PREFIX}hours"}), frozenset({Kind.DATA}))
            found = await asyncio.to_thread(past.newest, self.sessions.timeline, position, selection)
            source.frame = found.payload if found is not None else None
        answer = FinanceQuery(source).handshake(0, request, self.sessions.clock.now())
        return answer or Answer(404)

    def _has_profile(self, symbol: str) -> bool:
        return any(stream.feed_kind == PROFILE and stream.channel.upper() == symbol for stream in self._streams)

    def _found(self, asked: Asked) -> Relay | None:
        return next((relay for relay in self.relays if relay.asked.may_share(asked) and not relay.ended), None)


class _Hours:
    """A source that knows one frame."""

    frame: bytes | None = None

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | None:  # noqa: ARG002 - only the hours are asked for
        return self.frame
