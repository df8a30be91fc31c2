"""Reading ahead of a playhead: reels of messages that know when they are due, a bounded number of them.

In: a timeline, where to begin and end, what is wanted. Out: reels in order, each message once, first up to the durable
end and then, following the recording, whatever becomes durable: what is shown has survived before it is shown. Reading
and encoding happen in threads. Nothing here must survive; when to play is session.py's job.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from recorder.clock import SECOND_NS, Clock
from recorder.errors import Damaged, RecorderError
from recorder.journal.lock import is_held
from recorder.replay.batch import Batch
from recorder.replay.encoding import Cut, Encoded, GapMark, Wanted, gap_marks, has_entries, int64s
from recorder.replay.extents import Bounds
from recorder.replay.playhead import squeeze
from recorder.replay.selection import Selection
from recorder.replay.timeline import Timeline

T = TypeVar("T")

REELS_AHEAD = 4
REEL_ROWS_MAX = 16_384
REEL_BYTES_MAX = 4 << 20
POLL_S = 0.025  # between two looks for what has become durable
DURABLE_WITHIN_NS = 5 * SECOND_NS  # so long after a moment nothing received before it becomes durable any more


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin. `moment_ns`: what the playhead shows first, and silences are counted from; None: the message."""

    position: int
    moment_ns: int | None = None  # UTC
    cut_ns: int = 0  # silence cut out before
    follow: bool = False  # wait for what is recorded, whoever is recording or not


@dataclass(frozen=True, slots=True)
class Until:
    """Where to end: before this position, before this moment, or (neither) never while somebody records."""

    position: int | None = None
    ns: int | None = None


class Reel:
    """Messages next to each other in memory, with the moments of the playhead's tape at which they are due."""

    def __init__(self, rows: Batch, tape: pa.Int64Array, read_ns: int, for_one: Wanted | None = None) -> None:
        """`read_ns`: monotonic. `for_one`: who wants each of these rows; None where there are several of them."""
        self.rows = rows
        self.read_ns = read_ns
        self.for_one = for_one
        self.positions = int64s(rows["position"])
        self.received_ns = int64s(rows["received_ns"])
        self.tape = int64s(tape)
        self.has_entries = has_entries(rows)
        self._buffers = (rows, tape)  # what the views above look into
        self._encoded: dict[Wanted, Encoded] = {}

    def __len__(self) -> int:
        return len(self.positions)

    def encoded(self, wanted: Wanted) -> Encoded:
        """As JSON, made once for all who want the same."""
        if wanted not in self._encoded:
            self._encoded[wanted] = Encoded(wanted, Stretch(self, 0, len(self)).wanted_by(wanted))
        return self._encoded[wanted]

    def due(self, tape_ns: int, start: int) -> int:
        """The index behind the last message that is due by then."""
        return bisect_right(self.tape, tape_ns, start)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Messages of a reel that are due now: at least one, in order of position."""

    reel: Reel
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def first_position(self) -> int:
        return self.reel.positions[self.start]

    @property
    def last_position(self) -> int:
        return self.reel.positions[self.stop - 1]

    def until(self, position: int) -> Stretch:
        """As much of it as there is up to a position."""
        return Stretch(self.reel, self.start, bisect_right(self.reel.positions, position, self.start, self.stop))

    def wanted_by(self, wanted: Wanted) -> Batch:
        """Those rows of it that somebody wants."""
        rows = self.reel.rows.slice(self.start, self.stop - self.start)
        return rows if self.reel.for_one == wanted else wanted.rows(rows)

    def gap_marks(self, wanted: Wanted) -> list[GapMark]:
        """The gaps that its rows tell of, if they are wanted."""
        return gap_marks(self.wanted_by(wanted), wanted) if wanted.gaps and self.reel.has_entries else []

    def json(self, wanted: Wanted) -> Cut:
        """The same as WebSocket frames of JSON."""
        return self.reel.encoded(wanted).cut(self.first_position, self.last_position)


class Reading:
    """One way through the timeline, from a start on. `changed` is called when there is something new to look at."""

    def __init__(
        self,
        timeline: Timeline,
        clock: Clock,
        start: Start,
        until: Until,
        max_idle_ns: int | None,
        *,
        wanted: frozenset[Wanted],
        encoded: set[Wanted],
        changed: Callable[[], None],
    ) -> None:
        self.start = start
        self.reels: deque[Reel] = deque()
        self.at_edge = False  # everything durable has been read, and the playhead has not fallen behind since
        self.done = False  # nothing comes any more
        self.failed: Exception | None = None
        self._timeline = timeline
        self._clock = clock
        self._until = until
        self._max_idle_ns = max_idle_ns
        self.wanted = wanted
        self.encoded = encoded  # made as JSON ahead
        self._for_one = next(iter(wanted)) if len(wanted) == 1 else None
        self._changed = changed
        self._last_ns, self._cut_ns = start.moment_ns, start.cut_ns
        self._room = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    def pop(self) -> None:
        """The first reel was played."""
        self.reels.popleft()
        self._room.set()

    async def _run(self) -> None:
        try:
            await self._read()
        except Exception as error:  # a damaged part, a directory that went away: told to the listeners
            self.failed = error
        self.done = True
        self._changed()

    async def _read(self) -> None:
        position = self.start.position
        selection = union(wanted.reads for wanted in self.wanted)
        follows = self.start.follow
        while True:
            bounds = await asyncio.to_thread(bounds_of, self._timeline)
            until, is_last = await self._end(bounds)
            if position <= until:
                batches = self._timeline.batches(
                    position, selection, until_position=until, rows_max=REEL_ROWS_MAX, bytes_max=REEL_BYTES_MAX
                )
                while (reel := await asyncio.to_thread(self._reel, batches)) is not None:
                    self.reels.append(reel)
                    self._changed()
                    await self._has_room()
                position = until + 1
            if is_last or not (follows or await asyncio.to_thread(is_held, self._timeline.data)):
                return
            follows = True
            if not self.at_edge:
                self.at_edge = True
                self._changed()
            await asyncio.sleep(POLL_S)

    async def _end(self, bounds: Bounds | None) -> tuple[int, bool]:
        """The last position to read now, and whether nothing comes behind it."""
        last = bounds.last_position if bounds else 0
        if self._until.position is not None:
            return min(last, self._until.position - 1), last >= self._until.position - 1
        if self._until.ns is None:
            return last, False
        if bounds and bounds.last_received_ns >= self._until.ns:
            return await asyncio.to_thread(self._timeline.position_at, self._until.ns) - 1, True
        return last, self._clock.now().utc_ns > self._until.ns + DURABLE_WITHIN_NS

    async def _has_room(self) -> None:
        if len(self.reels) >= REELS_AHEAD:
            self.at_edge = False
        while len(self.reels) >= REELS_AHEAD:
            self._room.clear()
            await self._room.wait()

    def _reel(self, batches: Iterator[Batch]) -> Reel | None:
        """The next one; in a thread. None where these batches end."""
        for batch in batches:
            rows = self._rows(batch)
            if rows.num_rows:
                tape, self._last_ns, self._cut_ns = squeeze(
                    rows["received_ns"], self._last_ns, self._cut_ns, self._max_idle_ns
                )
                reel = Reel(rows, tape, self._clock.monotonic_ns(), self._for_one)
                for wanted in tuple(self.encoded):
                    reel.encoded(wanted)
                return reel
        return None

    def _rows(self, batch: Batch) -> Batch:
        """Those that anybody wants."""
        if self._for_one is not None:
            return self._for_one.shown(batch)
        found = [wanted.rows(batch)["position"] for wanted in self.wanted]
        if max(map(len, found)) == len(batch):
            return batch
        return batch.filter(pc.is_in(batch["position"], value_set=pa.concat_arrays(found)))


def bounds_of(timeline: Timeline) -> Bounds | None:
    """What is recorded and durable, None where nothing is yet. Raises Damaged."""
    try:
        return timeline.bounds()
    except Damaged:
        raise
    except RecorderError:  # no journal and no part: whoever is to record here has not begun
        return None


def union(selections: Iterable[Selection]) -> Selection:
    """A selection that has everything any of these has."""
    whole, *others = selections
    for other in others:
        whole = replace(
            whole,
            feeds=_either(whole.feeds, other.feeds),
            feed_kinds=_either(whole.feed_kinds, other.feed_kinds),
            kinds=_either(whole.kinds, other.kinds) or frozenset(),
            symbols=_either(whole.symbols, other.symbols),
        )
    return whole


def _either(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    return one | other if one and other else None
