"""Waking on time, and how well that went.

In: monotonic times. Out: the moment of waking, and figures. asyncio's own timers wake up to 2.7 ms late (p99), so the
last stretch before a message is due the loop is only yielded to: that costs a core for as long, and is done only where
somebody can see a millisecond.
"""

from __future__ import annotations

import asyncio
from collections import deque

from recorder.clock import MS_NS, SECOND_NS, Clock

EARLY_NS = 2 * MS_NS
LATENESS_KEPT = 2_000  # messages


class Alarm:
    """Wakes one sleeper."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake up: there is something to look at."""
        self._rung.set()

    async def sleep(self, due_ns: int, *, exactly: bool) -> None:
        """Until that monotonic time, or until it rings; the loop gets a turn in any case."""
        wait_ns = due_ns - self._clock.monotonic_ns() - (EARLY_NS if exactly else 0)
        if wait_ns > 0 and not self._rung.is_set():
            timer = asyncio.get_running_loop().call_later(wait_ns / SECOND_NS, self._rung.set)
            await self._rung.wait()
            timer.cancel()
        else:
            await asyncio.sleep(0)
            # An event would be waited for no more exactly than the timer is.
            while exactly and not self._rung.is_set() and self._clock.monotonic_ns() < due_ns:  # noqa: ASYNC110
                await asyncio.sleep(0)
        self._rung.clear()


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
