"""Loopback peers that do what they like with bytes, and a listener that writes down what it is told."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from recorder.clock import Clock, Moment
from recorder.feeds.connection import Connection
from recorder.feeds.feed import Frame, Request
from recorder.settings import Limits, Redial

PATIENCE_S = 20.0  # before a test that waits for something says that it did not happen
BYTES_MAX = 1 << 20

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Log:
    """A listener that writes down what it is told, and insists on exactly one end."""

    def __init__(self) -> None:
        self.connection: Connection  # set by dial()
        self.opened_ms: float | None = None
        self.batches: list[tuple[list[Frame], Moment]] = []
        self.end: tuple[object, ...] | None = None
        self.on_opened: Callable[[], None] = lambda: None
        self.on_received: Callable[[], None] = lambda: None

    def opened(self, handshake_ms: float) -> None:
        assert self.opened_ms is None and self.end is None
        self.opened_ms = handshake_ms
        self.on_opened()

    def received(self, frames: list[Frame], moment: Moment) -> None:
        assert frames and self.opened_ms is not None and self.end is None
        self.batches.append((frames, moment))
        self.on_received()

    def refused(self, status: int, headers: dict[str, str], body: bytes) -> None:
        assert self.opened_ms is None
        self._finish("refused", status, headers, body)

    def failed(self, error: str) -> None:
        assert self.opened_ms is None
        self._finish("failed", error)

    def closed(self, code: int, reason: str, by_us: bool) -> None:
        assert self.opened_ms is not None
        self._finish("closed", code, reason, by_us)

    def _finish(self, *end: object) -> None:
        assert self.end is None, f"{end} after {self.end}"
        self.end = end

    @property
    def frames(self) -> list[Frame]:
        return [frame for frames, _ in self.batches for frame in frames]

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames]

    @property
    def error(self) -> str:
        assert self.end and self.end[0] == "failed", self.end
        return str(self.end[1])

    async def until(self, happened: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():  # noqa: ASYNC110 - any condition, also of what has no event
                await asyncio.sleep(0.001)

    async def ended(self) -> tuple[object, ...]:
        await self.until(lambda: self.end)
        assert self.end is not None
        return self.end


class Tcp:
    """Both ends of a connection on loopback."""

    @staticmethod
    @asynccontextmanager
    async def dialled(
        url: str,
        *headers: tuple[str, str],
        timeout_s: float = PATIENCE_S,
        bytes_max: int = BYTES_MAX,
        tls: ssl.SSLContext | None = None,
    ) -> AsyncIterator[Log]:
        """A dialled connection and its log; on leaving, nothing of it is left on the loop."""
        log = Log()
        redial, limits = Redial(handshake_timeout_s=timeout_s), Limits(frame_bytes_max=bytes_max)
        log.connection = Connection(Request(url, headers), log, Clock(), redial, limits, tls)
        log.connection.dial()
        try:
            yield log
        finally:
            log.connection.abort()
            await log.ended()
            await asyncio.sleep(0)  # for connection_lost of what is aborted after its end was told

    @staticmethod
    @asynccontextmanager
    async def peer(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """A server that does what it likes with bytes. Yields its address; a failing handler fails the test."""
        failures: list[BaseException] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except (asyncio.CancelledError, ConnectionError):
                pass
            except BaseException as error:
                failures.append(error)
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
        if failures:
            raise failures[0]

    @staticmethod
    async def greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, and_then: bytes = b"") -> bytes:
        """Answer the handshake by hand, `and_then` in the same segment. Returns the request as it came."""
        head = await reader.readuntil(b"\r\n\r\n")
        (key,) = [line[19:] for line in head.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key: ")]
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
        )
        writer.write(answer.encode() + and_then)
        await writer.drain()
        return head

    @staticmethod
    def sends(data: bytes) -> Handler:
        """A peer that greets, sends this, and waits for the other side to go."""

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Tcp.greeted(reader, writer)
            writer.write(data)
            await writer.drain()
            await reader.read()

        return handler

    @staticmethod
    def frame(opcode: Opcode, data: bytes = b"", fin: bool = True) -> bytes:
        """One frame as a server writes it."""
        return WireFrame(opcode, data, fin).serialize(mask=False)

    @staticmethod
    def close_frame(code: int, reason: str = "") -> bytes:
        return Tcp.frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())

    @staticmethod
    def sent_by_us(data: bytes) -> list[tuple[Opcode, bytes]]:
        """The frames a client wrote, unmasked."""
        server = ServerProtocol(state=State.OPEN)
        server.receive_data(data)
        return [(event.opcode, bytes(event.data)) for event in server.events_received() if isinstance(event, WireFrame)]


@pytest.fixture
def tcp() -> Tcp:
    return Tcp()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.fail("These tests make a certificate with the openssl command; install it.")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    kind = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([openssl, *kind.split(), *files], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context
