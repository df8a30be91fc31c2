"""Many parts become one file: the work of one process, apart from the recorder.

In: a piece of work that compact.py planned. Out: its files, published under names of their own and read back from the
disk, value by value the same as their inputs, and the parts to register. Inputs are disjoint and in order of position,
so they are put one behind the other, a row group at a time: memory does not grow with the day. In a day's file of a
typed table whose frames have many rows, those of one symbol stand together within stretches of CLUSTER_ROWS;
`messages`, which replay reads, is always in order of position. Inputs of an older schema version become the present
one.

If the power fails in here, files are left that nobody is told of, or names that every scanner passes over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder import disk
from recorder.errors import PartDamaged
from recorder.journal.registry import Part
from recorder.partitions import schema
from recorder.partitions.compact import Output, Work
from recorder.partitions.schema import MESSAGES, POSITION, RECEIVED_AT
from recorder.partitions.seal import Step, no_step
from recorder.partitions.tables import TABLES
from recorder.partitions.views import STORED

GROUP_BYTES_MAX = 64 << 20  # of a row group in memory; frames of /market have 42 KB each
CLUSTER_ROWS = 4 * schema.ROW_GROUP_ROWS  # one symbol's OHLC then takes a seventh; twice as many give it little more
MANY_ROWS = 4  # a frame
READ_ROWS = 4096
READ_BYTES = 8 << 20
STREAM_BYTES = 1 << 20  # of a column that are read ahead, compressed

Keep = Callable[[pa.Table], pa.Table]  # which rows stay
Wanted = Callable[[pq.ParquetFile, int], bool]  # whether a row group is read

_COLUMNS = {stored.name: stored.columns for stored in STORED}
_CLUSTERED = {table.name: table.clustered_by for table in TABLES}


def merge(data: Path, work: Work, level: int, step: Step = no_step, keep: Keep | None = None) -> list[Part]:
    """Publish and verify the files of a piece of work. `level`: zstd's, for files that stay.

    Raises PartDamaged for an input that is not what was registered, OSError where the disk refuses.
    """
    parts = []
    for output in work.outputs:
        made = Made(output.table, work.level or level, partial(_inputs, data, output, keep), stays=work.level is None)
        disk.publish(data / output.path, made.write)
        first, last = output.inputs[0], output.inputs[-1]
        parts.append(made.part(output.path, first.first_position, last.last_position, output.inputs))
        step(f"published {output.table}")
    pa.default_memory_pool().release_unused()
    return parts


class Made:
    """One file in the making: `pieces` gives its rows in order of position, as often as it is asked."""

    def __init__(self, table: str, level: int, pieces: Callable[[], Iterator[pa.Table]], *, stays: bool) -> None:
        self._table = table
        self._schema = schema_of(table)
        self._pieces = pieces
        cluster = _CLUSTERED.get(table, ()) if stays else ()
        self._cluster = [(name, "ascending") for name in cluster] if cluster and self._many_rows_a_frame() else []
        self._how = schema.how_to_write(_COLUMNS[table], level, clustered=bool(self._cluster))
        self._rows = 0
        self._byte_count = 0
        self._times: list[int] = []

    def write(self, aside: Path) -> None:
        with pq.ParquetWriter(aside, self._schema, **self._how) as writer, _opened_to_sync(aside) as descriptor:
            for window in self._windows():
                writer.write_table(window, row_group_size=schema.ROW_GROUP_ROWS)
                # Little by little: one fsync of a whole day would have every commit meanwhile wait for it.
                os.fdatasync(descriptor)
                self._rows += window.num_rows
                least_greatest = pc.min_max(window[RECEIVED_AT.name].cast(pa.int64())).as_py()
                self._times += least_greatest.values()
                del window  # before the next one is made
        disk.sync(aside)
        disk.forget_cached(aside)
        self._byte_count = aside.stat().st_size
        try:
            same = self._same(aside)
        except (pa.ArrowException, OSError) as error:
            raise PartDamaged(aside, f"just written, it cannot be read: {error}") from error
        if not same:
            raise PartDamaged(aside, "just written, it reads otherwise")

    def part(self, path: str, first: int, last: int, of: Sequence[Part]) -> Part:
        """What is to be registered. Times are those of the parts it is made of, where they are known."""
        times = [ns for part in of for ns in (part.first_received_ns, part.last_received_ns)]
        if not all(times):  # a registry that was made again from names
            times = self._times or [0]
        return Part(self._table, path, "cold", first, last, min(times), max(times), self._rows, self._byte_count, 0)

    def _same(self, aside: Path) -> bool:
        with _opened(aside) as file:
            if file.schema_arrow.metadata != self._schema.metadata:
                return False
            there = _Rows(_batches(file, self._schema), self._schema)
            for window in self._windows():
                if not there.take(len(window)).equals(window):
                    return False
                del window
            return not there.take(1)

    def _windows(self) -> Iterator[pa.Table]:
        """The rows as they are to be written, a row group or a cluster at a time."""
        there = _Rows(self._pieces(), self._schema)
        while window := self._arranged(there):
            yield window
            del window

    def _arranged(self, there: _Rows) -> pa.Table:
        if not self._cluster:
            return there.take(schema.ROW_GROUP_ROWS, GROUP_BYTES_MAX)
        return there.take(CLUSTER_ROWS, GROUP_BYTES_MAX).sort_by([*self._cluster, (POSITION.name, "ascending")])

    def _many_rows_a_frame(self) -> bool:
        """Whether it is worth it: each time is written for each symbol anew, where a frame has one row just once."""
        rows = _Rows(self._pieces(), self._schema).take(READ_ROWS)
        frames: int = pc.count_distinct(rows[POSITION.name]).as_py()
        return len(rows) >= MANY_ROWS * frames


def _inputs(data: Path, output: Output, keep: Keep | None) -> Iterator[pa.Table]:
    reached = 0
    for part in output.inputs:
        rows = 0
        for batch in read(data, part):
            rows += batch.num_rows
            reached = _in_order(data / part.path, part, batch, reached)
            kept = keep(batch) if keep else batch
            if kept.num_rows:
                yield kept
        if part.row_count and rows != part.row_count:
            raise PartDamaged(data / part.path, f"it holds {rows} rows, {part.row_count} were registered")


def read(data: Path, part: Part, wanted: Wanted = lambda _file, _index: True) -> Iterator[pa.Table]:
    """The rows of a part in the present schema, in pieces of bounded size. `wanted`: which row groups.

    Raises PartDamaged.
    """
    path = data / part.path
    with _reading(path), _opened(path) as file:
        yield from _batches(file, schema_of(part.table_name), wanted)


class _Rows:
    """Pieces of one table, to be taken in other pieces."""

    def __init__(self, pieces: Iterator[pa.Table], of: pa.Schema) -> None:
        self._pieces = pieces
        self._nothing = of.empty_table()
        self._rest = self._nothing

    def take(self, rows_max: int, bytes_max: int = 1 << 62) -> pa.Table:
        """The next rows, empty at the end. `bytes_max` may be exceeded by one piece."""
        taken = [self._nothing]
        while rows_max > 0 and bytes_max > 0:
            piece = self._rest or next(self._pieces, self._nothing)
            if not piece:
                break
            taken.append(piece.slice(0, rows_max))
            self._rest = piece.slice(rows_max)
            rows_max -= taken[-1].num_rows
            bytes_max -= taken[-1].nbytes
        return pa.concat_tables(taken)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise PartDamaged(path, str(error).partition("\n")[0]) from error


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, pre_buffer=False, buffer_size=STREAM_BYTES, page_checksum_verification=True)


@contextmanager
def _opened_to_sync(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _batches(file: pq.ParquetFile, of: pa.Schema, wanted: Wanted = lambda _file, _index: True) -> Iterator[pa.Table]:
    for index in range(file.metadata.num_row_groups):
        if not wanted(file, index):
            continue
        group = file.metadata.row_group(index)
        rows = max(1, min(READ_ROWS, READ_BYTES * group.num_rows // max(1, group.total_byte_size)))
        missing = group.num_rows
        for batch in file.iter_batches(rows, row_groups=[index], use_threads=False):
            missing -= batch.num_rows
            yield conformed(pa.table(batch), of)
        if missing:  # pyarrow takes a broken page header for the end
            raise pa.ArrowInvalid(f"row group {index} lacks {missing} of {group.num_rows} rows")


def conformed(rows: pa.Table, wanted: pa.Schema) -> pa.Table:
    """Rows of any schema version in that of now: what a version did not have is NULL."""
    there = set(rows.column_names)
    columns = [
        rows[field.name].cast(field.type) if field.name in there else pa.nulls(rows.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def schema_of(table: str) -> pa.Schema:
    """The present one of a table that lies in files."""
    return schema.arrow_schema(table, _COLUMNS[table])


def _in_order(path: Path, part: Part, rows: pa.Table, reached: int) -> int:
    """The last position, where all are within the part and, in `messages`, each is behind the one before."""
    position = rows[POSITION.name].combine_chunks()
    least: int = pc.min(position).as_py()
    greatest: int = pc.max(position).as_py()
    if least < part.first_position or greatest > part.last_position:
        raise PartDamaged(path, f"it holds positions {least} to {greatest}, which is not what its name says")
    if part.table_name == MESSAGES:
        steps = pc.pairwise_diff(pa.concat_arrays([pa.array([reached], pa.int64()), position]))
        if pc.min(steps).as_py() <= 0:
            raise PartDamaged(path, f"its positions are out of order behind {reached}")
    return greatest
