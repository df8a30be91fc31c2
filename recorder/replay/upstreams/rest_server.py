"""An HTTP port for an imitated REST API, beside the WebSocket one, whose library answers GET only.

In: TCP connections. Out: each request at the imitation, its answer back, in order, over connections that are kept. What
may go wrong is ordered at `faults`. Nothing here must survive. What to answer is the imitation's business.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import h11

from recorder.clock import Clock, Moment
from recorder.replay.port.handshake import Answer, Handshake

BODY_BYTES_MAX = 64 << 10
IDLE_S = 60.0
READ_BYTES = 64 << 10

IGNORE, TRUNCATE = "ignore", "truncate"

Answers = Callable[[str, Handshake, bytes, Moment], Answer]  # method, request, body, now


@dataclass(slots=True)
class RestFaults:
    """Orders for the next requests, used up one by one, oldest first."""

    _orders: deque[Answer | str] = field(default_factory=deque)

    def refuse(self, status: int, times: int = 1, body: bytes = b"{}") -> None:
        """Answer with this status and body, whatever was asked."""
        self._orders.extend([Answer(status, body)] * times)

    def ignore(self, times: int = 1) -> None:
        """Never answer."""
        self._orders.extend([IGNORE] * times)

    def truncate(self, times: int = 1) -> None:
        """Answer, and hang up in the middle of it."""
        self._orders.extend([TRUNCATE] * times)

    def forget(self) -> None:
        self._orders.clear()

    def next(self) -> Answer | str | None:
        return self._orders.popleft() if self._orders else None


class RestServer:
    """One port, loopback by default; port 0 takes any."""

    def __init__(self, answers: Answers, clock: Clock, *, address: str = "127.0.0.1", port: int = 0) -> None:
        self.answers = answers
        self.clock = clock
        self.address = address
        self.port = port
        self.faults = RestFaults()
        self.requests: deque[Handshake] = deque(maxlen=1000)
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    async def __aenter__(self) -> RestServer:
        self._server = await asyncio.start_server(self._accept, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self._talks.add(talk)
        try:
            # A client that goes away, talks no HTTP or for ever is none of ours any more.
            with suppress(OSError, TimeoutError, h11.ProtocolError, asyncio.CancelledError):
                await self._converse(reader, writer)
        finally:
            self._talks.discard(talk)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        peer = str(writer.get_extra_info("peername")[0])
        while (asked := await _question(http, reader)) is not None:
            request, body = asked
            handshake = _handshake(request, peer)
            self.requests.append(handshake)
            fault = self.faults.next()
            if fault == IGNORE:
                await reader.read()  # until the client gives up
                return
            if isinstance(fault, Answer):
                answer = fault
            else:
                answer = self.answers(request.method.decode(), handshake, body, self.clock.now())
            content = answer.body if fault != TRUNCATE else answer.body[: len(answer.body) // 2]
            headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body)))]
            reason = HTTPStatus(answer.status).phrase
            writer.write(http.send(h11.Response(status_code=answer.status, reason=reason, headers=headers)) or b"")
            writer.write(http.send(h11.Data(data=content)) or b"")
            await writer.drain()
            if fault == TRUNCATE:
                return
            http.send(h11.EndOfMessage())
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()


async def _question(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
    """The next request and its body; None when the client has no more."""
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            async with asyncio.timeout(IDLE_S):
                http.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, bytes(body)
        else:
            return None


def _handshake(request: h11.Request, peer: str) -> Handshake:
    parts = urlsplit(f"http://host{request.target.decode()}")
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers.raw_items())
    return Handshake(parts.path, dict(parse_qsl(parts.query)), headers, peer, upgrade=False)
