"""Recognise a message that arrives on two connections of one channel, so that it is recorded once.

In: every data frame with the connection it came on. Out: which of them are new. A message is recorded as often as
the connection that delivered it most often delivered it: what an upstream sends twice on one connection is two
messages, what two connections each bring once is one. The memory is bounded in frames, bytes and, for snapshots, time.

While only one connection has been heard lately nothing is parsed: frames are remembered by the batch, and identities
are worked out when a second connection speaks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from recorder.clock import Moment
from recorder.feeds.feed import Frame

FRAMES_MAX = 4096
BYTES_MAX = 16 << 20


class Verdict(Enum):
    NEW = "new"
    REPEAT = "repeat"
    VARIANT = "variant"  # same identity, other text: both are kept


@dataclass(slots=True)
class _Known:
    """What is known of one identity."""

    payload: bytes
    recorded: int = 0
    delivered: Counter[int] = field(default_factory=Counter)  # by connection
    waiting: int = 0  # the connection of the watched pair that alone has delivered it; 0: none, or both have


@dataclass(slots=True)
class _Batch:
    connection: int
    frames: Sequence[Frame]
    monotonic_ns: int
    size: int
    identities: list[Hashable] = field(default_factory=list)  # empty until indexed


@dataclass(slots=True)
class Tally:
    """What two connections brought while both were proven."""

    old: int
    new: int
    both: int = 0
    only_old: int = 0
    only_new: int = 0
    variants: int = 0


class Overlap:
    """The memory of one channel."""

    def __init__(self, identity: Callable[[Frame], Hashable | None], memory_ns: int | None) -> None:
        self._identity = identity
        self._memory_ns = memory_ns  # None: as long as there is room
        self._batches: deque[_Batch] = deque()
        self._unindexed: deque[_Batch] = deque()
        self._frames = 0
        self._bytes = 0
        self._by_connection: Counter[int] = Counter()  # batches remembered
        self._known: dict[Hashable, _Known] = {}
        self.tally: Tally | None = None

    def watch(self, old: int, new: int) -> Tally:
        """Count from now on what only one of the two brings, until `tally` is set to None."""
        self._index_all()
        self.tally = Tally(old, new)
        return self.tally

    def sift(
        self, connection: int, frames: Sequence[Frame], now: Moment, *, counted: bool = True
    ) -> list[Verdict] | None:
        """A verdict a frame, or None when only this connection has been heard: then all are new.

        `counted` False: these are no evidence for the tally (what an upstream repeats at every subscription).
        """
        self._forget(now)
        batch = _Batch(connection, frames, now.monotonic_ns, sum(len(frame.payload) for frame in frames))
        alone = self.tally is None and self._by_connection.total() == self._by_connection[connection]
        if alone:
            verdicts = None
            self._unindexed.append(batch)
        else:
            self._index_all()
            verdicts = self._index(batch, counted)
        self._batches.append(batch)
        self._by_connection[connection] += 1
        self._frames += len(frames)
        self._bytes += batch.size
        return verdicts

    def _index_all(self) -> None:
        while self._unindexed:
            self._index(self._unindexed.popleft(), counted=False)

    def _index(self, batch: _Batch, counted: bool) -> list[Verdict]:
        verdicts = []
        for frame in batch.frames:
            identity = self._identity(frame)
            if identity is None:
                verdicts.append(Verdict.NEW)
                continue
            batch.identities.append(identity)
            known = self._known.get(identity)
            if known is None:
                known = self._known[identity] = _Known(frame.payload)
            verdicts.append(self._judge(known, batch.connection, frame, counted))
        return verdicts

    def _judge(self, known: _Known, connection: int, frame: Frame, counted: bool) -> Verdict:
        known.delivered[connection] += 1
        if counted:
            self._count(known, connection)
        if known.delivered[connection] > known.recorded:
            known.recorded += 1
            return Verdict.NEW
        if known.payload == frame.payload:
            return Verdict.REPEAT
        if self.tally:
            self.tally.variants += 1
        return Verdict.VARIANT

    def _count(self, known: _Known, connection: int) -> None:
        tally = self.tally
        if tally is None or connection not in (tally.old, tally.new) or known.delivered[connection] > 1:
            return
        if known.waiting == 0 and not known.delivered[tally.old + tally.new - connection]:
            known.waiting = connection
            if connection == tally.old:
                tally.only_old += 1
            else:
                tally.only_new += 1
            return
        if known.waiting == tally.old:
            tally.only_old -= 1
        elif known.waiting == tally.new:
            tally.only_new -= 1
        known.waiting = 0
        tally.both += 1

    def _forget(self, now: Moment) -> None:
        while self._batches and (
            self._frames > FRAMES_MAX
            or self._bytes > BYTES_MAX
            or (self._memory_ns is not None and now.monotonic_ns - self._batches[0].monotonic_ns > self._memory_ns)
        ):
            batch = self._batches.popleft()
            self._frames -= len(batch.frames)
            self._bytes -= batch.size
            self._by_connection[batch.connection] -= 1
            if not self._by_connection[batch.connection]:
                del self._by_connection[batch.connection]
            if self._unindexed and self._unindexed[0] is batch:
                self._unindexed.popleft()
            for identity in batch.identities:
                known = self._known[identity]
                known.delivered[batch.connection] -= 1
                known.recorded = max(known.delivered.values())
                if known.recorded == 0:
                    del self._known[identity]
