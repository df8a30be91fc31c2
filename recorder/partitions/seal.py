"""A range of the journal becomes Parquet: the work of one process, apart from the recorder.

In: a range of positions, read from the journal read-only. Out: one published file for each table and hour that has
rows, each read back from the disk and compared before it got its name, and the parts to register. Whatever dies here,
whenever: the range was noted before, doing it again makes the same names with the same contents, and nothing is
registered or forgotten. Noting, registering and forgetting is the recorder's job (sealer.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder import disk
from recorder.errors import PartDamaged
from recorder.journal.group import Group
from recorder.journal.registry import Part
from recorder.journal.standing import Standing
from recorder.journal.store import Store
from recorder.partitions import layout, schema
from recorder.partitions.convert import convert
from recorder.partitions.messages import table_of
from recorder.partitions.schema import MESSAGE_COLUMNS, MESSAGES, Column
from recorder.partitions.tables import TABLES

# A reader lists the hours one after the other. Were an hour's last file and the next hour's first to appear within that
# time, it could see the second without the first.
HOUR_PAUSE_S = 0.5

READ_BYTES = 8 << 20  # of the journal in one short transaction
READ_ROWS = 4096  # of a file at a time when it is compared

Step = Callable[[str], None]  # is told what has just been done


def no_step(_: str) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Sealed:
    """What one round of sealing made."""

    first_position: int
    last_position: int
    parts: list[Part] = field(default_factory=list)  # `registered_ns` is still to be filled in
    standing: Standing = field(default_factory=Standing)  # as of `last_position`
    payload_bytes: int = 0
    unparsed: Counter[str] = field(default_factory=Counter)  # table: frames
    unread: Counter[str] = field(default_factory=Counter)  # table.column: values


def plan(data: Path, bytes_max: int, until: int) -> tuple[int, int] | None:
    """The range to seal next: one that was begun, else groups of about `bytes_max` from the first unsealed on.

    Groups beyond position `until` can wait, so that a busy journal does not keep a seal going for ever. None: nothing.
    """
    store = Store.open_readonly(data)
    try:
        begun, sealed = store.intended_seal(), store.sealed_position()
        if begun is not None:
            return begun
        groups = [group for group in store.groups(sealed, bytes_max) if group.first_position <= until]
    finally:
        store.close()
    return (groups[0].first_position, groups[-1].last_position) if groups else None


def seal(data: Path, first: int, last: int, step: Step = no_step) -> Sealed:
    """Publish and verify the files of a range that was noted before.

    Raises Damaged for a group or a file that does not hold; OSError where the disk refuses.
    """
    groups, standing = _load(data, first, last)
    sealed = Sealed(first, last, standing=standing, payload_bytes=sum(len(group.payload) for group in groups))
    messages = table_of(groups)
    del groups  # as large as the table
    received_ns = messages["received_at"].combine_chunks().cast(pa.int64())
    for run in layout.split_at_hours(received_ns):
        _publish_run(data, run.hour, messages.slice(run.start, run.stop - run.start), sealed, step)
    pa.default_memory_pool().release_unused()
    return sealed


def _load(data: Path, first: int, last: int) -> tuple[list[Group], Standing]:
    """The groups of the range, and what is known of the streams behind them."""
    store = Store.open_readonly(data)
    groups: list[Group] = []
    try:
        standing = store.standing()
        behind = first - 1
        while behind < last and (more := store.groups(behind, READ_BYTES)):
            groups += [group for group in more if group.last_position <= last]
            behind = more[-1].last_position
    finally:
        store.close()
    for group in groups:
        standing.fold(group)
    return groups, standing


def _publish_run(data: Path, hour: str, messages: pa.Table, sealed: Sealed, step: Step) -> None:
    """The files of one hour: messages first, so that no typed row is there before its message."""
    times = pc.min_max(messages["received_at"].cast(pa.int64())).as_py()
    first, last = messages["position"][0].as_py(), messages["position"][-1].as_py()

    def published(name: str, columns: Sequence[Column], rows: pa.Table) -> None:
        path = layout.hot_path(name, hour, first, last)
        disk.publish(data / path, partial(_write_verified, rows, columns))
        step(f"published {name}")
        byte_count = (data / path).stat().st_size
        sealed.parts.append(
            Part(name, path, "hot", first, last, times["min"], times["max"], rows.num_rows, byte_count, 0)
        )

    _keep_hours_apart(data, hour)
    published(MESSAGES, MESSAGE_COLUMNS, messages)
    for typed in convert(messages, TABLES):
        name = typed.table.name
        if typed.unparsed:
            sealed.unparsed[name] += typed.unparsed
        sealed.unread.update({f"{name}.{column}": count for column, count in typed.unread.items()})
        if typed.rows.num_rows:
            published(name, typed.table.columns, typed.rows)


def _keep_hours_apart(data: Path, hour: str) -> None:
    folder = (data / layout.hot_path(MESSAGES, hour, 0, 0)).parent
    if not folder.exists() and any(other.name < folder.name for other in folder.parent.glob("hour=[12]*")):
        time.sleep(HOUR_PAUSE_S)


def _write_verified(rows: pa.Table, columns: Sequence[Column], aside: Path) -> None:
    """Write, and read back what the disk holds rather than what the kernel remembers."""
    schema.write(rows, columns, aside)
    disk.sync(aside)
    disk.forget_cached(aside)
    try:
        with pq.ParquetFile(aside, page_checksum_verification=True) as file:
            same = _same(file, rows)
    except (pa.ArrowException, OSError) as error:
        raise PartDamaged(aside, f"just written, it cannot be read: {error}") from error
    if not same:
        raise PartDamaged(aside, "just written, it reads otherwise")


def _same(file: pq.ParquetFile, rows: pa.Table) -> bool:
    if file.schema_arrow.metadata != rows.schema.metadata:
        return False
    at = 0
    for batch in file.iter_batches(READ_ROWS):
        if not pa.table(batch).equals(rows.slice(at, len(batch))):
            return False
        at += len(batch)
    return at == len(rows)
