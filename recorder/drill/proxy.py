"""A bad network on loopback: a TCP proxy between a recorder and an upstream that breaks connections to order.

In: the upstream's port, and orders. Out: a port that leads to it as well or as badly as was ordered, and when each
connection was taken. Real sockets, so what the recorder sees is what the kernel makes of it: an RST, a FIN, a SYN that
nobody answers. Knows nothing of WebSockets; what only an upstream can do wrong is the imitation's part. Nothing here
outlives the process.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from recorder.clock import Clock

LOOPBACK = "127.0.0.1"
READ_BYTES = 256 << 10
SHAPES_PER_S = 10  # a trickle is so many small writes a second
FRAGMENT_S = 0.001  # between fragments, so that the other side reads them one by one
WAITING_MAX = 128  # connections the kernel may have ready before they are taken
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST and drops what is unsent


@dataclass(slots=True, eq=False)
class _End:
    """One side of a connection through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ended: bool = False  # it was sent a FIN: nothing may follow

    def end(self) -> None:
        if not self.ended and self.writer.can_write_eof() and not self.writer.transport.is_closing():
            self.ended = True
            self.writer.write_eof()

    def reset(self) -> None:
        with suppress(OSError):
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.writer.transport.abort()


@dataclass(slots=True, eq=False)
class _Way:
    """One connection through the proxy. `lost`: its packets vanish for ever, and neither side is told of the other."""

    client: _End
    upstream: _End | None = None
    lost: bool = False
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Proxy:
    """`async with Proxy(port) as proxy:`; what is ordered concerns what is open, and what comes until `heal`.

    With `tls` its side towards the client speaks TLS with that certificate.
    """

    def __init__(self, upstream_port: int, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.taken_ns: list[int] = []  # monotonic; when each connection was accepted
        self.vanished_ns: list[int] = []  # UTC; when what was open then was lost for ever
        self._upstream_port = upstream_port
        self._clock = clock
        self._tls = tls
        self._listener: socket.socket | None = None
        self._taking: asyncio.Task[None] | None = None
        self._ways: dict[asyncio.Task[None], _Way | None] = {}
        self._filler: socket.socket | None = None
        self._vanishing = False
        self._piece_bytes = READ_BYTES
        self._hold_s = 0.0  # before each read
        self._pause_s = 0.0  # after each piece

    async def __aenter__(self) -> Proxy:
        self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        tasks = list(self._ways)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- orders ---------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """RST to both sides of every connection."""
        for way in self._open():
            for end in filter(None, (way.client, way.upstream)):
                end.reset()

    def half_close(self) -> None:
        """FIN to the client: nothing comes any more, and what it sends still arrives."""
        for way in self._open():
            way.client.end()

    def vanish(self, *, answering: bool = True) -> None:
        """Packets vanish in both directions and nobody closes: a dead route, a NAT that forgot, a pulled plug.

        What is open now stays lost for ever. A new connection is taken and then lost as well; without `answering` not
        even its SYN is answered.
        """
        self._vanishing = True
        self.vanished_ns.append(self._clock.now().utc_ns)
        for way in self._open():
            way.lost = True
        if not answering:
            self._fill_up()

    def refuse(self) -> None:
        """Nobody listens: new connections are refused by the kernel."""
        self._stop_listening()

    def throttle(self, bytes_per_s: int) -> None:
        """A trickle towards the client. What does not fit waits, as far back as the upstream's own buffers."""
        self._piece_bytes, self._pause_s = max(1, bytes_per_s // SHAPES_PER_S), 1 / SHAPES_PER_S

    def fragment(self, piece_bytes: int) -> None:
        """Everything in segments of so few bytes."""
        self._piece_bytes, self._pause_s = piece_bytes, FRAGMENT_S

    def coalesce(self, hold_s: float) -> None:
        """Let everything wait so long, and send it in one piece."""
        self._hold_s = hold_s

    def heal(self) -> None:
        """From now on the network is well. What is lost stays lost."""
        self._vanishing = False
        self._piece_bytes, self._hold_s, self._pause_s = READ_BYTES, 0.0, 0.0
        if self._listener is None or self._filler is not None:
            self._listen()

    # --- connections ----------------------------------------------------------------------------------------------

    def _open(self) -> list[_Way]:
        return [way for way in self._ways.values() if way is not None and not way.lost]

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.socket()
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.setblocking(False)
            self._listener.bind((LOOPBACK, self.port))
            self.port = self._listener.getsockname()[1]
        self._listener.listen(WAITING_MAX)
        self._taking = asyncio.get_running_loop().create_task(self._take(self._listener))

    def _stop_listening(self) -> None:
        self._stop_taking()
        for each in (self._listener, self._filler):
            if each is not None:
                each.close()
        self._listener = self._filler = None

    def _stop_taking(self) -> None:
        if self._taking and self._listener:
            self._taking.cancel()
            asyncio.get_running_loop().remove_reader(self._listener)  # the cancelled task would do it too late

    def _fill_up(self) -> None:
        """Linux drops a SYN while the queue of a listener is full: make it short, and fill it ourselves."""
        assert self._listener is not None
        self._stop_taking()
        self._listener.listen(0)
        self._filler = socket.create_connection((LOOPBACK, self.port))

    async def _take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, address = await loop.sock_accept(listener)
            if self._filler is not None and address == self._filler.getsockname():
                accepted.close()
                self._filler.close()
                self._filler = None
                continue
            self.taken_ns.append(self._clock.monotonic_ns())
            task = loop.create_task(self._connect(accepted, lost=self._vanishing))
            self._ways[task] = None
            task.add_done_callback(self._ways.pop)

    async def _connect(self, accepted: socket.socket, *, lost: bool) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self._tls)
        except OSError:  # a handshake that the client did not like
            accepted.close()
            return
        client = _End(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
        way = _Way(client, lost=lost)
        task = asyncio.current_task()
        assert task is not None
        self._ways[task] = way
        try:
            if way.lost:
                await self._forward(way, client, None)
                await asyncio.Event().wait()
            with suppress(OSError):
                way.upstream = _End(*await asyncio.open_connection(LOOPBACK, self._upstream_port, limit=READ_BYTES))
                await asyncio.gather(self._forward(way, client, way.upstream), self._forward(way, way.upstream, client))
        finally:
            for end in filter(None, (client, way.upstream)):
                end.writer.transport.abort()

    async def _forward(self, way: _Way, source: _End, sink: _End | None) -> None:
        """Until the source ends. A lost way swallows everything, the end too."""
        shaped = sink is way.client
        try:
            while True:
                if shaped and self._hold_s:
                    await asyncio.sleep(self._hold_s)
                data = await source.reader.read(READ_BYTES)
                if not data:
                    break
                while data and sink and not way.lost and not sink.ended:
                    size = self._piece_bytes if shaped else READ_BYTES
                    sink.writer.write(data[:size])
                    await sink.writer.drain()
                    data = data[size:]
                    await asyncio.sleep(self._pause_s if shaped else 0)
        except OSError:
            if sink and not way.lost:
                sink.reset()
        if way.lost:
            await asyncio.Event().wait()  # until the proxy ends: the other side hears nothing of it
        if sink:
            sink.end()
