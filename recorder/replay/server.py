"""The only listener: one port, with hosts below their path prefixes.

In: TCP connections. Out: each handshake at the host it belongs to. Nothing here must survive: if the power fails, the
clients dial again. What to say is the imitations' business, what shall go wrong the faults'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from itertools import count
from typing import cast
from urllib.parse import parse_qsl, urlsplit

import websockets.asyncio.server as websockets_server
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from recorder.replay.host import Host, response
from recorder.replay.imitation import Answer, Handshake
from recorder.replay.socket import CLOSE_TIMEOUT_S, Socket

MESSAGE_BYTES_MAX = 128 << 10  # of a client's message; API Gateway's own limit
HANDSHAKE_TIMEOUT_S = 60.0  # longer than clients wait, so that an ignored handshake is the client's to end

# Handshakes that fail are this server's daily bread; websockets would log each with a traceback.
_log = logging.getLogger("recorder.replay.wire")
_log.addFilter(lambda record: "opening handshake failed" not in str(record.msg))


class Server:
    """One port, loopback by default; port 0 takes any. Of the prefixes that fit a path the longest wins."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        compression: bool = False,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.hosts = dict(sorted(hosts.items(), key=lambda item: -len(item[0])))
        self.address = address
        self.port = port
        self.compression = compression
        self._numbers = numbers or count(1)  # given by whoever keeps one ledger for several servers
        self._knocking: set[Socket] = set()
        self._server: websockets_server.Server | None = None

    @property
    def url(self) -> str:
        return f"ws://{self.address}:{self.port}"

    async def __aenter__(self) -> Server:
        self._server = await websockets_server.serve(
            self._converse,
            self.address,
            self.port,
            process_request=self._knock,
            create_connection=Socket,
            compression="deflate" if self.compression else None,
            max_size=MESSAGE_BYTES_MAX,
            open_timeout=HANDSHAKE_TIMEOUT_S,
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
        ends = [
            socket.end(host.imitation.stop_code, host.imitation.stop_reason)
            for host in self.hosts.values()
            for socket in host.stop()
        ]
        await asyncio.gather(*ends, return_exceptions=True)
        await self._server.wait_closed()

    async def _knock(self, connection: ServerConnection, request: Request) -> Response | None:
        socket = cast(Socket, connection)
        parts = urlsplit(f"http://{self.address}{request.path}")  # with a host in front, //raw stays a path
        prefix = next((each for each in self.hosts if _below(parts.path, each)), None)
        if prefix is None:
            return response(Answer(404))
        peer = socket.remote_address
        handshake = Handshake(
            path=parts.path[len(prefix) :],
            query=dict(parse_qsl(parts.query)),
            headers=tuple(request.headers.raw_items()),
            client=str(peer[0]) if peer else "",
            upgrade="websocket" in request.headers.get("Upgrade", "").lower(),
        )
        self._knocking.add(socket)
        try:
            return await self.hosts[prefix].knock(socket, next(self._numbers), handshake)
        finally:
            self._knocking.discard(socket)

    async def _converse(self, connection: ServerConnection) -> None:
        socket = cast(Socket, connection)
        host = next((host for host in self.hosts.values() if socket.number in host.sockets), None)
        if host is not None:  # else it is gone already
            await host.converse(socket)


def _below(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (not prefix or path[len(prefix) :][:1] in ("", "/"))
