"""Waking on time, and how well that went.

In: monotonic times. Out: the moment of waking, and figures. The kernel's timer wakes some 0.05 ms late, and later on a
busy machine; so the last stretch before a message is due the loop is only yielded to, which takes its core for as long.
"""

from __future__ import annotations

import asyncio
from collections import deque

from recorder.clock import MS_NS, Clock
from recorder.replay.timer import Timer

EARLY_NS = MS_NS // 5
LATENESS_KEPT = 2_000  # messages


class Alarm:
    """Wakes one sleeper."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._timer: Timer | None = None

    def ring(self) -> None:
        """Wake up: there is something to look at."""
        self._rung.set()

    async def sleep(self, due_ns: int, *, exactly: bool) -> None:
        """Until that monotonic time, or until it rings; the loop gets a turn in any case."""
        wake_ns = due_ns - EARLY_NS if exactly else due_ns
        if not self._rung.is_set() and self._clock.monotonic_ns() < wake_ns:
            if self._timer is None:
                self._timer = Timer(self._rung.set)
            self._timer.set(wake_ns)
            await self._rung.wait()
        else:
            await asyncio.sleep(0)
            # An event would be waited for no more exactly than the timer is.
            while exactly and not self._rung.is_set() and self._clock.monotonic_ns() < due_ns:  # noqa: ASYNC110
                await asyncio.sleep(0)
        self._rung.clear()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None


class Figures:
    """How late messages were played, and how much recorded time passed."""

    def __init__(self, now_ns: int, tape_ns: int) -> None:
        self._late_ns: deque[int] = deque(maxlen=LATENESS_KEPT)
        self._since_ns, self._tape_ns = now_ns, tape_ns
        self.speed_reached = 0.0

    def late(self, late_ns: int) -> None:
        self._late_ns.append(late_ns)

    def restart(self, now_ns: int, tape_ns: int) -> None:
        """Time was set: what was before cannot be compared."""
        self._late_ns.clear()
        self._since_ns, self._tape_ns = now_ns, tape_ns

    def take(self, now_ns: int, tape_ns: int) -> None:
        """The head is there now."""
        self.speed_reached = max(0, tape_ns - self._tape_ns) / max(1, now_ns - self._since_ns)
        self._since_ns, self._tape_ns = now_ns, tape_ns

    @property
    def lateness_ms(self) -> tuple[float, float] | None:
        """p50 and p99."""
        late = sorted(self._late_ns)
        return (late[len(late) // 2] / MS_NS, late[len(late) * 99 // 100] / MS_NS) if late else None
