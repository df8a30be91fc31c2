"""An upstream that only sends: 500-byte messages, as fast as the peer reads or at a pace, over loopback.

In: connections to `ws://127.0.0.1:PORT/COUNT/PER_S`. Out: on each an `admit` and COUNT articles, PER_S of them a second
(0: as fast as they are taken); then it waits for the peer to leave. Frames are ready before the connection is: what is
measured is the reader. It runs in a process of its own and ends with the one that started it.
"""

from __future__ import annotations

import base64
import hashlib
import random
import re
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from _bench import SPAWN

MESSAGE_BYTES = 500
RING = 20_000  # different messages; 10 MB, so the sender's caches are of no more use than a network card's
_BLOCK_BYTES = 256 << 10

_ADMIT = b'{"action":"admit","leaseId":"benchmark"}'
_ARTICLE = '{"action":"sendArticle","data":{"link":"https://example.com/%019d","source":"example.com","summary":"%s"}}'
_CLOSE = 0x88
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_PHRASE = "shares of the company rose fell after quarterly revenue beat missed expectations analysts said"
_WORDS = _PHRASE.split()


def article(number: int, text: str) -> bytes:
    """One message of MESSAGE_BYTES. `number` is found again by `number_of`."""
    room = MESSAGE_BYTES - len(_ARTICLE % (0, ""))
    return (_ARTICLE % (number, f"{text:{room}.{room}}")).encode()


def number_of(message: bytes) -> int:
    start = _ARTICLE.index("%019d")
    return int(message[start : start + 19])


class Sender:
    """`with Sender() as sender: … sender.url(1_000_000)`"""

    def __enter__(self) -> Sender:
        ours, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        self._port: int = ours.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def url(self, count: int, per_s: int = 0) -> str:
        return f"ws://127.0.0.1:{self._port}/{count}/{per_s}"


def _serve(port_to: Connection) -> None:
    dice = random.Random(1)
    ring = [_frame(article(number, " ".join(dice.choices(_WORDS, k=80)))) for number in range(RING)]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port_to.send(server.getsockname()[1])
        while True:
            peer, _ = server.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with peer, suppress(ConnectionError):
                count, per_s = _shake_hands(peer)
                peer.sendall(_frame(_ADMIT))
                if per_s:
                    _send_paced(peer, count, per_s)
                else:
                    _send_all(peer, ring, count)
                while (heard := peer.recv(1 << 16)) and heard[0] != _CLOSE:
                    pass
                peer.sendall(bytes((_CLOSE, 0)))


def _shake_hands(peer: socket.socket) -> tuple[int, int]:
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(1 << 16)
    path = re.match(rb"GET /(\d+)/(\d+) ", request)
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert path and key, request
    accept = base64.b64encode(hashlib.sha1(key[1] + _GUID).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    peer.sendall(head + accept + b"\r\n\r\n")
    return int(path[1]), int(path[2])


def _send_all(peer: socket.socket, ring: list[bytes], count: int) -> None:
    a_block = _BLOCK_BYTES // len(ring[0])
    blocks = [b"".join(ring[at : at + a_block]) for at in range(0, len(ring), a_block)]
    turns, rest = divmod(count, len(ring))
    for _ in range(turns):
        for block in blocks:
            peer.sendall(block)
    peer.sendall(b"".join(ring[:rest]))


def _send_paced(peer: socket.socket, count: int, per_s: int) -> None:
    """Each message carries the monotonic time at which it leaves: when it is due, or late at once."""
    dice = random.Random(2)
    texts = [" ".join(dice.choices(_WORDS, k=80)) for _ in range(1000)]
    start_ns = time.monotonic_ns() + 100_000_000
    for index in range(count):
        due_ns = start_ns + index * 1_000_000_000 // per_s
        wait_ns = due_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        peer.sendall(_frame(article(time.monotonic_ns(), texts[index % len(texts)])))


def _frame(payload: bytes) -> bytes:
    """A whole text message as a server sends it: unmasked."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload
