"""The native endpoint, `/replay`: the query says what to play, operations say how.

In: handshakes and operations of clients. Out: sessions for them; what each is sent is client.py's. A query that cannot
be played is answered with a 400 that says what can. Holds nothing that must survive.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from recorder.errors import RecorderError, RequestInvalid
from recorder.replay import answers
from recorder.replay.client import Client
from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import Socket
from recorder.replay.sessions import Full, Sessions
from recorder.replay.track import Plan
from recorder.replay.wire import Options, parse_query, session_name


class Native:
    """A place of the server."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.clients: set[Client] = set()
        self.asked: dict[Socket, tuple[Options, Plan]] = {}  # from the handshake to the conversation

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:
        try:
            options, plan = await self._plan(request)
            if self.sessions.named(options.session) is None:
                self.sessions.check_room()
        except RequestInvalid as refused:
            self.sessions.counts["queries_refused_total"] += 1
            return response(Answer(400, answers.error_text(refused)))
        except Full as full:
            return response(Answer(503, f"{full}\n".encode(), "text/plain"))
        except (RecorderError, OSError) as error:
            return response(Answer(500, str(error).encode(), "text/plain"))
        if not request.upgrade:
            return response(Answer(426, b"this is a WebSocket: ws://\n", "text/plain"))
        if request.path not in ("", "/"):
            return response(Answer(404))
        socket.number = number
        socket.backlog_bytes_max = sys.maxsize  # its session waits long before
        socket.ping_timeout = None  # a pong may wait behind megabytes; who takes nothing is noticed by idle_s
        socket.on_lost = self._lost
        self.asked[socket] = options, plan
        return None

    async def converse(self, socket: Socket) -> None:
        if (asked := self.asked.pop(socket, None)) is None:
            return
        options, plan = asked
        try:
            session = self.sessions.open(options.session, plan)
        except Full as full:
            await socket.end(1013, str(full)[:120])
            return
        client = Client(socket, options, session, self.sessions)
        self.clients.add(client)
        try:
            session.attach(client)
            with suppress(ConnectionClosed):
                async for message in socket:
                    await client.received(message)
        finally:
            self.clients.discard(client)
            session.detach(client)

    def _lost(self, socket: Socket) -> None:
        self.asked.pop(socket, None)

    def stop(self) -> list[Awaitable[None]]:
        self.sessions.stop("the server stops")
        return [client.left() for client in self.clients]

    async def _plan(self, request: Handshake) -> tuple[Options, Plan]:
        options = parse_query(request.query)
        if request.session is not None:
            name = session_name("session", request.session)
            if options.session not in (None, name):
                raise RequestInvalid("session", options.session, f"{name}, as the path says, or none")
            options = replace(options, session=name)
        return options, await self.sessions.plan(options)
