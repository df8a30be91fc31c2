"""`recorder export`: a table, a part of it, or the answer to a question as one file for other programs.

In: a table with filters, or a statement. Out: one Parquet, CSV or NDJSON file, whole or not at all. A table with
positions comes in their order, some hours at a time, so a year needs no more memory than its busiest hour; what has
none (gaps, coverage, …) is small and comes as it is. What is not sealed yet is in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from recorder import disk
from recorder.commands import rows, show, sql
from recorder.errors import RecorderError, RequestInvalid
from recorder.partitions import schema
from recorder.partitions.derived import DERIVED
from recorder.partitions.layout import HOUR_NS
from recorder.partitions.numbers import moment_ns
from recorder.partitions.tables import TABLES
from recorder.partitions.views import STORED, quoted

Format = Literal["parquet", "csv", "ndjson"]
FORMATS: tuple[Format, ...] = ("parquet", "csv", "ndjson")
SUFFIXES: dict[str, Format] = {".parquet": "parquet", ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}

HOURS = "SELECT epoch_ns(received_at) // 3600000000000, sum(bytes)::BIGINT + 1 FROM traffic GROUP BY 1 ORDER BY 1"
WINDOW_BYTES = 256 << 20  # of frames: what is sorted at once; less would mean more look-ups, some 40 ms each
GROUP_BYTES_MAX = 64 << 20  # of rows in memory, before they are written
NAMES = sorted([*(stored.name for stored in STORED), *(view.name for view in DERIVED)])
_CLUSTERED = {table.name: table.clustered_by for table in TABLES}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows. Moments are nanoseconds UTC, `until_ns` is not included; empty and None: all."""

    feeds: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None


def moment(option: str, text: str | None) -> int | None:
    """An option's moment in nanoseconds UTC. Raises RequestInvalid."""
    ns = None if text is None else moment_ns(text.strip())
    if text is not None and ns is None:
        raise RequestInvalid(option, text, "possible is ISO 8601, UTC unless it names a zone: 2026-01-31T12:00:00")
    return ns


def format_of(out: Path, given: Format | None) -> Format:
    """What was asked for, else what the name of the file says. Raises RequestInvalid."""
    if (form := given or SUFFIXES.get(out.suffix.lower())) is None:
        raise RequestInvalid("--out", str(out), f"without --format its name ends in one of {', '.join(SUFFIXES)}")
    return form


def main(
    data: Path,
    table: str | None,
    statement: str | None,
    *,
    wanted: Wanted,
    form: Format,
    out: Path,
    force: bool,
    as_json: bool,
) -> int:
    """Returns 0. Raises RequestInvalid for what a table has not, RecorderError where nothing is recorded."""
    if out.exists() and not force:
        raise RecorderError(f"{out} exists. Name another file, or say --force to replace it.")
    with sql.opened(data) as connection:
        try:
            queries = [statement] if statement else _queries(connection, table or "", wanted)
            written = _Written(connection, queries, table or "rows")
            text = partial(written.text, write=_csv if form == "csv" else _ndjson)
            write = partial(disk.publish, out, written.parquet if form == "parquet" else text)
            sql.interruptible(connection, write)
        except duckdb.Error as error:
            raise RecorderError(str(error)) from None
    told = {"out": str(out), "format": form, "rows": written.rows, "bytes": out.stat().st_size}
    if as_json:
        show.json(told)
    else:
        click.echo(f"{out}: {written.rows} rows, {show.size(out.stat().st_size)}", err=True)
    return 0


def _queries(connection: duckdb.DuckDBPyConnection, table: str, wanted: Wanted) -> list[str]:
    """One for each stretch of time, in order; one for a table without positions."""
    if table not in NAMES:
        raise RequestInvalid("TABLE", table, f"there are {', '.join(NAMES)}; see also --sql")
    columns = connection.sql(f"SELECT * FROM {table} LIMIT 0").columns  # noqa: S608 - one of the names above
    conditions = list(_conditions(table, columns, wanted))
    if not {"position", "received_at"} <= set(columns):
        return [f"SELECT * FROM {table}{_where(conditions)} ORDER BY ALL"]  # noqa: S608
    order = ", ".join(("position", *_CLUSTERED.get(table, ())))
    queries = [
        f"SELECT * FROM {table}{_where([*conditions, *_within(*window)])} ORDER BY {order}"  # noqa: S608
        for window in _windows(connection.execute(HOURS).fetchall())
        if (wanted.since_ns or 0) < window[1] and window[0] < (wanted.until_ns or 1 << 63)
    ]
    return queries or [f"SELECT * FROM {table} WHERE false"]  # noqa: S608


def _windows(hours: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Begin and end in ns of stretches that together have every hour, each of about WINDOW_BYTES or one hour."""
    begin, taken = 0, 0
    for hour, byte_count in hours:
        if taken and taken + byte_count > WINDOW_BYTES:
            yield begin * HOUR_NS, hour * HOUR_NS
            taken = 0
        begin, taken = begin if taken else hour, taken + byte_count
    if hours:
        yield begin * HOUR_NS, (hours[-1][0] + 1) * HOUR_NS


def _conditions(table: str, columns: Sequence[str], wanted: Wanted) -> Iterator[str]:
    """What SQL says of the filters. Raises RequestInvalid where the table has not what one asks of."""

    def needed(option: str, *names: str) -> str:
        for name in names:
            if name in columns:
                return name
        raise RequestInvalid(option, table, f"its columns are {', '.join(columns)}; --sql can ask anything of them")

    if wanted.feeds:
        yield f"{needed('--feed', 'feed')} IN ({', '.join(map(quoted, wanted.feeds))})"
    if wanted.symbols:
        symbols = ", ".join(map(quoted, wanted.symbols))
        column = needed("--symbol", "symbol", "tickers")
        yield f"list_has_any(tickers, [{symbols}])" if column == "tickers" else f"symbol IN ({symbols})"
    if wanted.since_ns is not None or wanted.until_ns is not None:
        needed("--from and --to", "received_at")
        yield from _within(wanted.since_ns, wanted.until_ns)


def _within(since_ns: int | None, until_ns: int | None) -> Iterator[str]:
    """Compared as moments, not as numbers, so that files and row groups out of the range are passed over."""
    if since_ns is not None:
        yield f"received_at >= make_timestamp_ns({since_ns})"
    if until_ns is not None:
        yield f"received_at < make_timestamp_ns({until_ns})"


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


class _Written:
    """Writes the answers to queries one behind the other, and counts."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, queries: Sequence[str], what: str) -> None:
        self.rows = 0
        self._connection = connection
        self._queries = queries
        self._what = what

    def parquet(self, path: Path) -> None:
        """With the encodings of the recording's own files where it is one of its tables."""
        columns = next((stored.columns for stored in STORED if stored.name == self._what), None)
        with ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            for relation in self._answers():
                reader = relation.to_arrow_reader(rows.BATCH_ROWS)
                declared = schema.arrow_schema(self._what, columns) if columns else reader.schema
                if writer is None:
                    how = schema.how_to_write(columns, schema.FAST_LEVEL) if columns else {"compression": "zstd"}
                    writer = stack.enter_context(pq.ParquetWriter(path, declared, **how))
                for group in _row_groups(reader):
                    writer.write_table(group.cast(declared))
                    self.rows += group.num_rows

    def text(self, path: Path, write: Callable[[list[str], Iterator[list[Any]], IO[str], bool], None]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            for number, relation in enumerate(self._answers()):
                write(relation.columns, self._counted(rows.rows_of(relation)), file, number == 0)

    def _counted(self, some: Iterator[list[Any]]) -> Iterator[list[Any]]:
        for row in some:
            self.rows += 1
            yield row

    def _answers(self) -> Iterator[duckdb.DuckDBPyRelation]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rows]} rows"),
        )
        console = Console(stderr=True)
        with Progress(
            *columns, TimeElapsedColumn(), console=console, transient=True, disable=not sys.stderr.isatty()
        ) as told:
            # A question is one step, of which nobody knows how long it is: then the bar only moves.
            task = told.add_task(self._what, total=len(self._queries) if len(self._queries) > 1 else None, rows=0)
            for query in self._queries:
                if not sql.has_rows(self._connection, query):
                    raise RecorderError("that statement has no rows. Export a SELECT.")
                yield self._connection.sql(query)
                told.update(task, advance=1, rows=self.rows)


def _row_groups(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """As many rows as are written at once: a row group, or fewer where they are large."""
    taken: list[pa.RecordBatch] = []
    for batch in batches:
        taken.append(batch)
        if sum(map(len, taken)) >= schema.ROW_GROUP_ROWS or sum(some.nbytes for some in taken) >= GROUP_BYTES_MAX:
            yield pa.Table.from_batches(taken)
            taken = []
    if taken:
        yield pa.Table.from_batches(taken)


def _csv(columns: list[str], some: Iterator[list[Any]], file: IO[str], first: bool) -> None:
    rows.write_csv(columns, some, file, header=first)


def _ndjson(columns: list[str], some: Iterator[list[Any]], file: IO[str], _first: bool) -> None:
    rows.write_ndjson(columns, some, file)
