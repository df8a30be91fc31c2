"""What a session plays next: the reels of a reading, and how far in them it is.

In: where to begin, what listeners want. Out: stretches of messages, each once, and where to go on behind them. When
they are due is the playhead's arithmetic and session.py's business; fetching them is reading.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from recorder.clock import Clock
from recorder.replay.encoding import Wanted
from recorder.replay.listener import Listener
from recorder.replay.reading import Reading, Reel, Start, Stretch, Until
from recorder.replay.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session plays, and how it begins."""

    start: Start
    until: Until = field(default_factory=Until)
    speed: float = 1.0
    max_idle_ns: int | None = None
    loop: bool = False
    paused: bool = False


class Track:
    """One way through the timeline at a time. `changed` is called when there is something new to look at."""

    def __init__(self, timeline: Timeline, clock: Clock, plan: Plan, changed: Callable[[], None]) -> None:
        self.plan = plan
        self.next = plan.start  # where to go on, behind the last message taken
        self.position = self.taken = 0  # the last message taken; how many were
        self.reading: Reading | None = None
        self._timeline = timeline
        self._clock = clock
        self._changed = changed
        self._index = 0  # of the next message, in the first reel

    def begin(self, start: Start, listeners: Sequence[Listener]) -> None:
        """Read anew from there, for these listeners."""
        self.stop()
        self.next, self._index = start, 0
        self.reading = Reading(
            self._timeline,
            self._clock,
            start,
            self.plan.until,
            self.plan.max_idle_ns,
            wanted=frozenset(listener.wanted for listener in listeners) or frozenset({Wanted()}),
            encoded={listener.wanted for listener in listeners if listener.takes_json},
            changed=self._changed,
        )

    def join(self, listener: Listener, listeners: Sequence[Listener]) -> None:
        """One more listener; if what it wants is not read, all of it is read anew behind the last message taken."""
        assert self.reading is not None
        if listener.wanted not in self.reading.wanted:
            self.begin(replace(self.next, follow=self.next.follow or self.reading.at_edge), listeners)
        elif listener.takes_json:
            self.reading.encoded.add(listener.wanted)

    def stop(self) -> None:
        if self.reading is not None:
            self.reading.stop()

    @property
    def reel(self) -> Reel | None:
        """The one with the next message; None: it is not in memory."""
        return self.reading.reels[0] if self.reading is not None and self.reading.reels else None

    @property
    def next_tape_ns(self) -> int | None:
        """When the next message is due, if it is in memory."""
        return None if self.reel is None else self.reel.tape[self._index]

    @property
    def at_edge(self) -> bool:
        """Whether everything durable has been read."""
        return self.reading is not None and self.reading.at_edge

    def until(self, tape_ns: int) -> Stretch | None:
        """Take what is due by then, as far as it is in one reel."""
        return None if self.reel is None else self._take(self.reel, self.reel.due(tape_ns, self._index))

    def some(self, count: int | None = None) -> Stretch | None:
        """Take so many messages, or all, as far as they are in one reel."""
        if self.reel is None:
            return None
        stop = len(self.reel) if count is None else min(len(self.reel), self._index + count)
        return self._take(self.reel, stop)

    def _take(self, reel: Reel, stop: int) -> Stretch | None:
        if stop <= self._index:
            return None
        stretch = Stretch(reel, self._index, stop)
        last = stop - 1
        cut_ns = max(self.next.cut_ns, reel.received_ns[last] - reel.tape[last])
        self.position = stretch.last_position
        self.next = Start(self.position + 1, reel.tape[last] + cut_ns, cut_ns, self.next.follow)
        self.taken += len(stretch)
        self._index = stop
        if stop == len(reel) and self.reading is not None:
            self._index = 0
            self.reading.pop()
        return stretch
