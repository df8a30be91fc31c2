"""One connection to an upstream, from dialling to its end: the only file that dials.

In: a request, text to send, TCP reads. Out: calls on a Listener, on the event loop. All messages that one read
completed are handed over in one call with the one time at which the read was made; there is no task, queue or await
per message. If the power fails here, what had not been handed to the journal is lost with the kernel's buffers.
Whether and when to dial, and what the messages mean, is channel.py's and the protocols' job; framing is wire.py's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from contextlib import suppress
from typing import Protocol

from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.feeds.feed import Frame, Request
from recorder.feeds.wire import ABNORMAL, Wire
from recorder.settings import Limits, Redial

PING_S = 20.0  # of silence before a ping: keeps NAT entries alive; an answer proves nothing and is not waited for
HANG_UP_S = 2.0  # for the peer to answer our close frame, or to end TCP after its own
HAPPY_EYEBALLS_S = 0.25  # RFC 8305 8: before the next address is tried beside the first
BACKLOG_BYTES_MAX = 1 << 20  # what we may have waiting for a peer that does not read
BODY_BYTES_MAX = 16 << 10  # of a refusal, handed on
READ_BYTES = 256 << 10  # as asyncio reads


class Listener(Protocol):
    """Who is told. Called on the event loop; must not raise. One of refused, failed, closed is the last call."""

    def opened(self, handshake_ms: float) -> None:
        """The handshake succeeded, so many milliseconds after `dial`."""

    def received(self, frames: list[Frame], moment: Moment) -> None:
        """These messages, at least one, were completed by one read, made at `moment`."""

    def refused(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """The handshake was answered with this HTTP status. Header names are lower case, the body cut at 16 KiB."""

    def failed(self, error: str) -> None:
        """It never opened: DNS, TCP, TLS, time-out, no proper answer, or given up. A sentence without secrets."""

    def closed(self, code: int, reason: str, by_us: bool) -> None:
        """No message comes any more. 1006 where no close frame came; `reason` then says what happened instead."""


class Connection(asyncio.Protocol):
    """Dials once. The URL has been checked by the settings.

    Follows no redirects and uses no proxy: the URL in the settings is the address that is dialled.
    """

    def __init__(
        self,
        request: Request,
        listener: Listener,
        clock: Clock,
        redial: Redial,
        limits: Limits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._wire = Wire(request, limits.frame_bytes_max)
        self._where = f"{self._wire.uri.host}:{self._wire.uri.port}"
        self._listener = listener
        self._clock = clock
        self._handshake_timeout_s = redial.handshake_timeout_s
        self._tls = tls
        self._dialling: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None  # of what is awaited now: the handshake, the end of TCP
        self._pinger: asyncio.TimerHandle | None = None
        self._dialled_ns = 0
        self._heard_ns = 0
        self._paused = False
        self._cut = ""  # why we ended TCP, if we did
        self._over = False

    # --- what the keeper does ----------------------------------------------------------------------------------

    def dial(self) -> None:
        """Start. `handshake_timeout_s` is for all of it: DNS, TCP, TLS and the answer to the handshake."""
        loop = asyncio.get_running_loop()
        self._dialled_ns = self._clock.now().monotonic_ns
        self._deadline = loop.call_later(self._handshake_timeout_s, self._give_up)
        self._dialling = loop.create_task(self._connect())
        self._dialling.add_done_callback(self._connected)

    def send(self, text: str) -> None:
        """Send one text message. Ignored unless the connection is open."""
        self._wire.send(text)
        self._flush()

    def hang_up(self, code: int, reason: str) -> None:
        """Close politely: messages the peer sends before its own close frame are still delivered, for 2 s.

        While paused, the 2 s do not run out: what waits in the kernel is not given up. Before it is open, as `abort`.
        """
        if not self._wire.opened:
            self.abort()
        elif not self._over and self._wire.close(code, reason):
            self._flush()
            self._await_end()

    def abort(self) -> None:
        """End TCP now. The listener is told, soon after, unless it already knows of an end."""
        self._end_tcp("given up before it was open" if not self._wire.opened else "cut by us")

    def pause(self) -> None:
        """Read no further, so that TCP holds the peer back. What was read has been delivered already."""
        self._paused = True
        if self._transport and self._wire.opened and not self._over:
            self._transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        if self._transport:
            self._transport.resume_reading()

    # --- dialling ----------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        uri = self._wire.uri
        self._wire.greet()
        secure = uri.secure
        await asyncio.get_running_loop().create_connection(
            lambda: self,
            uri.host,
            uri.port,
            happy_eyeballs_delay=HAPPY_EYEBALLS_S,
            ssl=(self._tls or _default_tls()) if secure else None,
            ssl_handshake_timeout=self._handshake_timeout_s if secure else None,
            ssl_shutdown_timeout=HANG_UP_S if secure else None,
        )

    def _connected(self, dialling: asyncio.Task[None]) -> None:
        if dialling.cancelled():
            self._fail(f"The connection to {self._where} was {self._cut}.")
        elif error := dialling.exception():
            self._fail(_sentence(error, self._where))

    def _give_up(self) -> None:
        within = f"within {self._handshake_timeout_s:g} s"
        if self._transport is None:
            self._fail(f"No connection to {self._where} {within}. Check the address, the network and any firewall.")
            return
        self._wire.eof()
        if self._wire.refusal:
            self._rejected()
        else:
            self._fail(f"{self._where} did not answer the WebSocket handshake {within}. Check the URL.")

    def _rejected(self) -> None:
        answer = self._wire.refusal
        if answer is None:
            self._fail(
                f"{self._where} did not answer as a WebSocket server: {self._wire.handshake_error}. Check the URL."
            )
        elif self._finish():
            headers: dict[str, str] = {}
            for name, value in answer.headers.raw_items():
                known = headers.get(name.lower())
                headers[name.lower()] = value if known is None else f"{known}, {value}"
            self._listener.refused(answer.status_code, headers, bytes(answer.body[:BODY_BYTES_MAX]))

    def _fail(self, error: str) -> None:
        if self._finish():
            self._listener.failed(error)

    # --- asyncio's side ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport  # asyncio has set TCP_NODELAY
        if self._over:
            transport.abort()
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        moment = self._clock.now()
        self._heard_ns = moment.monotonic_ns
        was_open = self._wire.opened
        frames = self._wire.feed(data)
        self._flush()
        if not was_open:
            if self._wire.opened:
                self._open()
            elif self._wire.over:
                self._rejected()
        if frames:
            self._listener.received(frames, moment)
        if self._wire.opened and self._wire.over:
            self._close(*self._wire.ending)

    def eof_received(self) -> None:
        if not self._over:
            self._wire.eof()
            if self._wire.opened:
                self._close(*self._wire.ending)
            else:
                self._rejected()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, OSError) and not self._over:
            self._drain()
        if self._wire.opened:
            self._close(*self._wire.ending, detail=self._cut or (str(exc) if exc else ""))
        else:
            self._fail(f"The connection to {self._where} was {self._cut or f'lost in the handshake: {exc}'}.")
        if self._deadline:
            self._deadline.cancel()
        self._transport = None

    # --- open --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        if self._paused:
            self.pause()
        self._ping_when_silent()
        self._listener.opened((self._heard_ns - self._dialled_ns) / MS_NS)

    def _ping_when_silent(self) -> None:
        silent_s = (self._clock.now().monotonic_ns - self._heard_ns) / SECOND_NS
        if silent_s >= PING_S:
            silent_s = 0.0
            if not self._paused:  # then silence is ours, and a write to a dead peer would lose what waits unread
                self._wire.ping()
                self._flush()
        self._pinger = asyncio.get_running_loop().call_later(PING_S - silent_s, self._ping_when_silent)

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if data := self._wire.outgoing():
            self._transport.write(data)
            waiting = self._transport.get_write_buffer_size()
            if waiting > BACKLOG_BYTES_MAX:
                self._end_tcp(f"cut by us: the peer did not take {waiting} bytes we sent")

    def _drain(self) -> None:
        """Read what the kernel still holds. A failed write makes asyncio drop the socket with all that is unread.

        Out of reach under TLS, where the keys are asyncio's.
        """
        assert self._transport is not None
        if self._transport.get_extra_info("sslcontext") is None:
            with suppress(OSError), self._transport.get_extra_info("socket").dup() as rest:
                while data := rest.recv(READ_BYTES):
                    self.data_received(data)

    # --- ends --------------------------------------------------------------------------------------------------

    def _await_end(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = asyncio.get_running_loop().call_later(HANG_UP_S, self._end_waited)

    def _end_waited(self) -> None:
        if self._paused and not self._over:
            self._await_end()
        else:
            self._end_tcp(f"cut by us: no close frame in answer to ours within {HANG_UP_S:g} s")

    def _end_tcp(self, cause: str) -> None:
        self._cut = self._cut or cause
        if self._dialling:
            self._dialling.cancel()
        if self._transport:
            self._transport.abort()

    def _close(self, code: int, reason: str, by_us: bool, detail: str = "") -> None:
        """Tell the listener at once; the socket has 2 s more to come down politely."""
        if self._finish():
            if code == ABNORMAL:
                reason = detail or "the peer ended TCP without a close frame"
                by_us = by_us or bool(self._cut)
            self._await_end()
            self._listener.closed(code, reason, by_us)

    def _finish(self) -> bool:
        """Whether this is the first end. If it never opened, nothing is left to be polite about."""
        first, self._over = not self._over, True
        for timer in (self._deadline, self._pinger):
            if timer and first:
                timer.cancel()
        if not self._wire.opened:
            self._end_tcp("")
        return first


@functools.cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()  # reads all of the system's CAs: 40 ms in which no socket is read


def _sentence(error: BaseException, where: str) -> str:
    """Why a connection could not be made, for the person who has to do something about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        _default_tls.cache_clear()  # the CAs may be newer on disk; the next dial reads them again
        return f"The certificate of {where} is not valid: {error.verify_message} Check the URL, the clock, the CAs."
    if isinstance(error, ssl.SSLError):
        return f"TLS with {where} failed: {error.reason}. Check that the URL's scheme (ws or wss) is right."
    if isinstance(error, socket.gaierror):
        return f"No address for {where}: {error.strerror}. Check the host name and the resolver."
    if isinstance(error, OSError):
        # asyncio's own text is "Connect call failed (address)", which does not say why
        why = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
        return f"No connection to {where}: {why}. Check that the server runs and is reachable."
    return f"No connection to {where}: {error}"
