"""One Parquet part of messages: seeking in it by statistics, and its rows in batches of bounded size.

In: a path, positions. Out: rows as batch.py hands them out. Only row groups that can hold what is wanted are read, one
page of a column after the other. Nothing is written. A file that does not hold what it should is PartDamaged; one that
is gone is FileNotFoundError, and where its rows are now is somebody else's job to find out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.errors import PartDamaged
from recorder.partitions.schema import MESSAGES_SCHEMA
from recorder.replay import batch
from recorder.replay.selection import Selection

Span = tuple[int, int]  # first and last position

_STREAM_BYTES = 1 << 20  # of a column that are read ahead, compressed


@contextmanager
def opened(path: Path, row_count: int = 0) -> Iterator[pq.ParquetFile]:
    """The file, of which everything read is compared with its checksums. `row_count`: as registered, 0 for unknown.

    Raises PartDamaged, FileNotFoundError or PermissionError, also for what is read from it later.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_STREAM_BYTES, page_checksum_verification=True) as file:
            if row_count and file.metadata.num_rows != row_count:
                raise PartDamaged(path, f"it holds {file.metadata.num_rows} rows, {row_count} were registered")
            there = file.schema_arrow
            if any(there.field(column.name).type != column.type for column in MESSAGES_SCHEMA):
                raise PartDamaged(path, "its columns are not those of messages")
            yield file
    except FileNotFoundError as gone:
        raise FileNotFoundError(gone.errno, "it is gone", str(path)) from gone
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:  # the last: names that are no UTF-8
        raise PartDamaged(path, str(error).partition("\n")[0]) from error


def batches(
    path: Path, covered: Span, row_count: int, wanted: Span, selection: Selection, rows_max: int, bytes_max: int
) -> Iterator[pa.RecordBatch]:
    """The selected rows with wanted positions, in order; no batch is empty. Raises as `opened`.

    `covered`: the positions the file is for, by its registration or its name.
    """
    first, last = wanted
    with opened(path, row_count) as file:
        for index, span in enumerate(_spans(path, file, covered)):
            if span[1] < first or span[0] > last:
                continue
            group = file.metadata.row_group(index)
            if not selection.may_be_within(lambda column, group=group: limits(group, column)):  # type: ignore[misc]
                continue
            a_batch = bytes_max * group.num_rows // max(1, group.total_byte_size)
            missing = group.num_rows
            for read in file.iter_batches(max(1, min(rows_max, a_batch)), row_groups=[index], use_threads=False):
                missing -= read.num_rows
                yield from batch.handed_out(read, first, last, selection, rows_max, bytes_max)
            if missing:  # page headers have no checksum either, and pyarrow takes a broken one for the end
                raise PartDamaged(path, f"row group {index} lacks {missing} of {group.num_rows} rows")


def position_at(path: Path, received_ns: int) -> int | None:
    """The first position received then or later; reads two columns of one row group. Raises as `opened`."""
    with opened(path) as file:
        for index in range(file.metadata.num_row_groups):
            span = limits(file.metadata.row_group(index), "received_at")
            if span is not None and span[1] < received_ns:
                continue
            rows = file.read_row_group(index, columns=["position", "received_at"], use_threads=False).combine_chunks()
            if rows.num_rows != file.metadata.row_group(index).num_rows:
                raise PartDamaged(path, f"row group {index} lacks rows")
            at = pc.index(pc.greater_equal(rows["received_at"].cast(pa.int64()), received_ns), True).as_py()
            if at >= 0:
                position: int = rows["position"][at].as_py()
                return position
    return None


def times(path: Path) -> tuple[int, int]:
    """The earliest and the latest receive time, from the footer alone. Raises as `opened`."""
    with opened(path) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        spans = [limits(group, "received_at") for group in groups]
    known = [span for span in spans if span is not None]
    if not known or len(known) < len(spans):
        raise PartDamaged(path, "its footer does not say when its messages were received")
    return min(least for least, _ in known), max(greatest for _, greatest in known)


def feeds(path: Path) -> set[str]:
    """Names of the feeds that have rows in it; reads one column. Raises as `opened`."""
    with opened(path) as file:
        names: set[str] = set(file.read(columns=["feed"], use_threads=False)["feed"].unique().to_pylist())
    return names


def _spans(path: Path, file: pq.ParquetFile, covered: Span) -> list[Span]:
    """First and last position of each row group.

    A footer has no checksum, and by a wrong one rows would be passed over that are there: so it has to agree with what
    is known of the file, and with itself.
    """
    spans: list[Span] = []
    dense = covered[1] - covered[0] + 1 == file.metadata.num_rows
    before = covered[0] - 1
    for index in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(index)
        first, last = limits(group, "position") or (0, 0)
        width = last - first + 1
        if not (
            before < first and last <= covered[1] and group.num_rows in ((width,) if dense else range(1, width + 1))
        ):
            raise PartDamaged(path, f"its footer tells positions {first} to {last} in {group.num_rows} rows")
        spans.append((first, last))
        before = last
    return spans


def limits(group: Any, column: str) -> tuple[Any, Any] | None:
    """Least and greatest of a column in a row group: int, or bytes for a text; None where it does not say."""
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema == column:
            known = chunk.statistics
            return (known.min_raw, known.max_raw) if known is not None and known.has_min_max else None
    return None
