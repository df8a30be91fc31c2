"""Damaged parts are set aside, and what of them still holds goes on under names of its own.

In: a registered part that is not what was registered. Out: its file under a name in `_quarantine/` that says when and
of which table, never deleted; of `messages`, new parts made of every row group that can still be read, and the
positions that are gone, on record as lost. A typed table's rows come back by `recorder rebuild`. If the power fails
between any two steps, the damaged file is in the quarantine or still registered, and doing it again does the rest.
Whoever calls has the data directory to itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder import disk
from recorder.errors import PartDamaged
from recorder.journal.recover import QUARANTINE
from recorder.journal.registry import Part
from recorder.journal.store import LOST, Loss, Store
from recorder.partitions.inspect import inspect
from recorder.partitions.layout import anew
from recorder.partitions.schema import FAST_LEVEL, MESSAGE_COLUMNS, MESSAGES, how_to_write

_UNREADABLE = (pa.ArrowException, OSError, KeyError)


@dataclass(slots=True)
class Mended:
    """What became of one part. `aside`: where its file is now, relative to the data directory."""

    part: str
    cause: str
    aside: str | None = None  # there was no file, or it is whole and only its registration was not
    saved_rows: int = 0
    lost: list[Loss] = field(default_factory=list)
    rebuild: str | None = None  # the table to make anew


@dataclass(frozen=True, slots=True)
class _Run:
    """Row groups in a row that can be read, and the positions of their rows."""

    groups: tuple[int, ...]
    first: int
    last: int


def mend(data: Path, store: Store, part: Part, stamp: str) -> Mended | None:
    """Inspect one part and put in order what is wrong; None: all is well. Raises OSError, sqlite3.Error."""
    read = inspect(data, part)
    found = read.findings
    if not found:
        return None
    if read.whole and not part.row_count:  # registered from its name, when there was nothing else to know it from
        known = _known(data, part, part.path, part.first_position, part.last_position)
        if not inspect(data, known).findings:
            store.register([known], store.sealed_position(), store.standing())
            return Mended(part.path, "it was registered from its name alone")
    mended = Mended(part.path, "; ".join(f"{each.what}: {each.detail}" for each in found))
    runs = list(_runs(data / part.path, part)) if part.table_name == MESSAGES else []
    saved = [_save(data, part, run) for run in runs]
    mended.saved_rows = sum(one.row_count for one in saved)
    mended.aside = _set_aside(data, part, stamp)
    if part.table_name == MESSAGES:
        mended.lost = [Loss(first, last, mended.cause) for first, last in _without(part, saved)]
        store.set_fact(LOST, sorted({*map(tuple, store.losses()), *map(tuple, mended.lost)}))
    else:
        mended.rebuild = part.table_name
    store.replace([part], saved, 0)
    (data / part.path).unlink(missing_ok=True)
    store.forget_retired([part.path])
    return mended


def _runs(path: Path, part: Part) -> Iterator[_Run]:
    """Reads every row group. A new run begins behind each that cannot be read."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except _UNREADABLE:
        return
    with file:
        groups: list[int] = []
        first = last = part.first_position - 1
        for index in range(file.metadata.num_row_groups):
            span = _span(file, index, last, part.last_position)
            if span is None:
                if groups:
                    yield _Run(tuple(groups), first, last)
                groups = []
            else:
                first, last = span[0] if not groups else first, span[1]
                groups.append(index)
        if groups:
            yield _Run(tuple(groups), first, last)


def _span(file: pq.ParquetFile, index: int, before: int, until: int) -> tuple[int, int] | None:
    """The positions of a row group's rows; None where it cannot be read or they are not what they can be."""
    try:
        rows = file.read_row_group(index, use_threads=False)
        rows.validate(full=True)
        positions = pa.chunked_array([pa.array([before], pa.int64()), *rows["position"].chunks]).combine_chunks()
    except _UNREADABLE:
        return None
    if pc.min(pc.pairwise_diff(positions)).as_py() < 1 or positions[-1].as_py() > until:
        return None
    return positions[1].as_py(), positions[-1].as_py()


def _save(data: Path, part: Part, run: _Run) -> Part:
    """A part of what can be read, beside the damaged one."""
    folder = Path(part.path).parent
    path = anew(f"{folder}/{run.first:020d}-{run.last:020d}.parquet", (part.path,))
    disk.publish(data / path, partial(_copy, data / part.path, run))
    saved = _known(data, part, path, run.first, run.last)
    if wrong := inspect(data, saved).findings:
        raise PartDamaged(data / path, f"just written, it is not what it should be: {wrong[0].detail}")
    return saved


def _known(data: Path, part: Part, path: str, first: int, last: int) -> Part:
    """What is to be registered of a file that can be read."""
    with pq.ParquetFile(data / path) as file:
        times = pc.min_max(pc.cast(file.read(["received_at"])["received_at"], pa.int64())).as_py()
        rows = file.metadata.num_rows
    size = (data / path).stat().st_size
    return Part(
        part.table_name, path, part.tier, first, last, times["min"], times["max"], rows, size, part.registered_ns
    )


def _copy(source: Path, run: _Run, target: Path) -> None:
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        there = set(file.schema_arrow.names)
        how = how_to_write([column for column in MESSAGE_COLUMNS if column.name in there], FAST_LEVEL)
        with pq.ParquetWriter(target, file.schema_arrow, **how) as writer:
            for index in run.groups:
                writer.write_table(file.read_row_group(index, use_threads=False))


def _set_aside(data: Path, part: Part, stamp: str) -> str | None:
    """A second name for the file, so that it is in the quarantine before anyone forgets it."""
    source = data / part.path
    if not source.exists():
        return None
    folder = data / QUARANTINE
    folder.mkdir(exist_ok=True)
    target = folder / f"{stamp}-{part.table_name}-{source.name}"
    if not target.exists():
        os.link(source, target)
        disk.sync(folder)
    return target.relative_to(data).as_posix()


def _without(part: Part, saved: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """What of a part's positions is in none of the saved."""
    expected = part.first_position
    for one in saved:
        if one.first_position > expected:
            yield expected, one.first_position - 1
        expected = one.last_position + 1
    if expected <= part.last_position:
        yield expected, part.last_position
