"""An imitated upstream as a listener of a session: what is due goes to the imitation, a bounded piece a turn.

In: messages from the session, questions about what was recorded before, the comings and goings of clients. Out: what
the imitation answers, through its host. While something is looked up nothing is played, so that what was before comes
before what is next. The session begins with the first subscription and is let go when nobody is left. Holds nothing
that must survive. What a message means to its imitation is the subclasses' business.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from recorder import lifecycle
from recorder.clock import SECOND_NS, Moment
from recorder.message import Kind, Message
from recorder.replay.batch import Batch, messages
from recorder.replay.encoding import Wanted
from recorder.replay.listener import State
from recorder.replay.reading import Stretch
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.past import texts
from recorder.replay.session import Session
from recorder.replay.sessions import Full, Sessions
from recorder.replay.track import Plan
from recorder.replay.upstreams.host import Host
from recorder.replay.upstreams.imitation import Close, Cut, Imitation, Output, Send

TURN_MESSAGES = 250  # handed to the imitation before others on the event loop have their turn
TRY_AGAIN_LATER = 1013
INTERNAL_ERROR = 1011

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Relay:
    """One imitation's connections on one session. `on_idle` is called when nobody is left."""

    takes_json = False

    def __init__(self, imitation: Imitation, sessions: Sessions, asked: Asked, plan: Plan, wanted: Wanted) -> None:
        self.asked = asked
        self.plan = plan
        self.wanted = wanted
        self.host = Host(imitation, clock=sessions.clock, changed=self._changed)
        self.session: Session | None = None
        self.ended = False
        self.on_idle: Callable[[Relay], None] | None = None
        self._sessions = sessions
        self._next = plan.start.position  # what the session plays next, as far as is known here
        self._queue: deque[Batch] = deque()
        self._queue_bytes = 0
        self._coming: Iterator[Message] = iter(())
        self._ahead: Message | None = None  # taken out of the queue, not played yet
        self._turn: asyncio.Handle | None = None
        self._looks: set[asyncio.Task[None]] = set()
        self._jumps = 0
        self._taken: dict[int, tuple[int, int]] = {}  # of each connection: its backlog, and since when it was no less

    # --- what a subclass knows ------------------------------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether any client has subscribed."""
        raise NotImplementedError

    def handle(self, message: Message, now: Moment) -> list[Output]:
        """The next recorded message that is no entry of the recorder's own."""
        raise NotImplementedError

    def handle_entry(self, message: Message, event: str) -> None:
        """An entry about a stream: a gap for one."""

    def connections(self, message: Message) -> list[int]:
        """Who is served from the stream of a message."""
        raise NotImplementedError

    def moved(self, now: Moment) -> list[Output]:
        """The replay goes on from another moment."""
        raise NotImplementedError

    @property
    def kept_bytes(self) -> int:
        """What waits for clients that are away."""
        return 0

    # --- as a listener --------------------------------------------------------------------------------------------

    @property
    def backlog_bytes(self) -> int:
        sockets: int = max((socket.backlog_bytes for socket in self.host.sockets.values()), default=0)
        return sockets + self.kept_bytes + self._queue_bytes

    def play(self, stretch: Stretch, now: Moment) -> None:  # noqa: ARG002 - its own turn may be later
        self._next = stretch.last_position + 1
        rows = texts(stretch.wanted_by(self.wanted))
        if rows.num_rows:
            self._queue.append(rows)
            self._queue_bytes += rows.nbytes
            self._play_some()

    def tell(self, state: State) -> None:
        if state.status == "ended":
            self.ended, self.session = True, None
            if state.cause.startswith("failed"):
                self.host.run([Close(number, INTERNAL_ERROR, state.cause[:120]) for number in self.host.sockets])
        elif self.session is not None and self.session.next_position != self._next:
            self._next = self.session.next_position
            self._jumps += 1
            self._queue.clear()
            self._queue_bytes = 0
            self._coming, self._ahead = iter(()), None
            now = self.host.clock.now()
            self._run(self.moved(now), now)
        self._cut_the_idle()

    def _play_some(self) -> None:
        """A turn's worth of what is due, unless something is being looked up."""
        if self._turn is not None or self._looks:
            return
        now = self.host.clock.now()
        outputs: list[Output] = []
        for _ in range(TURN_MESSAGES):
            message = self._peek()
            if message is None or self._looks:
                break
            self._ahead = None
            outputs += self._entry(message) if message.kind is Kind.LIFECYCLE else self.handle(message, now)
        self._run(outputs, now)
        if self._peek() is not None and not self._looks:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _run(self, outputs: list[Output], now: Moment) -> None:
        """Count and do."""
        for output in outputs:
            if isinstance(output, Send):
                self._sessions.counts["messages_sent_total"] += len(output.to)
                self._sessions.counts["bytes_sent_total"] += len(output.to) * len(output.payload)
        self.host.run(outputs, now)

    def _next_turn(self) -> None:
        self._turn = None
        self._play_some()

    def _peek(self) -> Message | None:
        """The next message to play, which stays the next one."""
        while self._ahead is None:
            self._ahead = next(self._coming, None)
            if self._ahead is None:
                if not self._queue:
                    return None
                rows = self._queue.popleft()
                self._queue_bytes -= rows.nbytes
                self._coming = messages(rows)
        return self._ahead

    def _entry(self, message: Message) -> list[Output]:
        """Recorded faults: the upstream's own closes. A stop or a rotation of the recorder's was no fault."""
        entry = lifecycle.read(message.payload)
        self.handle_entry(message, str(entry.get("event")))
        if entry.get("event") != "connection.closed" or entry.get("by") != "upstream":
            return []
        code, reason = int(entry.get("code") or 1006), str(entry.get("reason") or "")
        sendable = code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
        return [Close(number, code, reason) if sendable else Cut(number) for number in self.connections(message)]

    def _cut_the_idle(self) -> None:
        """A client that takes nothing of what waits for it would make the session wait for ever."""
        now_ns = self.host.clock.monotonic_ns()
        taken, self._taken = self._taken, {}
        for number, socket in self.host.sockets.items():
            backlog, since_ns = taken.get(number, (0, now_ns))
            if socket.backlog_bytes < backlog or not socket.backlog_bytes:
                since_ns = now_ns
            self._taken[number] = socket.backlog_bytes, since_ns
            if now_ns - since_ns > self._sessions.limits.idle_s * SECOND_NS:
                self._sessions.counts["clients_cut_idle_total"] += 1
                socket.transport.abort()

    # --- what was before ------------------------------------------------------------------------------------------

    def look(self, find: Callable[[int], T], then: Callable[[T, Moment], list[Output]], otherwise: T) -> None:
        """Call `find` in a thread with the position of what is played next, and `then` with what it returns."""
        task = asyncio.get_running_loop().create_task(self._look(find, then, otherwise))
        self._looks.add(task)

    async def _look(self, find: Callable[[int], T], then: Callable[[T, Moment], list[Output]], otherwise: T) -> None:
        jumps = -1
        while jumps != self._jumps:  # moved meanwhile: what was before is something else now
            jumps = self._jumps
            ahead = self._peek()
            before = self._next if ahead is None else ahead.position
            try:
                found = await asyncio.to_thread(find, before)
            except Exception:
                _log.exception("replay.look_failed")
                found = otherwise
        if (this := asyncio.current_task()) is not None:
            self._looks.discard(this)
        now = self.host.clock.now()
        self._run(then(found, now), now)
        self._play_some()

    # --- clients --------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self.host.sockets and not self.kept_for_somebody

    @property
    def kept_for_somebody(self) -> bool:
        """Whether a client is away that will be back."""
        return False

    def _changed(self) -> None:
        """Anything has happened to the connections."""
        if self.is_idle:
            if self.session is not None:
                session, self.session = self.session, None
                session.detach(self)
            if self.on_idle is not None:
                self.on_idle(self)
        elif self.session is None and not self.ended and self.is_listening:
            self._attach()

    def _attach(self) -> None:
        try:
            self.session = self._sessions.open(self.asked.name, self.plan)
        except Full as full:
            self.ended = True
            self.host.run([Close(number, TRY_AGAIN_LATER, str(full)[:120]) for number in self.host.sockets])
            return
        self._next = self.session.next_position
        self.session.attach(self)
