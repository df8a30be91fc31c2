"""Where a replay is and how fast it moves. Arithmetic only: it never sleeps and never asks what time it is.

Two axes, both in nanoseconds. `tape`: recorded time with long silences cut out (see `squeeze`). `monotonic`: the time
in which it is played. Between two changes the one is a straight line of the other, anchored where the last change was
made, so that nothing drifts and changing the speed never makes time jump.
"""

from __future__ import annotations

import math

import pyarrow as pa
import pyarrow.compute as pc

MAX = math.inf  # as fast as the listener reads
SPEED_MIN, SPEED_MAX = 0.01, 1e6
FAR_NS = 1 << 62  # a monotonic time that does not come

USER = "paused"
BUFFERING = "buffering"


class Playhead:
    """The moment shown, as a function of the monotonic time. Moves unless something holds it."""

    def __init__(self, tape_ns: int, speed: float, now_ns: int) -> None:
        self._tape_ns = tape_ns
        self._now_ns = now_ns
        self.speed = checked(speed)
        self.holds: set[str] = set()  # why it stands still: USER, BUFFERING

    def at(self, now_ns: int) -> int:
        """The tape's moment at this monotonic time. At MAX it stands where `reached` last put it."""
        if self.holds or self.speed == MAX:
            return self._tape_ns
        return self._tape_ns + int(max(0, now_ns - self._now_ns) * self.speed)

    def due_ns(self, tape_ns: int) -> int:
        """The monotonic time at which this moment is shown; FAR_NS while something holds."""
        if self.holds:
            return FAR_NS
        if self.speed == MAX:
            return self._now_ns
        # Rounded up, so that at this time the moment is surely reached and nobody has to wake twice.
        return min(FAR_NS, self._now_ns + math.ceil(max(0, tape_ns - self._tape_ns) / self.speed))

    def is_due(self, tape_ns: int, now_ns: int) -> bool:
        return not self.holds and (self.speed == MAX or tape_ns <= self.at(now_ns))

    def reached(self, tape_ns: int, now_ns: int) -> None:
        """At MAX, and in steps, what was played moves the head: it never moves it back."""
        if self.speed == MAX or self.holds:
            self._anchor(max(tape_ns, self._tape_ns), now_ns)

    def seek(self, tape_ns: int, now_ns: int) -> None:
        """Go there, in either direction; holding or moving stays as it is."""
        self._anchor(tape_ns, now_ns)

    def set_speed(self, speed: float, now_ns: int) -> None:
        """From here on at this speed. Raises ValueError."""
        self._anchor(self.at(now_ns), now_ns)
        self.speed = checked(speed)

    def hold(self, why: str, now_ns: int) -> None:
        """Stand still until released for the same reason."""
        self._anchor(self.at(now_ns), now_ns)
        self.holds.add(why)

    def release(self, why: str, now_ns: int) -> None:
        """Move on from where it stood, if nothing else holds it: the time it stood is not made up for."""
        self._anchor(self.at(now_ns), now_ns)
        self.holds.discard(why)

    def _anchor(self, tape_ns: int, now_ns: int) -> None:
        self._tape_ns, self._now_ns = tape_ns, now_ns


class Steps:
    """What is to be played although the head is held: so many messages, or so much of the tape. Steps add up."""

    def __init__(self) -> None:
        self.messages = 0
        self.until_ns: int | None = None  # of the tape
        self._ns = 0

    def add(self, messages: int, duration_ns: int) -> None:
        """One or the other; what was asked for in the other way is not played any more."""
        if messages:
            self.messages, self.until_ns, self._ns = self.messages + messages, None, 0
        elif self.until_ns is not None:
            self.until_ns += duration_ns
        else:
            self.messages, self._ns = 0, self._ns + duration_ns

    def begin(self, tape_ns: int) -> None:
        """The head stands there."""
        if self._ns:
            self.until_ns, self._ns = tape_ns + self._ns, 0

    def clear(self) -> None:
        self.messages, self.until_ns, self._ns = 0, None, 0


def checked(speed: float) -> float:
    """A speed that can be played. Raises ValueError with what is possible."""
    if speed == MAX or SPEED_MIN <= speed <= SPEED_MAX:
        return speed
    raise ValueError(f"speed is {speed}; possible are {SPEED_MIN} to {SPEED_MAX:.0f}, or max")


def squeeze(
    received_ns: pa.Int64Array, last_ns: int | None, cut_ns: int, max_idle_ns: int | None
) -> tuple[pa.Int64Array, int, int]:
    """Tape moments of messages received then, non-empty: what goes back in time stands, long silences are cut.

    `last_ns`, `cut_ns`: the moment before the first of these and what was cut so far (None and 0 at the start).
    Returns the tape's moments, never falling, and the two for the next call.
    """
    floor_ns = received_ns[0].as_py() if last_ns is None else last_ns
    rising = pc.cumulative_max(pc.max_element_wise(received_ns, floor_ns))
    if max_idle_ns is None:
        return pc.subtract(rising, cut_ns), rising[-1].as_py(), cut_ns
    before = pa.concat_arrays([pa.array([floor_ns], pa.int64()), rising.slice(0, len(rising) - 1)])
    idle = pc.subtract(rising, before)
    excess = pc.max_element_wise(pc.subtract(idle, max_idle_ns), 0)
    cut = pc.add(pc.cumulative_sum(excess), cut_ns)
    return pc.subtract(rising, cut), rising[-1].as_py(), cut[-1].as_py()
