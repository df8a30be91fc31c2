"""Where every position lies: in which Parquet part, or still in the journal.

In: a data directory, recorded to or not, writable or not, moved or not. Out: stretches of positions and their times, as
of one moment a look, so that a seal or a compaction between two looks changes where messages lie and never whether they
are found. Holds nothing open between looks and writes nothing, so there is nothing here for a power cut to hurt.

The registry answers by its index, some 0.02 ms a question, however many parts there are. Where it is missing (only the
Parquet files were copied), the files' names say the same of positions, and their footers of times.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from recorder.clock import SECOND_NS
from recorder.errors import Damaged, RecorderError
from recorder.journal.database import STORE_FILE
from recorder.journal.group import Group
from recorder.journal.registry import Part
from recorder.journal.store import Span, Store
from recorder.partitions import layout
from recorder.partitions.schema import MESSAGES
from recorder.replay import part_file


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of positions that lies in one place: a part or, where `path` is None, a group of the journal.

    Not every position between the two need be there: what was lost is nowhere. Times are UTC nanoseconds.
    """

    first_position: int
    last_position: int
    first_received_ns: int
    last_received_ns: int
    path: Path | None = None
    row_count: int = 0  # as registered; 0 where nobody knows


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is recorded, durable and still there. Times are UTC nanoseconds."""

    first_position: int
    last_position: int
    first_received_ns: int
    last_received_ns: int

    def __str__(self) -> str:
        first, last = _shown(self.first_received_ns), _shown(self.last_received_ns)
        return f"{first} to {last}, positions {self.first_position} to {self.last_position}"


class View(Protocol):
    """One moment of a data directory. FileNotFoundError: a part is gone since; look again."""

    def ends(self) -> tuple[Extent, Extent] | None:
        """The first and the last extent, which may be the same; None where nothing is recorded."""

    def extent(self, position: int) -> Extent | None:
        """The first extent that reaches this position."""

    def parts(self, position: int, limit: int) -> list[Extent]:
        """The next parts that reach this position, in order, without looking into them: their times may be 0."""

    def groups(self, position: int, limit_bytes: int) -> list[Group]:
        """The next groups that are in no part and reach this position, in order. Raises GroupDamaged."""

    def feeds(self) -> Iterator[set[str]]:
        """Names of feeds as far as they are known without reading a part, the cheapest to find first."""


def bounds(view: View) -> Bounds | None:
    """The first and the last message there is."""
    ends = view.ends()
    if ends is None:
        return None
    first, last = ends
    return Bounds(first.first_position, last.last_position, first.first_received_ns, last.last_received_ns)


def reaching(view: View, received_ns: int) -> Extent | None:
    """The first extent with a message received at that time or later: some dozen look-ups, by halving."""
    span = bounds(view)
    found = None
    if span is None:
        return None
    low, high = span.first_position, span.last_position
    while low <= high:
        middle = (low + high) // 2
        extent = view.extent(middle)
        if extent is None:  # lost: there is nothing from here on
            high = middle - 1
        elif extent.last_received_ns >= received_ns:
            found, high = extent, min(extent.first_position, middle) - 1
        else:
            low = extent.last_position + 1
    return found


class Extents:
    """A data directory to look at, as often as wanted and on any thread."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._named: _Named | None = None

    @contextmanager
    def look(self) -> Iterator[View]:
        """Everything as of one moment; keep it short, since it holds a transaction open.

        Raises RecorderError where nothing is recorded, Damaged where the journal cannot be read.
        """
        if not (self.data / STORE_FILE).exists():
            if self._named is None:
                self._named = _Named(self.data)
            yield self._named
            return
        try:
            with closing(Store.open_readonly(self.data)) as store, store.transaction():
                yield _Registered(self.data, store)
        except sqlite3.OperationalError as error:
            raise RecorderError(f"{self.data / STORE_FILE} cannot be read now: {error}. Try again.") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(f"{self.data / STORE_FILE} is damaged: {error}. Run `recorder verify`.") from error

    def forget(self) -> None:
        """A part that was there is gone: files are listed anew at the next look."""
        self._named = None


class _Registered:
    """As registry and journal say."""

    def __init__(self, data: Path, store: Store) -> None:
        self._data = data
        self._store = store
        self._sealed = store.sealed_position()

    def ends(self) -> tuple[Extent, Extent] | None:
        first, group, part = self.extent(0), self._store.last_group(), self._store.last_part(MESSAGES)
        if first is None:
            return None
        if group is not None and group.last_position > self._sealed:
            return first, _unsealed(group)
        return first, self._timed(part) if part is not None else first

    def extent(self, position: int) -> Extent | None:
        if position <= self._sealed and (parts := self._store.parts_from(MESSAGES, position, 1)):
            return self._timed(parts[0])
        group = self._store.group_from(max(position, self._sealed + 1))
        return _unsealed(group) if group else None

    def parts(self, position: int, limit: int) -> list[Extent]:
        parts = self._store.parts_from(MESSAGES, position, limit) if position <= self._sealed else []
        return [self._extent(part) for part in parts]

    def groups(self, position: int, limit_bytes: int) -> list[Group]:
        return self._store.groups(max(position - 1, self._sealed), limit_bytes)

    def feeds(self) -> Iterator[set[str]]:
        yield {stream.feed for stream in self._store.standing().streams}
        for group in self._store.each_group(self._sealed):
            yield {stream.feed for stream in group.streams}

    def _extent(self, part: Part) -> Extent:
        return Extent(
            part.first_position,
            part.last_position,
            part.first_received_ns,
            part.last_received_ns,
            self._data / part.path,
            part.row_count,
        )

    def _timed(self, part: Part) -> Extent:
        extent = self._extent(part)
        return extent if extent.last_received_ns else _with_times(extent)  # 0: a registry rebuilt from names


class _Named:
    """As the files' names say, as of one listing; nobody records here."""

    def __init__(self, data: Path) -> None:
        found = [
            (*covered, path)
            for path in data.glob(f"{MESSAGES}/**/*.parquet")
            if (covered := layout.positions_in(path.name)) and not any(n.startswith("_") for n in path.parts[-4:])
        ]
        self._extents: list[Extent] = []
        for first, last, path in sorted(found, key=lambda each: (each[0], -each[1])):
            if last > 0 and (not self._extents or last > self._extents[-1].last_position):  # else a copy, or the seed
                self._extents.append(Extent(first, last, 0, 0, path))
        if not self._extents:
            raise RecorderError(f"nothing is recorded in {data}: it has neither {STORE_FILE} nor parts of {MESSAGES}.")
        self._lasts = [extent.last_position for extent in self._extents]

    def ends(self) -> tuple[Extent, Extent] | None:
        return _with_times(self._extents[0]), _with_times(self._extents[-1])

    def extent(self, position: int) -> Extent | None:
        found = self.parts(position, 1)
        return _with_times(found[0]) if found else None

    def parts(self, position: int, limit: int) -> list[Extent]:
        at = bisect_left(self._lasts, position)
        return self._extents[at : at + limit]

    def groups(self, position: int, limit_bytes: int) -> list[Group]:  # noqa: ARG002 - there is no journal
        return []

    def feeds(self) -> Iterator[set[str]]:
        return iter(())


def _unsealed(group: Span) -> Extent:
    return Extent(*group)


def _with_times(extent: Extent) -> Extent:
    """The extent of a part with the times its footer knows."""
    assert extent.path is not None
    first_ns, last_ns = part_file.times(extent.path)
    return replace(extent, first_received_ns=first_ns, last_received_ns=last_ns)


def _shown(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS:09d}Z"
