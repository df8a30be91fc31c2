"""What time it is. Nothing else in the product asks the machine.

Pure code takes a `Moment` as an argument, so its tests live through days in milliseconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks, in nanoseconds. Durations are taken on `monotonic_ns` only."""

    utc_ns: int  # since 1970, never going back within one recorder
    monotonic_ns: int  # since some point fixed until the next boot


class Clock:
    """The machine's clocks, with UTC kept from going back.

    A wall clock that steps back is not obeyed: `utc_ns` stands still until it has caught up, so that
    position order and time order stay one. `behind_ns` says how far the wall clock is behind now.
    """

    def __init__(self, floor_ns: int = 0) -> None:
        self._floor_ns = floor_ns
        self.behind_ns = 0

    def not_before(self, floor_ns: int) -> None:
        """UTC does not go below this: what an earlier recorder of the same directory reached."""
        self._floor_ns = max(self._floor_ns, floor_ns)

    def now(self) -> Moment:
        wall_ns = time.time_ns()
        if wall_ns >= self._floor_ns:
            self._floor_ns = wall_ns
            self.behind_ns = 0
        else:
            self.behind_ns = self._floor_ns - wall_ns
        return Moment(self._floor_ns, time.monotonic_ns())

    def monotonic_ns(self) -> int:
        """The monotonic half alone, for durations; unlike `now`, it may be asked on any thread."""
        return time.monotonic_ns()
