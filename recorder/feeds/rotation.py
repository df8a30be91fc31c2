"""A rotation: two connections of one channel, new before old, until the new one is seen to deliver.

Pure. In: the two links, what both brought (overlap.py) and the time. Out: whether the old one may be let go, and the
entry that says what was seen by both, only by the old, only by the new.
"""

from __future__ import annotations

from dataclasses import dataclass

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.feeds.feed import NEVER_NS
from recorder.feeds.link import Link
from recorder.feeds.overlap import Tally

SETTLE_NS = 2 * SECOND_NS  # how long a message may be on its way on one connection when the other has brought it


@dataclass(slots=True)
class Rotation:
    old: Link
    new: Link
    cause: str
    snapshots: bool  # each frame stands for itself: one from the new connection is proof enough
    overlap_ns: int  # how long to wait for a message that both bring
    alike: bool = True  # both asked for the same, so both should bring the same
    tally: Tally | None = None  # from the new connection's proof of life on

    def settled(self, now: Moment) -> bool:
        """The old connection may be let go."""
        if self.new.proven is None or self.tally is None or self.new.closing:
            return False
        waited_ns = now.monotonic_ns - self.new.proven.monotonic_ns
        if waited_ns >= self.overlap_ns:
            return True
        if self.snapshots:
            return self.new.brings_data
        if not self.alike:
            return waited_ns >= SETTLE_NS
        if self.tally.both and not self.tally.only_old:
            return True
        return (self.tally.both > 0 or self.deaf) and waited_ns >= SETTLE_NS

    @property
    def deaf(self) -> bool:
        """The old connection brought nothing of what the new one brings."""
        tally = self.tally
        if self.snapshots or not self.alike or tally is None:
            return False
        return not tally.both and not tally.only_old and tally.only_new > 0

    def wake_ns(self, now: Moment) -> int:
        """Monotonic time at which to ask again."""
        if self.old.closing or self.new.closing:
            return NEVER_NS
        if self.new.proven is None:
            return now.monotonic_ns + SETTLE_NS
        return min(self.new.proven.monotonic_ns + self.overlap_ns, now.monotonic_ns + SETTLE_NS)

    def report(self, now: Moment) -> dict[str, object]:
        """The fields of the `rotation.done` entry."""
        tally = self.tally or Tally(self.old.number, self.new.number)
        proven_ns = self.new.proven_ns or now.monotonic_ns
        return {
            "old": self.old.number,
            "new": self.new.number,
            "cause": self.cause,
            "proof": "overlap" if tally.both else "data" if self.new.brings_data else "admitted",
            "both": tally.both,
            "only_old": tally.only_old,
            "only_new": tally.only_new,
            "variants": tally.variants,
            "overlap_ms": round((now.monotonic_ns - proven_ns) / MS_NS, 3),
        }
