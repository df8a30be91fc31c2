"""One client of the native endpoint: a listener that writes messages to its socket, and reads operations from it.

In: stretches and states from its session, operations from its socket. Out: frames on the socket. Messages and gap marks
are text frames, or Arrow in binary ones; state, errors and the end are always text. What waits for a client when it is
cut is lost to it; it may ask again from the position it has reached.

`format=arrow`: all binary frames one after the other are one Arrow IPC stream with the columns of `messages`: the first
is the schema, each further one a record batch, the last the end of the stream.
"""

from __future__ import annotations

import asyncio

import pyarrow as pa
import pyarrow.compute as pc

from recorder.clock import SECOND_NS, Moment
from recorder.errors import RequestInvalid
from recorder.partitions.schema import MESSAGES_SCHEMA, MOMENT
from recorder.replay import answers
from recorder.replay.answers import Sent
from recorder.replay.batch import Batch
from recorder.replay.digest import Digest
from recorder.replay.encoding import GapMark, Wanted, head
from recorder.replay.listener import State
from recorder.replay.port.socket import CLOSE_TIMEOUT_S, Socket
from recorder.replay.reading import Stretch
from recorder.replay.selection import Selection
from recorder.replay.session import Session
from recorder.replay.sessions import Sessions
from recorder.replay.wire import Operation, Options, RequestId, parse_operation

BINARY = 0x2
DRAINED_EVERY_S = 0.02
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # Arrow IPC: a continuation of no length
COLUMNS = MESSAGES_SCHEMA.remove_metadata()


class Client:
    """A listener, from the 101 to the close."""

    def __init__(self, socket: Socket, options: Options, session: Session, sessions: Sessions) -> None:
        self.socket = socket
        self.options = options
        self.session = session
        self.sent = Sent()
        selection = Selection(options.feeds, None, options.kinds, options.symbols)
        self.wanted = Wanted(selection, gaps=options.on_gap != "skip")
        self.takes_json = options.format == "json"
        self._sessions = sessions
        self._answering: RequestId = None
        self._digest = Digest(of_rows=not self.takes_json)
        self._leaving: asyncio.Task[None] | None = None
        self._rate = Rate(sessions.limits.messages_per_s_max, sessions.clock.monotonic_ns())
        self._taken_ns = sessions.clock.monotonic_ns()
        self._backlog_bytes = 0
        if not self.takes_json:
            self._put(COLUMNS.serialize().to_pybytes(), BINARY)

    @property
    def backlog_bytes(self) -> int:
        return self.socket.backlog_bytes + self._digest.pending_bytes

    # --- as a listener --------------------------------------------------------------------------------------------

    def play(self, stretch: Stretch, now: Moment) -> None:  # noqa: ARG002 - the seam's signature
        if self._leaving is not None:
            return
        stop = self._stop(stretch)
        if stop is not None:
            stretch = stretch.until(stop.position)
        if self.takes_json:
            cut = stretch.json(self.wanted)
            self._digest.take(cut.payload)
            self._sent(cut.messages, len(cut.payload), cut.gaps)
            self.socket.put(cut.frames)
            self.socket.flush()
        else:
            self._play_arrow(stretch)
        if stop is not None:
            self.leave(f"a gap: {stop.cause}")

    def tell(self, state: State) -> None:
        if self._leaving is not None:
            return
        if not self._takes():
            return
        request_id, self._answering = self._answering, None
        self._put(answers.state_text(state, self.session.name, self.sent, request_id))
        if state.status == "ended":
            self.leave(state.cause)

    def _stop(self, stretch: Stretch) -> GapMark | None:
        """The gap at which this client wants to stop, if one begins here."""
        if self.options.on_gap != "stop":
            return None
        marks = stretch.gap_marks(self.wanted)
        # A feed's first gap ends with its first message: there is nothing before it that could be missed.
        return next((mark for mark in marks if mark.until_ns is None and mark.cause != "start"), None)

    def _play_arrow(self, stretch: Stretch) -> None:
        rows, done = stretch.wanted_by(self.wanted), 0
        for mark in stretch.gap_marks(self.wanted):
            at = pc.index(rows["position"], mark.position).as_py()
            self._put_rows(rows.slice(done, at + mark.is_message - done))
            self._put(mark.text)
            self._digest.take(memoryview(mark.text))
            self._sent(0, len(mark.text), 1)
            done = at + 1
        self._put_rows(rows.slice(done))

    def _put_rows(self, rows: Batch) -> None:
        if rows.num_rows:
            self._digest.take_rows(rows)
            columns = [rows["received_ns"].view(MOMENT) if c.name == "received_at" else rows[c.name] for c in COLUMNS]
            record_batch = memoryview(pa.RecordBatch.from_arrays(columns, schema=COLUMNS).serialize())
            self.socket.put(head(len(record_batch), BINARY))
            self.socket.flush()  # not to be joined, which would be another copy
            self.socket.put(record_batch)
            self.socket.flush()
            self._sent(rows.num_rows, len(record_batch), 0)

    # --- as a client ----------------------------------------------------------------------------------------------

    async def received(self, message: str | bytes) -> None:
        """An operation, or what is none."""
        if self._leaving is not None:
            return
        if not self._rate.allows(self._sessions.clock.monotonic_ns()):
            self._sessions.counts["clients_flooding_total"] += 1
            self._close(1008, f"more than {self._sessions.limits.messages_per_s_max} messages a second")
            return
        try:
            await self._perform(parse_operation(message))
        except RequestInvalid as refused:
            self._sessions.counts["operations_refused_total"] += 1
            self._put(answers.error_text(refused))

    async def _perform(self, asked: Operation) -> None:
        session = self.session
        if asked.op == "seek":
            if asked.to is not None:
                start = await self._sessions.located("to", asked.to)
            else:
                start = await self._sessions.moved(session, asked.by_ns or 0)
        if session.ended or self._leaving is not None:
            return
        self._answering = asked.request_id
        if asked.op == "seek":
            session.seek(start)
        elif asked.op == "pause":
            session.pause()
        elif asked.op == "resume":
            session.resume()
        elif asked.op == "speed" and asked.speed is not None:
            session.set_speed(asked.speed)
        elif asked.op == "step":
            session.step(asked.messages or 0, asked.duration_ns or 0)
        elif asked.op == "stop":
            session.stop("stopped by a client")
        else:
            self.tell(session.state())

    def leave(self, cause: str) -> None:
        """Say the end and close; what was said before is sent first."""
        if self._leaving is None:
            if not self.takes_json:
                self._put(END_OF_STREAM, BINARY)
            self._leaving = asyncio.get_running_loop().create_task(self._leave(cause))

    async def _leave(self, cause: str) -> None:
        self._put(answers.end_text(cause, self.sent, await self._digest.hexdigest()))
        await self._end(1000, cause)

    async def left(self) -> None:
        """Wait until it has gone, but not for one that takes its time."""
        if self._leaving is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._leaving
            finally:
                self.socket.transport.abort()

    def _close(self, code: int, reason: str) -> None:
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._end(code, reason))

    async def _end(self, code: int, reason: str) -> None:
        while self.socket.backlog_bytes and self._takes():  # noqa: ASYNC110 - the transport tells nobody
            await asyncio.sleep(DRAINED_EVERY_S)
        await self.socket.end(code, reason.encode()[:120].decode(errors="ignore"))

    def _takes(self) -> bool:
        """Whether it has taken something of what waits for it within idle_s; else it is cut. Asked again and again."""
        now_ns, backlog = self._sessions.clock.monotonic_ns(), self.socket.backlog_bytes
        if backlog < self._backlog_bytes or not backlog:
            self._taken_ns = now_ns
        self._backlog_bytes = backlog
        if now_ns - self._taken_ns <= self._sessions.limits.idle_s * SECOND_NS:
            return True
        self._sessions.counts["clients_cut_idle_total"] += 1
        self.socket.transport.abort()
        return False

    def _put(self, text: bytes, opcode: int = 0x1) -> None:
        self.socket.put(head(len(text), opcode) + text)

    def _sent(self, messages: int, size: int, gaps: int) -> None:
        self._sessions.counts["messages_sent_total"] += messages
        self._sessions.counts["bytes_sent_total"] += size
        self.sent.messages += messages
        self.sent.bytes += size
        self.sent.gaps += gaps


class Rate:
    """At most so many a second, and for a while twice that."""

    def __init__(self, per_s: int, now_ns: int) -> None:
        self._per_s = per_s
        self._left = 2.0 * per_s
        self._at_ns = now_ns

    def allows(self, now_ns: int) -> bool:
        self._left = min(2.0 * self._per_s, self._left + (now_ns - self._at_ns) * self._per_s / SECOND_NS)
        self._at_ns = now_ns
        self._left -= 1
        return self._left >= 0
