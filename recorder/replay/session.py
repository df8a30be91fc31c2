"""A playhead with its listeners: one replay, shared by all who listen to it.

In: a plan (from where, to where, how), listeners that come and go, operations. Out: every message to every listener
that is there when it is due, and the state whenever it changes. Memory is bounded by what is read ahead; the slowest
listener makes the session wait, and nobody else. Holds nothing that must survive. The arithmetic is playhead.py's,
fetching is reading.py's, and what a listener makes of its messages is its own business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.replay.encoding import Wanted
from recorder.replay.listener import Listener, State, Status
from recorder.replay.pace import Alarm, Figures
from recorder.replay.playhead import BUFFERING, FAR_NS, MAX, USER, Playhead
from recorder.replay.reading import Reading, Reel, Start, Stretch, Until
from recorder.replay.timeline import Timeline

READING = "reading"  # a hold of the playhead: what comes next is not in memory yet
TELL_EVERY_NS = SECOND_NS
BUFFERING_TOLD_NS = SECOND_NS // 4  # at speed=max a listener fills its buffer all the time: shorter waits are not told
BUFFER_POLL_NS = 2 * MS_NS
EXACT_SPEED_MAX = 1000.0  # faster than that nobody sees a millisecond, and the core is better spent on messages
LATENESS_OF_STRETCH = 8  # messages that are looked at

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session plays, and how it begins."""

    start: Start
    until: Until = field(default_factory=Until)
    speed: float = 1.0
    max_idle_ns: int | None = None
    loop: bool = False
    paused: bool = False


class Session:
    """One replay. Begins when the first listener is attached; `on_end` is called once, when it has ended.

    `grace_s`: how long it goes on when the last listener has left. At speed MAX it waits for somebody to listen.
    """

    def __init__(
        self,
        timeline: Timeline,
        clock: Clock,
        plan: Plan,
        *,
        name: str | None = None,
        buffer_bytes_max: int = 8 << 20,
        grace_s: float = 0.0,
        on_end: Callable[[Session], None] | None = None,
    ) -> None:
        self.name = name
        self.plan = plan
        self.listeners: list[Listener] = []
        self.ended = False
        self._timeline = timeline
        self._clock = clock
        self._buffer_bytes_max = buffer_bytes_max
        self._grace_ns = int(grace_s * SECOND_NS)
        self._on_end = on_end
        now_ns = clock.monotonic_ns()
        self._head = Playhead(plan.start.moment_ns or 0, plan.speed, now_ns)
        self._anchored = False  # whether the head stands on the timeline yet
        if plan.paused:
            self._head.hold(USER, now_ns)
        self._reading: Reading | None = None
        self._next = plan.start  # where to go on behind the last message played
        self._index = 0  # of the message played next, in the first reel
        self._position = self._played = self._loops = 0
        self._played_before = 0  # this turn of a loop
        self._steps = 0  # messages to play while paused
        self._step_ns = 0  # time to play while paused
        self._step_to_ns: int | None = None  # the same as a moment of the tape
        self._figures = Figures(now_ns, self._head.at(now_ns))
        self._told: tuple[object, ...] = ()
        self._told_ns = now_ns
        self._cause = ""
        self._buffering_since_ns = FAR_NS
        self._alone_since_ns = FAR_NS
        self._alarm = Alarm(clock)
        self._task: asyncio.Task[None] | None = None

    # --- listeners ------------------------------------------------------------------------------------------------

    def attach(self, listener: Listener) -> None:
        """Play to it from here on. It is told the state at once."""
        self.listeners.append(listener)
        self._alone_since_ns = FAR_NS
        if self._reading is None:
            self._read(self.plan.start)
            self._task = asyncio.create_task(self._run())
        elif listener.wanted not in self._reading.wanted:
            # The reels ahead may lack what it wants: they are read anew, and time stands until they are here.
            anchored = self._anchored
            self._read(self._next)
            self._anchored = anchored
        elif listener.takes_json:
            self._reading.encoded.add(listener.wanted)
        self._tell(always=True)

    def detach(self, listener: Listener) -> None:
        """It is gone. The last one leaves the session to whoever comes within the grace time."""
        if listener in self.listeners:
            self.listeners.remove(listener)
            if not self.listeners:
                self._alone_since_ns = self._clock.monotonic_ns()
                if not self._grace_ns:
                    self.stop("nobody listens")
            self._tell()

    # --- operations -----------------------------------------------------------------------------------------------

    def pause(self) -> None:
        self._stay_behind_now()
        self._head.hold(USER, self._clock.monotonic_ns())
        self._tell(always=True)

    def resume(self) -> None:
        self._step()
        self._head.release(USER, self._clock.monotonic_ns())
        self._tell(always=True)

    def set_speed(self, speed: float) -> None:
        """Raises ValueError."""
        now_ns = self._clock.monotonic_ns()
        self._stay_behind_now()
        self._head.set_speed(speed, now_ns)
        self._figures.restart(now_ns, self._head.at(now_ns))
        self._tell(always=True)

    def step(self, messages: int = 0, duration_ns: int = 0) -> None:
        """Play so many messages, or so much recorded time, and stand still. Steps not yet played add up."""
        now_ns = self._clock.monotonic_ns()
        self._stay_behind_now()
        self._head.hold(USER, now_ns)
        if messages:
            self._step(messages=self._steps + messages)
        else:
            self._step(duration_ns=self._step_ns + duration_ns)
        self._tell(always=True)

    def seek(self, start: Start) -> None:
        """Go on from there, in either direction; paused or playing stays as it is."""
        self._step()
        self._read(start)
        self._tell(always=True)

    def stop(self, cause: str = "stopped") -> None:
        """End it for all listeners."""
        if self.ended:
            return
        self.ended, self._cause = True, cause
        if self._reading is not None:
            self._reading.stop()
        self._tell(always=True)
        self.listeners.clear()
        if self._on_end is not None:
            self._on_end(self)

    def state(self) -> State:
        return State(
            self._status(),
            self.moment_ns,
            self._position,
            self._head.speed,
            self._figures.speed_reached,
            self._figures.lateness_ms,
            len(self.listeners),
            self._played,
            self._loops,
            self._cause,
        )

    @property
    def moment_ns(self) -> int | None:
        """The recorded moment that is shown; None before the first message is known."""
        now = self._clock.now()
        if not self._anchored:
            return self._next.moment_ns
        moment_ns = self._head.at(now.monotonic_ns) + self._next.cut_ns
        return min(moment_ns, now.utc_ns) if self._is_live(now.monotonic_ns) else moment_ns

    @property
    def next_position(self) -> int:
        """Where it goes on: what is played next is there, or behind."""
        return self._next.position

    # --- playing --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not self.ended:
                now = self._clock.now()
                self._tick(now)
                due_ns = min(self._advance(now), self._told_ns + TELL_EVERY_NS)
                exactly = bool(self.listeners) and self._head.speed <= EXACT_SPEED_MAX and not self._head.holds
                await self._alarm.sleep(due_ns, exactly=exactly)
        except Exception as error:
            _log.exception("replay.failed")
            self.stop(f"failed: {error}")
        finally:
            self._alarm.close()

    def _advance(self, now: Moment) -> int:
        """Play what is due. Returns the monotonic time at which something is due next."""
        reading, head, now_ns = self._reading, self._head, now.monotonic_ns
        assert reading is not None
        self._relieve(now_ns)
        if not reading.reels:
            if reading.done:
                self._at_end(reading)
            elif not reading.at_edge:
                head.hold(READING, now_ns)
            else:
                self._go_on(self._next.moment_ns, now_ns)
            return FAR_NS
        reel = reading.reels[0]
        self._go_on(reel.tape[0] + self._next.cut_ns if self._next.moment_ns is None else self._next.moment_ns, now_ns)
        if BUFFERING in head.holds:
            return now_ns + BUFFER_POLL_NS
        if self._step_ns:
            self._step_to_ns, self._step_ns = head.at(now_ns) + self._step_ns, 0
        stop = self._due(reel, now_ns)
        if stop > self._index:
            start, self._index = self._index, stop
            self._play(Stretch(reel, start, stop), now)
            if self._reading is not reading or self.ended:  # a listener did something
                return now_ns
        elif self._step_to_ns is not None:
            head.seek(self._step_to_ns, now_ns)
            self._step_to_ns = None
            self._tell(always=True)
        if self._index == len(reel):
            self._index = 0
            reading.pop()
            return now_ns  # the next reel may be due as well
        if head.speed == MAX and not self.listeners:
            return FAR_NS
        return head.due_ns(reel.tape[self._index])

    def _step(self, messages: int = 0, duration_ns: int = 0) -> None:
        self._steps, self._step_ns, self._step_to_ns = messages, duration_ns, None

    def _due(self, reel: Reel, now_ns: int) -> int:
        """The index behind the last message to play now."""
        if USER in self._head.holds:
            if self._step_to_ns is not None:
                return reel.due(self._step_to_ns, self._index)
            return min(len(reel), self._index + self._steps)
        if self._head.speed == MAX:
            return len(reel) if self.listeners else self._index
        return reel.due(self._head.at(now_ns), self._index)

    def _play(self, stretch: Stretch, now: Moment) -> None:
        reel, last = stretch.reel, stretch.stop - 1
        if self._head.speed != MAX and not self._head.holds:
            for index in range(stretch.start, stretch.stop, -(-len(stretch) // LATENESS_OF_STRETCH)):
                self._figures.late(now.monotonic_ns - max(self._head.due_ns(reel.tape[index]), reel.read_ns))
        cut_ns = max(self._next.cut_ns, reel.received_ns[last] - reel.tape[last])
        self._position = stretch.last_position
        self._next = Start(self._position + 1, reel.tape[last] + cut_ns, cut_ns, self._next.follow)
        self._played += len(stretch)
        self._head.reached(reel.tape[last], now.monotonic_ns)
        for listener in list(self.listeners):
            try:
                listener.play(stretch, now)
            except Exception:
                _log.exception("replay.listener_failed")
                self.detach(listener)
        if self._steps:
            self._steps -= len(stretch)
            if not self._steps:
                self._tell(always=True)

    def _at_end(self, reading: Reading) -> None:
        if reading.failed is not None:
            self.stop(f"failed: {reading.failed}")
        elif USER in self._head.holds:
            self._step()
        elif self.plan.loop and self._played > self._played_before:
            self._played_before = self._played
            self._loops += 1
            self._read(self.plan.start)
        else:
            self.stop("all was played")

    # --- the timeline ---------------------------------------------------------------------------------------------

    def _read(self, start: Start) -> None:
        """Begin anew there; the head waits for the first reel."""
        if self._reading is not None:
            self._reading.stop()
        self._next, self._index, self._anchored = start, 0, False
        self._head.hold(READING, self._clock.monotonic_ns())
        self._reading = Reading(
            self._timeline,
            self._clock,
            start,
            self.plan.until,
            self.plan.max_idle_ns,
            wanted=frozenset(listener.wanted for listener in self.listeners) or frozenset({Wanted()}),
            encoded={listener.wanted for listener in self.listeners if listener.takes_json},
            changed=self._alarm.ring,
        )

    def _go_on(self, moment_ns: int | None, now_ns: int) -> None:
        """What comes next is here: time moves. It begins where the reading did: at the moment asked for, else at the
        first message."""
        anchors = moment_ns is not None and not self._anchored
        if moment_ns is not None and not self._anchored:
            self._anchored = True
            self._head.seek(moment_ns - self._next.cut_ns, now_ns)
            self._figures.restart(now_ns, self._head.at(now_ns))
        if anchors or READING in self._head.holds:
            self._head.release(READING, now_ns)
            self._tell(always=anchors)

    # --- the state ------------------------------------------------------------------------------------------------

    @property
    def _at_edge(self) -> bool:
        return self._reading is not None and self._reading.at_edge

    def _is_live(self, now_ns: int) -> bool:
        """Whether everything durable is played as soon as it is read."""
        if self._reading is None or not self._at_edge or self._head.holds:
            return False
        reels = self._reading.reels
        return not reels or self._index == len(reels[0]) or self._head.is_due(reels[0].tape[self._index], now_ns)

    def _status(self) -> Status:
        if self.ended:
            return "ended"
        if USER in self._head.holds:
            return "paused"
        if self._head.holds:
            return "buffering"
        return "live" if self._is_live(self._clock.monotonic_ns()) else "playing"

    def _stay_behind_now(self) -> None:
        """A live head that is faster than time itself is where time is."""
        now = self._clock.now()
        if self._anchored and self._is_live(now.monotonic_ns):
            behind_ns = min(self._head.at(now.monotonic_ns), now.utc_ns - self._next.cut_ns)
            self._head.seek(behind_ns, now.monotonic_ns)

    def _relieve(self, now_ns: int) -> None:
        """Wait for listeners that have too much before them, until they have half of it."""
        backlog = max((listener.backlog_bytes for listener in self.listeners), default=0)
        if backlog > self._buffer_bytes_max and BUFFERING not in self._head.holds:
            self._head.hold(BUFFERING, now_ns)
            self._buffering_since_ns = now_ns
        elif backlog <= self._buffer_bytes_max // 2 and BUFFERING in self._head.holds:
            self._head.release(BUFFERING, now_ns)
            self._buffering_since_ns = FAR_NS
        if now_ns - self._buffering_since_ns > BUFFERING_TOLD_NS:
            self._tell()

    def _tick(self, now: Moment) -> None:
        """Each second: what was reached in it, the state to everybody, and whether anybody is there."""
        if now.monotonic_ns - self._told_ns >= TELL_EVERY_NS:
            self._stay_behind_now()
            self._figures.take(now.monotonic_ns, self._head.at(now.monotonic_ns))
            self._tell(always=True)
            self._told_ns = now.monotonic_ns
        if now.monotonic_ns - self._alone_since_ns >= self._grace_ns:
            self.stop("nobody listens")

    def _tell(self, *, always: bool = False) -> None:
        """The state to everybody, if it is another than before, and look again at what is due."""
        told = (self._status(), self._head.speed, len(self.listeners))
        if always or told != self._told:
            self._told = told
            state = self.state()
            for listener in list(self.listeners):
                listener.tell(state)
            self._alarm.ring()
