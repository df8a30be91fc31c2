"""One part is read, every byte of it, and compared with what was registered.

In: a data directory and a registered part. Out: how much was read, and what is not as it should be. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.journal.registry import Part
from recorder.partitions.schema import MESSAGES, POSITION

PIECE_ROWS = 1_000  # of up to 128 KB each


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. `what` is one of few words, `where` a path or positions."""

    what: str
    where: str
    detail: str


@dataclass(slots=True)
class Inspected:
    """What was read. `whole`: up to the end."""

    whole: bool = False
    rows: int = 0
    byte_count: int = 0
    findings: list[Finding] = field(default_factory=list)


def inspect(data: Path, part: Part) -> Inspected:
    """Read one part, in bounded memory and on one core."""
    read = Inspected()
    path = data / part.path
    try:
        byte_count = path.stat().st_size
        if byte_count != part.byte_count:
            read.findings.append(_damaged(part, f"{byte_count} bytes, {part.byte_count} were registered"))
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            read.findings += _read(file, part, read)
        if read.rows != part.row_count:
            read.findings.append(_damaged(part, f"{read.rows} rows, {part.row_count} were registered"))
    except FileNotFoundError:
        where = f"positions {part.first_position} to {part.last_position}"
        read.findings.append(Finding("part missing", part.path, where))
    except (OSError, pa.ArrowException, KeyError) as error:
        read.findings.append(_damaged(part, str(error).splitlines()[0]))
    else:
        read.whole, read.byte_count = True, byte_count
    return read


def _read(file: pq.ParquetFile, part: Part, read: Inspected) -> Iterator[Finding]:
    """Counts the rows; what is behind the first that is wrong is not read."""
    before = part.first_position - 1
    # A message has one row there, but any number of typed ones, which in cold files stand by symbol.
    step = 1 if part.table_name == MESSAGES else 0 if part.tier == "hot" else None
    for batch in file.iter_batches(PIECE_ROWS, use_threads=False):
        batch.validate(full=True)
        read.rows += batch.num_rows
        numbers = pa.concat_arrays([pa.array([before], pa.int64()), batch.column(POSITION.name)])
        least, greatest = pc.min(numbers).as_py(), pc.max(numbers).as_py()
        if step is not None and pc.min(pc.pairwise_diff(numbers)).as_py() < step:
            yield _damaged(part, f"positions out of order behind row {read.rows}")
            return
        if least < part.first_position - 1:
            yield _damaged(part, f"begins before {part.first_position}, as registered")
            return
        if greatest > part.last_position:
            yield _damaged(part, f"goes up to {greatest}, {part.last_position} was registered")
            return
        before = greatest


def _damaged(part: Part, detail: str) -> Finding:
    return Finding("part damaged", part.path, detail)
