"""The yardstick of replay: the loop in websockets' own documentation, `await connection.send(text)` for each message.

In: texts made before. Out: messages a second, from the first send until the reader has everything. The reader is a
process of its own that throws everything away as fast as its socket gives it, so that it is never what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import time
from collections.abc import Sequence

from _bench import SPAWN
from websockets.asyncio.server import ServerConnection, serve

_REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_CLOSE = b"\x88\x02\x03\xe8"  # the sender's close frame with code 1000
_CLOSED = b"\x88\x82\0\0\0\0\x03\xe8"  # the answer: the same, masked with 0


def rate(texts: Sequence[str], messages: int) -> float:
    """Messages a second of a bare send loop over loopback, without compression."""
    return asyncio.run(_rate(texts, messages))


async def _rate(texts: Sequence[str], messages: int) -> float:
    done: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def send(connection: ServerConnection) -> None:
        began = time.perf_counter()
        for turn in range(messages):
            await connection.send(texts[turn % len(texts)])
        await connection.close()  # returns when the reader has read everything and answered
        done.set_result(messages / (time.perf_counter() - began))

    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        (listening,) = server.sockets
        reader = SPAWN.Process(target=_read, args=(listening.getsockname()[1],))
        reader.start()
        reached = await done
    await asyncio.to_thread(reader.join)
    return reached


def _read(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(_REQUEST.format(base64.b64encode(os.urandom(16)).decode()).encode())
        room = bytearray(1 << 20)
        end = b""
        while end != _CLOSE and (count := peer.recv_into(room)):
            end = (end + bytes(room[max(0, count - 4) : count]))[-4:]
        peer.sendall(_CLOSED)
        while peer.recv_into(room):
            pass
