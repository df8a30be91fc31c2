"""`recorder sql`: one statement over the recording, what is not sealed yet included.

In: a statement. Out: its rows as a table, as one JSON array or as CSV, in batches, so that a result larger than memory
can be written to a file. Runs in a DuckDB of its own that only reads the data folder: nothing asked here can hurt the
recording. Moments keep their nanoseconds; in JSON a value that JSON has no word for (NaN) is null.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import click
import duckdb
import orjson
import pyarrow as pa

from recorder.commands import show
from recorder.errors import RecorderError
from recorder.partitions.catalog import connect

BATCH_ROWS = 10_000
TABLE_ROWS_MAX = 1_000  # nobody reads more, and a table is laid out whole


def main(data: Path, statement: str, *, form: Literal["table", "json", "csv"]) -> int:
    """Raises RecorderError with DuckDB's own words where the statement is wrong."""
    if statement == "-":
        statement = sys.stdin.read()
    with connect(data) as connection:
        try:
            connection.execute("SET python_enable_replacements = false")  # a name in SQL is not a variable of ours
            relation = connection.sql(statement)
            if relation is not None:
                _write(relation.columns, _rows(relation), form)
        except duckdb.Error as error:
            raise RecorderError(str(error)) from None
    return 0


def _write(columns: list[str], rows: Iterator[list[Any]], form: Literal["table", "json", "csv"]) -> None:
    if form == "json":
        _write_json(columns, rows)
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_flat(value) for value in row] for row in rows)
    else:
        show.table(columns, ([_flat(value) for value in row] for row in islice(rows, TABLE_ROWS_MAX)))
        if next(rows, None) is not None:
            click.echo(f"{TABLE_ROWS_MAX} rows shown; --csv and --json give all of them.", err=True)


def _write_json(columns: list[str], rows: Iterator[list[Any]]) -> None:
    """An array with one row a line, so that it can be read whole as well as line by line."""
    separator = "["
    for row in rows:
        line = orjson.dumps(dict(zip(columns, row, strict=True)), default=_plain, option=orjson.OPT_NON_STR_KEYS)
        sys.stdout.write(f"{separator}{line.decode()}")
        separator = ",\n "
    sys.stdout.write("]\n" if separator != "[" else "[]\n")


def _rows(relation: duckdb.DuckDBPyRelation) -> Iterator[list[Any]]:
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        columns = [column.cast(_readable(column.type)).to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield list(row)


def _readable(of: pa.DataType) -> pa.DataType:
    """The type with moments as text, wherever they are in it: Python's own have no nanoseconds."""
    if pa.types.is_temporal(of) and not pa.types.is_interval(of):
        return pa.string()
    if pa.types.is_list(of):
        return pa.list_(_readable(of.value_type))
    if pa.types.is_struct(of):
        return pa.struct([field.with_type(_readable(field.type)) for field in of])
    return of


def _plain(value: Any) -> Any:
    """What JSON can hold of a value that orjson does not know."""
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return float(value) if not whole else int(value) if abs(value) < 1 << 63 else str(int(value))
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(value)


def _flat(value: Any) -> Any:
    """One cell of a table or a CSV file."""
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    return _plain(value) if isinstance(value, bytes) else value
