"""What the journal counts about itself, and histograms that are exact at their bounds.

In: every commit. Out: numbers for metrics and `status`. Nothing here is on disk.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

from recorder.clock import MS_NS

# 0.1 ms to 60 s; each at most twice the one before, dense around one commit interval.
BOUNDS_MS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 22, 25, 30, 40, 50, 70, 100, 150, 200, 500)
BOUNDS_NS = tuple(int(ms * MS_NS) for ms in BOUNDS_MS) + tuple(s * 1000 * MS_NS for s in (1, 2, 5, 10, 30, 60))


@dataclass(slots=True)
class Histogram:
    """How many durations were at most each bound; `counts` has one more at its end for those above all."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_NS) + 1))
    count: int = 0
    sum_ns: int = 0
    max_ns: int = 0

    def take(self, duration_ns: int) -> None:
        self.counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self.count += 1
        self.sum_ns += duration_ns
        self.max_ns = max(self.max_ns, duration_ns)

    def take_since(self, arrivals: list[tuple[int, int]], until_ns: int) -> None:
        """Take the time from each arrival (moment, how many; sorted by moment) to one end: a few steps a group."""
        at = [arrival for arrival, _ in arrivals]
        upto = list(accumulate((number for _, number in arrivals), initial=0))
        later = 0  # how many arrived within the bound before
        for i, bound_ns in enumerate(BOUNDS_NS):
            within = upto[-1] - upto[bisect_left(at, until_ns - bound_ns)]
            self.counts[i] += within - later
            later = within
        self.counts[-1] += upto[-1] - later
        self.count += upto[-1]
        self.sum_ns += sum((until_ns - arrival) * number for arrival, number in arrivals)
        self.max_ns = max(self.max_ns, until_ns - at[0])

    def facts(self) -> dict[str, object]:
        """Upper bounds in seconds with how many were at most each, as Prometheus counts: the last is all of them."""
        bounds = [bound_ns / (1000 * MS_NS) for bound_ns in BOUNDS_NS]
        at_most = list(accumulate(self.counts))
        return {"bounds_s": bounds, "at_most": at_most, "sum_s": self.sum_ns / (1000 * MS_NS)}

    def quantile_ms(self, share: float) -> float:
        """The lowest bound at or below which this share lies, but never more than the highest seen; 0 if none was."""
        below = 0
        for i, bound_ns in enumerate(BOUNDS_NS):
            below += self.counts[i]
            if self.count and below >= share * self.count:
                return min(bound_ns, self.max_ns) / MS_NS
        return self.max_ns / MS_NS


@dataclass(slots=True)
class Figures:
    """Counted since the journal was opened. Written by the event loop and the writer thread, each its own fields."""

    messages: int = 0  # durable
    bytes: int = 0  # of them, packed
    groups: int = 0
    commits_failed: int = 0
    failing: str = ""  # why the last commit failed, until one succeeds
    retries: int = 0  # commits tried again, with a new connection
    buffered_bytes: int = 0  # accepted and not durable yet
    buffered_bytes_max: int = 0
    under_pressure: bool = False  # sockets are not being read because the disk cannot follow
    under_pressure_times: int = 0
    under_pressure_ns: int = 0  # of pressure that is over
    checkpoints: int = 0
    checkpoint: Histogram = field(default_factory=Histogram)
    commit: Histogram = field(default_factory=Histogram)  # one transaction, one fsync
    received_to_durable: Histogram = field(default_factory=Histogram)
