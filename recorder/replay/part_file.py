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
from recorder.replay import batch
from recorder.replay.selection import Selection

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
            yield file
    except FileNotFoundError as gone:
        raise FileNotFoundError(gone.errno, "it is gone", str(path)) from gone
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, KeyError) as error:
        raise PartDamaged(path, str(error).splitlines()[0]) from error


def batches(
    path: Path, row_count: int, first: int, last: int, selection: Selection, rows_max: int, bytes_max: int
) -> Iterator[pa.RecordBatch]:
    """The selected rows with positions first to last, in order; no batch is empty. Raises as `opened`."""
    with opened(path, row_count) as file:
        for index in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(index)
            span = limits(group, "position")
            if span is not None and (span[1] < first or span[0] > last):
                continue
            if not selection.may_be_within(lambda column, group=group: limits(group, column)):  # type: ignore[misc]
                continue
            a_batch = bytes_max * group.num_rows // max(1, group.total_byte_size)
            rows = max(1, min(rows_max, a_batch))
            for read in file.iter_batches(rows, row_groups=[index], use_threads=False):
                yield from batch.handed_out(read, first, last, selection, rows_max, bytes_max)


def position_at(path: Path, received_ns: int) -> int | None:
    """The first position received then or later; reads two columns of one row group. Raises as `opened`."""
    with opened(path) as file:
        for index in range(file.metadata.num_row_groups):
            span = limits(file.metadata.row_group(index), "received_at")
            if span is not None and span[1] < received_ns:
                continue
            rows = file.read_row_group(index, columns=["position", "received_at"], use_threads=False).combine_chunks()
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


def limits(group: Any, column: str) -> tuple[Any, Any] | None:
    """Least and greatest of a column in a row group: int, or bytes for a text; None where it does not say."""
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema == column:
            known = chunk.statistics
            return (known.min_raw, known.max_raw) if known is not None and known.has_min_max else None
    return None
