"""A playhead with its listeners: one replay, shared by all who listen to it.

In: a plan (from where, to where, how), listeners that come and go, operations. Out: every message to every listener
that is there when it is due, and the state whenever it changes. Memory is bounded by what is read ahead; the slowest
listener makes the session wait, and nobody else. Holds nothing that must survive. The arithmetic is playhead.py's,
fetching is reading.py's, and what a listener makes of its messages is its own business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.replay.audience import Audience
from recorder.replay.listener import Listener, State, Status
from recorder.replay.pace import Alarm, Figures
from recorder.replay.playhead import BUFFERING, FAR_NS, MAX, USER, Playhead, Steps
from recorder.replay.reading import Start, Stretch
from recorder.replay.timeline import Timeline
from recorder.replay.track import Plan, Track

READING = "reading"  # a hold of the playhead: what comes next is not in memory yet
TELL_EVERY_NS = SECOND_NS
BUFFER_POLL_NS = 2 * MS_NS
EXACT_SPEED_MAX = 10.0  # faster, nobody sees the 0.1 ms that are between exactly and nearly
LATENESS_OF_STRETCH = 8  # messages that are looked at

_log = logging.getLogger(__name__)


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
        self.ended = False
        self._clock = clock
        self._audience = Audience(buffer_bytes_max)
        self._grace_ns = int(grace_s * SECOND_NS)
        self._on_end = on_end
        now_ns = clock.monotonic_ns()
        self._head = Playhead(plan.start.moment_ns or 0, plan.speed, now_ns)
        self._anchored = False  # whether the head stands on the timeline yet
        if plan.paused:
            self._head.hold(USER, now_ns)
        self._loops = self._taken_before = 0  # turns of a loop; messages before this one
        self._steps = Steps()
        self._figures = Figures(now_ns, self._head.at(now_ns))
        self._told: tuple[object, ...] = ()
        self._told_ns = now_ns
        self._cause = ""
        self._alarm = Alarm(clock)
        self._track = Track(timeline, clock, plan, self._alarm.ring)
        self._task: asyncio.Task[None] | None = None

    # --- listeners ------------------------------------------------------------------------------------------------

    @property
    def listeners(self) -> Sequence[Listener]:
        """Who listens now."""
        return self._audience.listeners

    def attach(self, listener: Listener) -> None:
        """Play to it from here on. It is told the state at once."""
        self._audience.add(listener)
        if self._track.reading is None:
            self._begin(self.plan.start)
            self._task = asyncio.create_task(self._run())
        else:
            self._track.join(listener, self.listeners)
        self._tell(always=True)

    def detach(self, listener: Listener) -> None:
        """It is gone. The last one leaves the session to whoever comes within the grace time."""
        if listener in self.listeners:
            self._audience.remove(listener, self._clock.monotonic_ns())
            if not (self.listeners or self._grace_ns):
                self.stop("nobody listens")
            self._tell()

    # --- operations -----------------------------------------------------------------------------------------------

    def pause(self) -> None:
        self._stay_behind_now()
        self._head.hold(USER, self._clock.monotonic_ns())
        self._tell(always=True)

    def resume(self) -> None:
        self._steps.clear()
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
        self._steps.add(messages, duration_ns)
        self._tell(always=True)

    def seek(self, start: Start) -> None:
        """Go on from there, in either direction; paused or playing stays as it is."""
        self._steps.clear()
        self._begin(start)
        self._tell(always=True)

    def stop(self, cause: str = "stopped") -> None:
        """End it for all listeners."""
        if self.ended:
            return
        self.ended, self._cause = True, cause
        self._track.stop()
        self._tell(always=True)
        self._audience.clear()
        if self._on_end is not None:
            self._on_end(self)

    def state(self) -> State:
        return State(
            self._status(),
            self.moment_ns,
            self._track.position,
            self._head.speed,
            self._figures.speed_reached,
            self._figures.lateness_ms,
            len(self.listeners),
            self._track.taken,
            self._loops,
            self._cause,
        )

    @property
    def moment_ns(self) -> int | None:
        """The recorded moment that is shown; None before the first message is known."""
        now = self._clock.now()
        if not self._anchored:
            return self._track.next.moment_ns
        moment_ns = self._head.at(now.monotonic_ns) + self._track.next.cut_ns
        return min(moment_ns, now.utc_ns) if self._is_live(now.monotonic_ns) else moment_ns

    @property
    def next_position(self) -> int:
        """Where it goes on: what is played next is there, or behind."""
        return self._track.next.position

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
        track, head, now_ns = self._track, self._head, now.monotonic_ns
        self._relieve(now_ns)
        reel, moment_ns = track.reel, track.next.moment_ns
        if reel is None:
            self._wait_for_more(now_ns)
            return FAR_NS
        self._go_on(reel.tape[0] + track.next.cut_ns if moment_ns is None else moment_ns, now_ns)
        if BUFFERING in head.holds:
            return now_ns + BUFFER_POLL_NS
        self._steps.begin(head.at(now_ns))
        stretch = self._due(now_ns)
        if stretch is not None:
            self._play(stretch, now)
        elif self._steps.until_ns is not None:
            head.seek(self._steps.until_ns, now_ns)
            self._steps.clear()
            self._tell(always=True)
        if head.speed == MAX and not self.listeners:
            return FAR_NS
        # Behind the last message of a reel the next one may be due as well.
        return now_ns if track.next_tape_ns is None else head.due_ns(track.next_tape_ns)

    def _due(self, now_ns: int) -> Stretch | None:
        """The messages to play now."""
        if USER in self._head.holds:
            if self._steps.until_ns is not None:
                return self._track.until(self._steps.until_ns)
            return self._track.some(self._steps.messages)
        if self._head.speed == MAX:
            return self._track.some() if self.listeners else None
        return self._track.until(self._head.at(now_ns))

    def _play(self, stretch: Stretch, now: Moment) -> None:
        tape = stretch.reel.tape
        if self._head.speed != MAX and not self._head.holds:
            for index in range(stretch.start, stretch.stop, -(-len(stretch) // LATENESS_OF_STRETCH)):
                self._figures.late(now.monotonic_ns - max(self._head.due_ns(tape[index]), stretch.reel.read_ns))
        self._head.reached(tape[stretch.stop - 1], now.monotonic_ns)
        for failed in self._audience.play(stretch, now):
            self.detach(failed)
        if self._steps.messages:
            self._steps.messages -= len(stretch)
            if not self._steps.messages:
                self._tell(always=True)

    def _wait_for_more(self, now_ns: int) -> None:
        """What comes next is not in memory: it is being read, or recorded, or there is nothing any more."""
        reading = self._track.reading
        assert reading is not None
        if not reading.done:
            if reading.at_edge:
                self._go_on(self._track.next.moment_ns, now_ns)
            else:
                self._head.hold(READING, now_ns)
        elif reading.failed is not None:
            self.stop(f"failed: {reading.failed}")
        elif USER in self._head.holds:
            self._steps.clear()
        elif self.plan.loop and self._track.taken > self._taken_before:
            self._loops += 1
            self._begin(self.plan.start)
        else:
            self.stop("all was played")

    def _begin(self, start: Start) -> None:
        """From there; time stands until the first reel is here."""
        self._anchored, self._taken_before = False, self._track.taken
        self._head.hold(READING, self._clock.monotonic_ns())
        self._track.begin(start, self.listeners)

    def _go_on(self, moment_ns: int | None, now_ns: int) -> None:
        """What comes next is here, or is still to be recorded: time moves. It begins at the moment asked for, else at
        the first message."""
        anchors = moment_ns is not None and not self._anchored
        if moment_ns is not None and not self._anchored:
            self._anchored = True
            self._head.seek(moment_ns - self._track.next.cut_ns, now_ns)
            self._figures.restart(now_ns, self._head.at(now_ns))
        if anchors or READING in self._head.holds:
            self._head.release(READING, now_ns)
            self._tell(always=anchors)

    # --- the state ------------------------------------------------------------------------------------------------

    def _is_live(self, now_ns: int) -> bool:
        """Whether everything durable is played as soon as it is read."""
        if not self._track.at_edge or self._head.holds:
            return False
        return self._track.next_tape_ns is None or self._head.is_due(self._track.next_tape_ns, now_ns)

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
            behind_ns = min(self._head.at(now.monotonic_ns), now.utc_ns - self._track.next.cut_ns)
            self._head.seek(behind_ns, now.monotonic_ns)

    def _relieve(self, now_ns: int) -> None:
        """Wait for listeners that have too much before them, until they have half of it."""
        behind, held = self._audience.is_behind(now_ns), BUFFERING in self._head.holds
        if behind and not held:
            self._head.hold(BUFFERING, now_ns)
        elif held and not behind:
            self._head.release(BUFFERING, now_ns)
        if self._audience.behind_for_long(now_ns):
            self._tell()

    def _tick(self, now: Moment) -> None:
        """Each second: what was reached in it, the state to everybody, and whether anybody is there."""
        if now.monotonic_ns - self._told_ns >= TELL_EVERY_NS:
            self._stay_behind_now()
            self._figures.take(now.monotonic_ns, self._head.at(now.monotonic_ns))
            self._tell(always=True)
            self._told_ns = now.monotonic_ns
        if now.monotonic_ns - self._audience.alone_since_ns >= self._grace_ns:
            self.stop("nobody listens")

    def _tell(self, *, always: bool = False) -> None:
        """The state to everybody, if it is another than before, and look again at what is due."""
        told = (self._status(), self._head.speed, len(self.listeners))
        if always or told != self._told:
            self._told = told
            self._audience.tell(self.state())
            self._alarm.ring()
