"""One client's socket: many messages in one write, and nobody waits for a client that does not read.

In: encoded frames. Out: bytes on the transport at the end of the event loop's turn; a call when the connection is
gone. What waits here or in the transport when a connection is cut is lost, as with any server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Event

CLOSE_TIMEOUT_S = 2.0
BACKLOG_BYTES_MAX = 64 << 20  # waiting for one client, beyond the kernel's buffers
PETTY_FRAMES_MAX = 1_000  # pings and pongs in a second, or fragments of a message: none of them is counted by its bytes
_PONG = bytes((0x80 | Opcode.PONG,))


class Socket(ServerConnection):
    """A websockets connection that batches its writes, can be told to answer no pings, and says when it is gone."""

    number = 0
    response_headers: dict[str, str]  # of the 101, beside those of the protocol
    on_made: Callable[[Socket], None] | None = None  # called once, when TCP is there
    on_gone: Callable[[Socket], None] | None = None  # called once, when TCP is gone
    on_lost: Callable[[Socket], None] | None = None  # called once, when nothing more can be sent
    ending = False  # it is to be closed, and gets nothing more
    flooded = False  # it was cut for more petty frames than anybody has a use for
    answers_pings: Callable[[], bool] | None = None
    backlog_bytes_max = BACKLOG_BYTES_MAX

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.response_headers = {}
        self._outbox: list[bytes | memoryview] = []
        self._outbox_bytes = 0
        self._fragments = self._controls = self._second = 0

    @property
    def backlog_bytes(self) -> int:
        """What waits here and in the transport, beyond the kernel's buffers."""
        return self._outbox_bytes + self.transport.get_write_buffer_size()

    def put(self, frames: bytes | memoryview) -> bool:
        """Queue encoded frames for this turn's write. False: the connection is on its way out."""
        if self.ending or self.protocol.state is not OPEN or self.transport.is_closing():
            return False
        if not self._outbox:
            self.loop.call_soon(self.flush)
        self._outbox.append(frames)
        self._outbox_bytes += len(frames)
        return True

    def flush(self) -> None:
        """Write what is queued; cut a client that has let too much wait already."""
        if self._outbox and not self.transport.is_closing():
            if self.transport.get_write_buffer_size() > self.backlog_bytes_max:
                self.transport.abort()
            else:
                self.transport.write(self._outbox[0] if len(self._outbox) == 1 else b"".join(self._outbox))
        self._outbox.clear()
        self._outbox_bytes = 0

    async def end(self, code: int, reason: str) -> None:
        """Close, and cut if the client does not answer in time.

        websockets' own deadline starts once the close frame is out, which to a client that reads nothing is never.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.close(code, reason)
        self.transport.abort()

    def cut(self) -> None:
        """End TCP with no close frame."""
        self.flush()
        self.transport.abort()

    @property
    def ended_by(self) -> tuple[int, str]:
        """Code and reason of the first close frame, whoever sent it; 1006 where there was none."""
        protocol = self.protocol
        first = protocol.close_rcvd if protocol.close_rcvd_then_sent else protocol.close_sent or protocol.close_rcvd
        return (1006, "") if first is None else (int(first.code), first.reason)

    # --- websockets' own hooks --------------------------------------------------------------------------------

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and self._is_flood(event):
            self.flooded = True
            self.transport.abort()
        else:
            super().process_event(event)

    def _is_flood(self, frame: Frame) -> bool:
        """Pings of a client that reads no pongs, and a message that never ends, would fill the memory."""
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            second = int(self.loop.time())
            self._controls = self._controls + 1 if second == self._second else 1
            self._second = second
        else:
            self._fragments = 0 if frame.fin else self._fragments + 1
        return max(self._controls, self._fragments) > PETTY_FRAMES_MAX

    def send_data(self) -> None:
        self.flush()  # pongs and close frames come after what was said before
        if self.answers_pings is not None and not self.answers_pings():
            self.protocol.writes[:] = [data for data in self.protocol.writes if data[:1] != _PONG]
        super().send_data()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.on_made is not None:
            self.on_made(self)

    def data_received(self, data: bytes) -> None:
        was_open = self.protocol.state is OPEN
        super().data_received(data)
        if was_open and self.protocol.state is not OPEN:  # TCP may go on for a while
            self._lost()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost()
        if self.on_gone is not None:
            self.on_gone(self)

    def _lost(self) -> None:
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost(self)


def encode(payload: bytes, is_text: bool, fragment_bytes_max: int | None, extensions: Sequence[Any] = ()) -> bytes:
    """A message as WebSocket frames of a server; longer ones than `fragment_bytes_max` in several."""
    size = fragment_bytes_max or max(len(payload), 1)
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    opcode = Opcode.TEXT if is_text else Opcode.BINARY
    return b"".join(
        Frame(Opcode.CONT if index else opcode, piece, fin=index == len(pieces) - 1).serialize(
            mask=False, extensions=extensions
        )
        for index, piece in enumerate(pieces)
    )
