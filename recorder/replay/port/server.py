"""The only listener: one port, with places below their path prefixes.

In: TCP connections. Out: each handshake at the place it belongs to: an imitated upstream, the native endpoint, a page.
`/session/NAME` may stand before any of them and is handed on as the session's name. Nothing here must survive: if the
power fails, the clients dial again. What to say is the places' business, what shall go wrong the faults'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import websockets.asyncio.server as websockets_server
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response
from websockets.protocol import CLOSED

from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import CLOSE_TIMEOUT_S, Socket

SESSION_PREFIX = "/session/"
MESSAGE_BYTES_MAX = 128 << 10  # of a client's message; API Gateway's own limit
HANDSHAKE_TIMEOUT_S = 60.0  # longer than clients wait, so that an ignored handshake is the client's to end
PARAMETERS_MAX = 100
NOT_ALLOWED = (1002, 1003, 1007, 1009)  # close codes: no frame, not this kind of data, no UTF-8, too large

# Handshakes that fail are this server's daily bread; websockets would log each with a traceback.
_log = logging.getLogger("recorder.replay.port.server.websockets")
_log.setLevel(logging.WARNING)
_log.addFilter(lambda record: "opening handshake failed" not in str(record.msg))

Gate = Callable[[Handshake], Answer | None]


class Place(Protocol):
    """What answers below a prefix."""

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:
        """A handshake, the prefix taken off its path: None lets it in."""

    async def converse(self, socket: Socket) -> None:
        """From the 101 to the end."""

    def stop(self) -> list[Awaitable[None]]:
        """The server stops: nothing new from here on. Returns the ends of the conversations that are left."""


class Server:
    """One port, loopback by default; port 0 takes any. Of the prefixes that fit a path the longest wins.

    `gate` is asked before any place; `clients_max` bounds the connected clients, and those that
    have not finished their handshake: of more than so many the oldest is hung up on.
    """

    def __init__(
        self,
        places: Mapping[str, Place],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        compression: bool = False,
        numbers: Iterator[int] | None = None,
        gate: Gate | None = None,
        clients_max: int | None = None,
        message_bytes_max: int = MESSAGE_BYTES_MAX,
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self.places: dict[str, Place] = {}
        self.add(places)
        self.address = address
        self.port = port
        self.compression = compression
        self.gate = gate
        self.clients_max = clients_max
        self.message_bytes_max = message_bytes_max
        self.handshake_timeout_s = handshake_timeout_s
        self.turned_away = 0  # at the gate, or for being too many
        self.handshakes_failed = 0  # no HTTP, none in time, no WebSocket
        self.protocol_errors = 0  # conversations ended for what no client may send
        self._numbers = numbers or count(1)  # given by whoever keeps one ledger for several servers
        self._knocking: dict[Socket, None] = {}  # neither answered nor let in yet, oldest first
        self._inside: dict[Socket, Place] = {}
        self._server: websockets_server.Server | None = None

    def add(self, places: Mapping[str, Place]) -> None:
        """More of them, before the server is entered."""
        self.places = dict(sorted([*self.places.items(), *places.items()], key=lambda item: -len(item[0])))

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"ws://{host}:{self.port}"

    @property
    def clients(self) -> int:
        """How many are connected."""
        self._inside = {each: place for each, place in self._inside.items() if each.protocol.state is not CLOSED}
        return len(self._inside)

    async def __aenter__(self) -> Server:
        self._server = await websockets_server.serve(
            self._converse,
            self.address,
            self.port,
            process_request=self._knock,
            process_response=_with_headers,
            create_connection=self._socket,  # type: ignore[arg-type]
            compression="deflate" if self.compression else None,
            max_size=self.message_bytes_max,
            open_timeout=self.handshake_timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            server_header=None,
            logger=_log,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close(close_connections=False)
        for socket in self._knocking:
            socket.transport.abort()
        ends = [end for place in self.places.values() for end in place.stop()]
        await asyncio.gather(*ends, return_exceptions=True)
        await self._server.wait_closed()

    def _socket(self, *arguments: Any, **options: Any) -> Socket:
        socket = Socket(*arguments, **options)
        socket.on_made, socket.on_gone = self._made, self._gone
        return socket

    def _made(self, socket: Socket) -> None:
        self._knocking[socket] = None
        if self.clients_max is not None and len(self._knocking) > self.clients_max:
            oldest = next(iter(self._knocking))  # who means it is done in milliseconds
            del self._knocking[oldest]
            self.handshakes_failed += 1
            oldest.transport.abort()

    def _gone(self, socket: Socket) -> None:
        knocked, close = socket in self._knocking, socket.protocol.close_sent
        self._knocking.pop(socket, None)
        if socket.flooded or (close is not None and close.code in NOT_ALLOWED):
            self.protocol_errors += 1
        elif knocked:
            self.handshakes_failed += 1

    async def _knock(self, connection: ServerConnection, request: Request) -> Response | None:
        socket = cast(Socket, connection)
        answer = await self._answer(socket, request)
        if answer is not None:
            self._knocking.pop(socket, None)
        return answer

    async def _answer(self, socket: Socket, request: Request) -> Response | None:
        try:
            handshake = self._handshake(socket, request)
        except ValueError as error:  # brackets that close nothing, thousands of parameters
            return response(Answer(400, str(error).encode(), "text/plain"))
        prefix = next((each for each in self.places if _below(handshake.path, each)), None)
        if prefix is None:
            return response(Answer(404, f"there are {', '.join(filter(None, self.places))}\n".encode(), "text/plain"))
        answer = self.gate(handshake) if self.gate is not None else None
        if answer is None and self.clients_max is not None and handshake.upgrade and self.clients >= self.clients_max:
            answer = Answer(503, f"{self.clients_max} clients are connected; more may not be\n".encode(), "text/plain")
        if answer is not None:
            self.turned_away += 1
            return response(answer)
        place = self.places[prefix]
        handshake = replace(handshake, path=handshake.path[len(prefix) :])
        refused = await place.knock(socket, next(self._numbers), handshake)
        if refused is None:
            self._inside[socket] = place
        return refused

    def _handshake(self, socket: Socket, request: Request) -> Handshake:
        """Raises ValueError."""
        parts = urlsplit(f"http://localhost{request.path}")  # with a host in front, //raw stays a path
        path, session = parts.path, None
        if path.startswith(SESSION_PREFIX):
            session, slash, rest = path.removeprefix(SESSION_PREFIX).partition("/")
            path, session = slash + rest, unquote(session)
        peer = socket.remote_address
        return Handshake(
            path=path,
            query=dict(parse_qsl(parts.query, max_num_fields=PARAMETERS_MAX)),
            headers=tuple(request.headers.raw_items()),
            client=str(peer[0]) if peer else "",
            upgrade="websocket" in request.headers.get("Upgrade", "").lower(),
            session=session,
        )

    async def _converse(self, connection: ServerConnection) -> None:
        socket = cast(Socket, connection)
        self._knocking.pop(socket, None)
        if (place := self._inside.get(socket)) is not None:  # else it is gone already
            await place.converse(socket)


def _with_headers(connection: ServerConnection, _request: Request, answer: Response) -> None:
    for name, text in cast(Socket, connection).response_headers.items():
        answer.headers[name] = text


def _below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (not prefix or path[len(prefix) :][:1] in ("", "/"))
