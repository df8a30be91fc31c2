"""The rows of a result as people and programs read them: tables, JSON, CSV, Markdown, NDJSON.

In: a DuckDB relation. Out: its rows in batches, so that a result larger than memory can be written to a file. Moments
keep their nanoseconds, which Python's own have not; a value that JSON has no word for (NaN) is null there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import IO, Any, Literal

import duckdb
import orjson
import pyarrow as pa

Form = Literal["table", "json", "csv", "markdown"]
FORMS: tuple[Form, ...] = ("table", "json", "csv", "markdown")

BATCH_ROWS = 2_048  # what DuckDB makes at once; frames of /market have 42 KB each


def rows_of(relation: duckdb.DuckDBPyRelation) -> Iterator[list[Any]]:
    """Row by row, moments as text."""
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        columns = [column.cast(_readable(column.type)).to_pylist() for column in batch.columns]
        for row in zip(*columns, strict=True):
            yield list(row)


def write_json(columns: list[str], rows: Iterable[list[Any]], to: IO[str]) -> None:
    """An array with one row a line, so that it can be read whole as well as line by line."""
    separator = "["
    for row in rows:
        to.write(f"{separator}{_object(columns, row)}")
        separator = ",\n "
    to.write("]\n" if separator != "[" else "[]\n")


def write_ndjson(columns: list[str], rows: Iterable[list[Any]], to: IO[str]) -> None:
    """One object a line."""
    to.writelines(f"{_object(columns, row)}\n" for row in rows)


def write_csv(columns: list[str], rows: Iterable[list[Any]], to: IO[str], *, header: bool = True) -> None:
    """Comma-separated; lists and structs are JSON in their cell."""
    writer = csv.writer(to, lineterminator="\n")
    if header:
        writer.writerow(columns)
    writer.writerows([flat(value) for value in row] for row in rows)


def write_markdown(columns: list[str], rows: Iterable[list[Any]], to: IO[str]) -> None:
    """A table as GitHub and others show it."""
    to.write(f"| {' | '.join(map(_cell, columns))} |\n|{' --- |' * len(columns)}\n")
    to.writelines(f"| {' | '.join(_cell(flat(value)) for value in row)} |\n" for row in rows)


def flat(value: Any) -> Any:
    """One cell of a table or a CSV file."""
    if isinstance(value, list | dict):
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()
    return _plain(value) if isinstance(value, bytes) else value


def _object(columns: list[str], row: list[Any]) -> str:
    named = dict(zip(columns, row, strict=True))
    return orjson.dumps(named, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", "").replace("\n", "<br>")


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
