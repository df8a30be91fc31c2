"""What was recorded, in order: parts and what is not sealed yet as one sequence of messages.

In: a data directory, a position or a moment, what is wanted. Out: batches of messages in order of position, each once.
All feeds share one order and parts are disjoint in it, so nothing is ever merged: the next messages lie in the next
part, or in the next groups of the journal. Reads in short transactions and bounded pieces, writes nothing, and holds
nothing open that a seal, a compaction or retention would have to wait for. A part that is gone when its turn has come
is looked up again, from the position reached. When a message is due is playhead.py's job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TypeVar

from recorder.errors import PartDamaged
from recorder.partitions.messages import table_of
from recorder.replay import extents, part_file
from recorder.replay.batch import BATCH_SCHEMA, Batch, handed_out
from recorder.replay.extents import Bounds, Extents, View
from recorder.replay.selection import Selection

__all__ = ["BATCH_SCHEMA", "Batch", "Bounds", "Selection", "Timeline"]

ROWS_MAX = 65_536
BYTES_MAX = 4 << 20  # measured: 1 to 16 MB read equally fast, and the first message comes the sooner
PARTS_AT_ONCE = 64  # looked up in one go
TRIES_MAX = 8  # of a look-up that meets a part just gone

_ALL = Selection()

T = TypeVar("T")


class Timeline:
    """A data directory, read from any thread, by any number at once; each iterator belongs to one thread.

    Works while it is recorded to, on a copy, after a move, where nothing may be written, and with nothing but the
    Parquet files of `messages`. Raises RecorderError where nothing is recorded, and Damaged (PartDamaged,
    GroupDamaged) rather than leave out silently what cannot be read.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self._extents = Extents(data)

    def bounds(self) -> Bounds | None:
        """The first and the last durable message, as of now; None before the first. Some 0.3 ms."""
        return self._looked(extents.bounds)

    def position_at(self, received_ns: int) -> int:
        """The first position received at that time (ns since 1970 UTC) or later; behind the last, the next to come.

        Seeks by the registry, by footers and by row-group statistics, then reads two columns of one row group.
        """
        return self._looked(lambda view: _position_at(view, received_ns))

    def batches(
        self,
        from_position: int,
        selection: Selection = _ALL,
        *,
        until_position: int | None = None,
        rows_max: int = ROWS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> Iterator[Batch]:
        """The selected messages from one position to another, both included, in order, each once.

        Without `until_position` it ends with what was durable when the first batch was asked for. To follow a
        recording, ask `bounds`, read up to its `last_position`, and begin again behind it: positions that are not
        selected, or lost, never come. A batch has at most `rows_max` rows and `bytes_max` bytes, or one row; about
        twice that and what Parquet needs for a page of each column is in memory at a time.
        """
        span = self.bounds()
        if span is None:
            return
        until = span.last_position if until_position is None else min(until_position, span.last_position)
        position = max(from_position, span.first_position)
        missing: Path | None = None
        while position <= until:
            with self._extents.look() as view:
                parts = view.parts(position, PARTS_AT_ONCE)
                groups = [] if parts else view.groups(position, bytes_max)
            if groups:
                for read in table_of(groups).to_batches():
                    yield from handed_out(read, position, until, selection, rows_max, bytes_max)
                position = groups[-1].last_position + 1
            elif not parts:
                return
            for part in parts:
                first, last = max(position, part.first_position), min(until, part.last_position)
                if first > until:
                    return
                if first > last:  # all of it was in another one
                    continue
                assert part.path is not None
                covered = (part.first_position, part.last_position)
                try:
                    yield from part_file.batches(
                        part.path, covered, part.row_count, (first, last), selection, rows_max, bytes_max
                    )
                except FileNotFoundError:
                    if part.path == missing:
                        raise _missing(part.path) from None
                    missing = part.path
                    self._extents.forget()
                    break
                position = max(position, part.last_position + 1)

    def feeds(self, sought: frozenset[str] = frozenset()) -> frozenset[str]:
        """The names of all feeds; where some are `sought`, of as many as it takes to have found these."""
        known: set[str] = set()
        with self._extents.look() as view:
            for names in view.feeds():
                known |= names
                if sought and sought <= known:
                    break
        return frozenset(known or self._feeds_in_parts())

    def _feeds_in_parts(self) -> set[str]:
        """From the parts themselves, where nobody else knows: one column of each."""
        known: set[str] = set()
        position = 0
        while True:
            with self._extents.look() as view:
                parts = view.parts(position, PARTS_AT_ONCE)
            if not parts:
                return known
            for part in parts:
                assert part.path is not None
                with suppress(FileNotFoundError):  # its rows are in another one by now
                    known |= part_file.feeds(part.path)
            position = parts[-1].last_position + 1

    def _looked(self, ask: Callable[[View], T]) -> T:
        """The answer to a question that may look into a part, asked again where that part is gone."""
        for turn in count(1):
            try:
                with self._extents.look() as view:
                    return ask(view)
            except FileNotFoundError as gone:
                if turn == TRIES_MAX:
                    raise _missing(Path(gone.filename)) from None
                self._extents.forget()
        raise AssertionError("count never ends")


def _position_at(view: View, received_ns: int) -> int:
    extent = extents.reaching(view, received_ns)
    if extent is None:
        span = extents.bounds(view)
        return span.last_position + 1 if span else 1
    if extent.first_received_ns >= received_ns:
        return extent.first_position
    if extent.path is not None:
        found = part_file.position_at(extent.path, received_ns)
    else:
        (group, *_) = view.groups(extent.first_position, 1)
        found = next((group.first_position + at for at, ns in enumerate(group.received_ns) if ns >= received_ns), None)
    return found if found is not None else extent.last_position + 1


def _missing(path: Path) -> PartDamaged:
    return PartDamaged(path, "it is registered and not there")
