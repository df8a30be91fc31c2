"""The imitated upstreams as places of the replay server, fed by the recording.

In: handshakes, in the upstreams' own words but for what is to be played. Out: relays: one for all clients of a named
session that ask alike, else one a client. Where the replay is, the handshake's answer says in headers; nothing of it
stands in a frame. Holds nothing that must survive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from websockets.http11 import Response

from recorder.errors import RecorderError, RequestInvalid
from recorder.message import Kind, Stream
from recorder.replay import answers
from recorder.replay.encoding import Wanted
from recorder.replay.moments import iso
from recorder.replay.playhead import MAX
from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import Socket
from recorder.replay.relay import asked, past
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.relay import Relay
from recorder.replay.selection import Selection
from recorder.replay.sessions import Full, Sessions
from recorder.replay.track import Plan


class Turned(Exception):
    """A client is turned away."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def not_recorded(kind: str) -> Turned:
    said = f"no feed of kind {kind} is recorded: add one to config.toml, or play another recording\n"
    return Turned(Answer(403, said.encode(), "text/plain"))


class Imitated:
    """A place of the server. `defaults`: for clients that do not give them; RequestInvalid where they are wrong."""

    def __init__(self, sessions: Sessions, defaults: Mapping[str, str] | None = None) -> None:
        asked.parse({}, None, defaults)
        self.sessions = sessions
        self.defaults = defaults
        self.relays: list[Relay] = []
        self._streams: set[Stream] = set()  # recorded ones, as far as anybody had to know

    # --- what differs between the upstreams -----------------------------------------------------------------------

    async def relay(self, request: Handshake, asked: Asked) -> Relay:
        """One of `relays`, or a new one for them. Raises Turned, RequestInvalid, Full, RecorderError."""
        raise NotImplementedError

    async def plain(self, request: Handshake) -> Answer:
        """The answer to a plain GET. Raises as `relay`."""
        raise NotImplementedError

    # --- as a place -----------------------------------------------------------------------------------------------

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:
        try:
            if not request.upgrade:
                return response(await self.plain(request))
            relay = await self.relay(request, self.asked(request))
        except Turned as turned:
            return response(turned.answer)
        except RequestInvalid as refused:
            self.sessions.counts["queries_refused_total"] += 1
            return response(Answer(400, answers.error_text(refused)))
        except Full as full:
            return response(Answer(503, f"{full}\n".encode(), "text/plain"))
        except (RecorderError, OSError) as error:
            return response(Answer(500, f"{error}\n".encode(), "text/plain"))
        if relay not in self.relays:
            relay.on_idle = self._forget
            self.relays.append(relay)
        socket.ping_timeout = None  # a pong may wait behind megabytes; who takes nothing is noticed by idle_s
        refused_by_it = await relay.host.knock(socket, number, request)
        if refused_by_it is None:
            socket.response_headers.update(self._headers(relay))
        return refused_by_it

    async def converse(self, socket: Socket) -> None:
        relay = next((relay for relay in self.relays if relay.host.sockets.get(socket.number) is socket), None)
        if relay is not None:  # else it is gone already
            await relay.host.converse(socket)

    def stop(self) -> list[Awaitable[None]]:
        return [end for relay in list(self.relays) for end in relay.host.stop()]

    # --- for the upstreams ----------------------------------------------------------------------------------------

    def asked(self, request: Handshake) -> Asked:
        """Raises RequestInvalid."""
        return asked.parse(request.query, request.session, self.defaults)

    async def plan(self, asked: Asked) -> Plan:
        """Raises RequestInvalid, Full, RecorderError."""
        is_there = any(session.name == asked.name for session in self.sessions.all if asked.name is not None)
        if not is_there and len(self.sessions.all) >= self.sessions.limits.sessions_max:
            raise Full("sessions_max", self.sessions.limits.sessions_max)
        return await self.sessions.plan(asked.options)

    async def recorded(self, wanted: Callable[[Stream], bool]) -> bool:
        """Whether a stream like this was recorded; reads no further than to have found one."""
        if not any(map(wanted, self._streams)):
            await asyncio.to_thread(self._read_streams, wanted)
        return any(map(wanted, self._streams))

    async def wanted(self, asked: Asked, kinds: frozenset[str]) -> Wanted:
        """What a relay wants: feeds of these kinds. Raises RequestInvalid where one asked for is not there."""
        if asked.feeds:
            known = {stream.feed for stream in self._streams if stream.feed_kind in kinds}
            if not asked.feeds <= known:  # it may be newer than what was read
                await self.recorded(lambda _: False)
                known = {stream.feed for stream in self._streams if stream.feed_kind in kinds}
            if unknown := asked.feeds - known:
                raise RequestInvalid("feed", ", ".join(sorted(unknown)), ", ".join(sorted(known)))
        of = frozenset({Kind.DATA, Kind.LIFECYCLE} if asked.as_recorded else {Kind.DATA})
        return Wanted(Selection(asked.feeds, kinds, of))

    def _read_streams(self, wanted: Callable[[Stream], bool]) -> None:
        for some in past.streams(self.sessions.timeline):
            self._streams |= set(some)
            if any(map(wanted, some)):
                return

    def _forget(self, relay: Relay) -> None:
        if relay in self.relays:
            self.relays.remove(relay)

    def _headers(self, relay: Relay) -> dict[str, str]:
        """Where the replay is."""
        session, plan = relay.session, relay.plan
        state = None if session is None else session.state()
        moment_ns = plan.start.moment_ns if state is None else state.moment_ns
        speed = plan.speed if state is None else state.speed
        told = {
            "x-recorder-session": relay.asked.name,
            "x-recorder-position": str(plan.start.position if session is None else session.next_position),
            "x-recorder-moment": None if moment_ns is None else iso(moment_ns),
            "x-recorder-speed": "max" if speed == MAX else f"{speed:g}",
        }
        return {name: text for name, text in told.items() if text is not None}
