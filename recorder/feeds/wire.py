"""One WebSocket client connection without its socket: bytes of one read in, whole messages out.

In: what a TCP read brought, and what is to be sent. Out: the messages that are now complete, bytes for the socket, and
how it ended. `websockets`' Sans-I/O client speaks the protocol; plain whole messages, nearly all there are, are cut out
here instead, because its parser is a chain of generators per frame: measured over loopback, 0.37 million 500-byte
frames a second against 1.4 million. Both give the same messages and refuse the same things, whatever the bytes and
wherever they are cut. Nothing here outlives the process. Sockets and timers are connection.py's job.
"""

from __future__ import annotations

import logging
from struct import unpack_from

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHeaderValue, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from recorder.feeds.feed import Frame, Request

ABNORMAL = 1006  # RFC 6455 7.4.1: ended without a close frame
REASON_BYTES_MAX = 123  # RFC 6455 5.5: a control frame holds 125 bytes, two of them the code

_TEXT, _BINARY = 0x81, 0x82
_WHOLE = frozenset((_TEXT, _BINARY))  # first byte of a message that is not fragmented, not compressed, breaks no rule
_KNOWN = frozenset(Opcode)

# At DEBUG websockets logs every header it sends, API keys included.
_quiet = logging.getLogger(f"{__name__}.websockets")
_quiet.setLevel(logging.WARNING)


class Wire:
    """The state of one connection's protocol.

    opened: the handshake succeeded. over: no message can come any more, and `ending` says why if it was opened;
    if not, it was refused (`refusal`) or broken off (`handshake_error`).
    """

    def __init__(self, request: Request, frame_bytes_max: int) -> None:
        self.uri = parse_uri(request.url)
        self.opened = False
        self.over = False
        self.refusal: Response | None = None
        self._request = request
        self._bytes_max = frame_bytes_max
        self._protocol = ClientProtocol(
            self.uri,
            extensions=[ClientPerMessageDeflateFactory()],  # offers client_max_window_bits, as the official clients do
            max_size=frame_bytes_max,
            logger=_quiet,
        )
        self._tail = bytearray()  # a frame's beginning, at most frame_bytes_max and its header
        self._wanted = 0  # bytes that `_tail` must hold before it is worth looking at again
        self._joined: bytearray | None = None  # a fragmented message so far
        self._joined_is_text = True

    # --- out ---------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Ask for the connection, header names spelled as the request spells them. Raises ValueError."""
        opening = self._protocol.connect()
        for name, value in self._request.headers:
            try:
                opening.headers[name] = value
            except InvalidHeaderValue:  # whose text holds the value, which may be a secret
                raise ValueError(
                    f"The value of header {name} holds a character HTTP forbids, a line break perhaps; correct it."
                ) from None
        self._protocol.send_request(opening)

    def send(self, text: str) -> None:
        """Send one text message. Ignored unless the connection is open."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_text(text.encode())

    def ping(self) -> None:
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")

    def close(self, code: int, reason: str) -> bool:
        """Begin the closing handshake, if none has begun. Messages may still arrive until the peer's close frame."""
        open_still = self._protocol.state is State.OPEN
        if open_still:
            self._protocol.send_close(code, reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore"))
        return open_still

    def outgoing(self) -> bytes:
        """What is to be written to the socket now."""
        return b"".join(self._protocol.data_to_send())

    # --- in ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Frame]:
        """Take what one read brought; answer the messages it completed, in order."""
        frames: list[Frame] = []
        rest = data if self.opened else self._answered(data)
        if rest and self.opened and not self.over:
            self._slice(rest, frames)
        return frames

    def eof(self) -> None:
        """The stream has ended. An HTTP refusal without a length is complete only now."""
        if not self.over:
            self._protocol.receive_eof()
            if not self.opened:
                self._take_answer()
            self.over = True

    def _answered(self, data: bytes) -> bytes:
        """Hand over the HTTP answer a line at a time, so that the first frame stays here. Returns what is left."""
        start = 0
        while start < len(data) and not (self.opened or self.over):
            stop = data.find(b"\n", start) + 1 or len(data)
            self._protocol.receive_data(data[start:stop])
            self._take_answer()
            start = stop
        return data[start:]

    def _take_answer(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Response) and isinstance(self._protocol.handshake_exc, InvalidStatus):
                self.refusal = event
        self.opened = self._protocol.state is State.OPEN
        self.over = self._protocol.handshake_exc is not None

    def _slice(self, data: bytes, frames: list[Frame]) -> None:
        """Cut `data` at the boundaries of frames. websockets is given whole frames, or what it is sure to refuse."""
        if self._tail:
            self._tail += data
            if len(self._tail) < self._wanted:
                return
            data = bytes(self._tail)
            self._tail.clear()
        start, end, bytes_max = 0, len(data), self._bytes_max
        wanted = 2
        while end - start >= wanted:
            head, length = data[start], data[start + 1]
            body = start + 2
            if length == 126:
                if end - start < 4:
                    wanted = 4
                    break
                length = data[start + 2] << 8 | data[start + 3]
                body = start + 4
            elif length == 127:
                if end - start < 10:
                    wanted = 10
                    break
                (length,) = unpack_from("!Q", data, start + 2)
                body = start + 10
            if length > bytes_max or data[start + 1] > 127 or (head & 0x0F) not in _KNOWN:
                self._hand_over(data[start:], frames)  # oversize, masked or of no known kind: the header is enough
                return
            stop = body + length
            if stop > end:
                wanted = stop - start
                break
            if head in _WHOLE and self._joined is None:
                frames.append(Frame(data[body:stop], head == _TEXT))
            else:
                self._hand_over(data[start:stop], frames)
                if self.over:
                    return
            start = stop
            wanted = 2
        if start < end:
            self._tail += data[start:] if start else data
            self._wanted = wanted

    def _hand_over(self, data: bytes, frames: list[Frame]) -> None:
        """Let websockets parse: control frames, fragments, compressed messages and what breaks the protocol."""
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            assert isinstance(event, WireFrame)
            if event.opcode is Opcode.TEXT or event.opcode is Opcode.BINARY:
                if event.fin:
                    frames.append(Frame(bytes(event.data), event.opcode is Opcode.TEXT))
                else:
                    self._joined = bytearray(event.data)
                    self._joined_is_text = event.opcode is Opcode.TEXT
            elif event.opcode is Opcode.CONT:
                assert self._joined is not None  # websockets refuses a continuation of nothing
                self._joined += event.data
                if event.fin:
                    frames.append(Frame(bytes(self._joined), self._joined_is_text))
                    self._joined = None
        self.over = protocol.close_rcvd is not None or protocol.parser_exc is not None

    # --- how it ended ------------------------------------------------------------------------------------------

    @property
    def ending(self) -> tuple[int, str, bool]:
        """Code, reason, and whether we were the first to close; 1006 where no close frame came in answer or at all."""
        received, sent = self._protocol.close_rcvd, self._protocol.close_sent
        if received and self._protocol.close_rcvd_then_sent is not False:
            return int(received.code), received.reason, False
        if sent and self.over and not isinstance(self._protocol.parser_exc, EOFError):
            return int(sent.code), sent.reason, True
        return ABNORMAL, "", sent is not None

    @property
    def handshake_error(self) -> str:
        """Why the HTTP answer was none that opens a connection, in a few words; the peer's own text is cut short."""
        error = self._protocol.handshake_exc
        detail = error.__cause__ if error and error.__cause__ else error
        return str(detail)[:200]
