"""One imitation with its connections: tells it what happens, does what it answers, notes it in the ledger.

In: sockets and handshakes from the server, messages from clients. Out: writes, closes and cuts, as the imitation
decides and the faults to order allow. Holds nothing that must survive. Ports and paths are the server's job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.protocol import OPEN

from recorder.clock import SECOND_NS, Clock, Moment
from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import BACKLOG_BYTES_MAX, Socket, encode
from recorder.replay.upstreams.faults import IGNORED, Faults
from recorder.replay.upstreams.imitation import NEVER_NS, Close, Imitation, Output, Send
from recorder.replay.upstreams.ledger import Connection, Ledger


class Host:
    """The connections of one imitation, by number, from the accepted handshake until TCP is gone."""

    def __init__(
        self,
        imitation: Imitation,
        *,
        clock: Clock,
        faults: Faults | None = None,
        ledger: Ledger | None = None,
        backlog_bytes_max: int = BACKLOG_BYTES_MAX,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """`changed` is called whenever anything has happened here."""
        self.imitation = imitation
        self.clock = clock
        self.faults = faults or Faults()
        self.ledger = ledger
        self.backlog_bytes_max = backlog_bytes_max
        self.changed = changed
        self.sockets: dict[int, Socket] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER_NS
        self._waiters: set[asyncio.Event] = set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is looked at whenever anything has happened here."""
        changed = asyncio.Event()
        self._waiters.add(changed)
        try:
            while not condition():
                await changed.wait()
                changed.clear()
        finally:
            self._waiters.discard(changed)

    # --- the life of a connection -----------------------------------------------------------------------------

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:
        """A handshake: None lets it in."""
        now = self.clock.now()
        answer = self.faults.handshake() or self.imitation.handshake(number, request, now)
        if self.ledger is not None:
            status = 101 if answer is None else answer.status if isinstance(answer, Answer) else 0
            self.ledger.knocked(now.utc_ns, self.imitation.name, request.path, status)
        if answer is None:
            self._admit(socket, number, request, now)
            return None
        self._notify()
        if answer == IGNORED:
            await socket.wait_closed()
        return response(answer if isinstance(answer, Answer) else Answer(503))

    def _admit(self, socket: Socket, number: int, request: Handshake, now: Moment) -> None:
        socket.number = number
        socket.on_lost = self._lost
        socket.answers_pings = lambda: self.faults.answers_pings
        socket.backlog_bytes_max = self.backlog_bytes_max
        socket.ping_interval = self.imitation.ping_interval_s
        self.sockets[number] = socket
        if self.ledger is not None:
            row = Connection(number, self.imitation.name, request.path, now.utc_ns)
            self.ledger.connections[number] = row
        self._notify()

    async def converse(self, socket: Socket) -> None:
        """From the 101 to the end."""
        if socket.number not in self.sockets:
            return  # it is gone already
        if (end := self.faults.opened(socket.number)) is not None:
            self.run([end])
        else:
            now = self.clock.now()
            self.run(self.imitation.opened(socket.number, now), now)
        try:
            async for message in socket:
                now = self.clock.now()
                self.run(self.imitation.received(socket.number, message, now), now)
        except ConnectionClosed:
            pass

    def _lost(self, socket: Socket) -> None:
        now = self.clock.now()
        self.sockets.pop(socket.number, None)
        self.faults.closed(socket.number)
        code, reason = socket.ended_by
        if self.ledger is not None:
            row = self.ledger.connections[socket.number]
            row.closed_ns = now.utc_ns
            row.code, row.reason = code, reason
        self.run(self.imitation.closed(socket.number, now, code), now)

    def stop(self) -> list[Awaitable[None]]:
        """No more deadlines. Returns the ends of the sockets that are left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_ns = -1  # equals no wake_ns but is never scheduled again
        code, reason = self.imitation.stop_code, self.imitation.stop_reason
        return [socket.end(code, reason) for socket in self.sockets.values()]

    # --- doing what the imitation answers ---------------------------------------------------------------------

    def run(self, outputs: Sequence[Output], now: Moment | None = None) -> None:
        """Send, close and cut, in this order."""
        now = now or self.clock.now()
        for output in outputs:
            if isinstance(output, Send):
                self._send(output, now)
            elif isinstance(output, Close):
                self._close(output)
            elif (socket := self.sockets.get(output.connection)) is not None:
                socket.cut()
        self._schedule(now)
        self._notify()

    def _send(self, send: Send, now: Moment) -> None:
        fragment_bytes_max = self.imitation.fragment_bytes_max
        plain: bytes | None = None
        written: list[int] = []
        for number in self.faults.recipients(send):
            socket = self.sockets.get(number)
            if socket is None:
                continue
            if socket.protocol.extensions:
                frames = encode(send.payload, send.is_text, fragment_bytes_max, socket.protocol.extensions)
            else:
                plain = plain or encode(send.payload, send.is_text, fragment_bytes_max)
                frames = plain
            if socket.put(frames):
                written.append(number)
        if self.ledger is not None:
            self.ledger.published(now.utc_ns, self.imitation.name, send, written)
        for number in written:
            if (end := self.faults.sent(number)) is not None:
                self.run([end], now)

    def _close(self, close: Close) -> None:
        socket = self.sockets.get(close.connection)
        if socket is not None and socket.protocol.state is OPEN:
            socket.ending = True
            task = asyncio.get_running_loop().create_task(socket.end(close.code, close.reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _schedule(self, now: Moment) -> None:
        """One timer, for the imitation's next deadline."""
        wake_ns = self.imitation.wake_ns
        if wake_ns == self._timer_ns or self._timer_ns < 0:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_ns = wake_ns
        if wake_ns != NEVER_NS:
            delay_s = max(0, wake_ns - now.monotonic_ns) / SECOND_NS
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._due)

    def _due(self) -> None:
        self._timer, self._timer_ns = None, NEVER_NS
        now = self.clock.now()
        self.run(self.imitation.tick(now), now)

    def _notify(self) -> None:
        for changed in self._waiters:
            changed.set()
        if self.changed is not None:
            self.changed()
