"""`recorder sql`: questions to the recording, what is not sealed yet included.

In: a statement, or a terminal to type some at (prompt.py). Out: rows as a table, as one JSON array, as CSV or as
Markdown, in batches, so that a result larger than memory can be written to a file; on a terminal a long table goes
through the pager. Runs in a DuckDB of its own that only reads the data folder: nothing asked here can hurt the
recording.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import TypeVar

import click
import duckdb

from recorder.commands import rows, show
from recorder.commands.rows import Form
from recorder.errors import RecorderError
from recorder.partitions.catalog import connect

TABLE_ROWS_MAX = 1_000  # nobody reads more, and a table is laid out whole
INTERRUPT_EVERY_S = 0.05

T = TypeVar("T")


def main(data: Path, statement: str | None, *, form: Form, timing: bool) -> int:
    """Raises RecorderError with DuckDB's own words where the statement is wrong."""
    if statement is None:
        from recorder.commands import prompt  # imports readline, which changes the terminal

        return prompt.main(data, form=form, timing=timing)
    if statement == "-":
        statement = sys.stdin.read()
    with opened(data) as connection:
        try:
            interruptible(connection, lambda: run(connection, statement, form=form, timing=timing))
        except duckdb.Error as error:
            raise RecorderError(str(error)) from None
    return 0


def opened(data: Path) -> duckdb.DuckDBPyConnection:
    """A connection to ask. Raises RecorderError where nothing is recorded."""
    connection = connect(data)
    connection.execute("SET python_enable_replacements = false")  # a name in SQL is not a variable of ours
    return connection


def interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], T]) -> T:
    """Do it, and have Ctrl-C end the question that is asked there: while a batch is made, Python sees no signal."""
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(work)
        try:
            return doing.result()
        except KeyboardInterrupt:
            while not doing.done():  # an interrupt just before the question begins is forgotten
                connection.interrupt()
                wait([doing], INTERRUPT_EVERY_S)
            raise


def has_rows(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """Whether the last of these statements is a question; of what makes a table, DuckDB returns an empty count."""
    statements = connection.extract_statements(statement)
    return bool(statements) and statements[-1].expected_result_type == [duckdb.ExpectedResultType.QUERY_RESULT]


def run(connection: duckdb.DuckDBPyConnection, statement: str, *, form: Form, timing: bool) -> None:
    """Answer one question on stdout. Raises duckdb.Error."""
    began = time.perf_counter()
    shows = has_rows(connection, statement)
    relation = connection.sql(statement)
    if relation is not None and shows:
        answer = rows.rows_of(relation)
        if form == "json":
            rows.write_json(relation.columns, answer, sys.stdout)
        elif form == "csv":
            rows.write_csv(relation.columns, answer, sys.stdout)
        elif form == "markdown":
            rows.write_markdown(relation.columns, answer, sys.stdout)
        else:
            shown = [[rows.flat(value) for value in row] for row in islice(answer, TABLE_ROWS_MAX)]
            _page(relation.columns, shown)
            if next(answer, None) is not None:
                click.echo(f"{TABLE_ROWS_MAX} rows shown; --csv and --json give all of them.", err=True)
    if timing:
        sys.stdout.flush()
        click.echo(f"{time.perf_counter() - began:.3f} s", err=True)


def _page(columns: list[str], shown: list[list[object]]) -> None:
    """A table; through the pager where it is longer than the terminal."""
    if not sys.stdout.isatty() or len(shown) + 1 < shutil.get_terminal_size().lines:
        show.table(columns, shown)
        return
    text = io.StringIO()
    show.table(columns, shown, to=text)
    os.environ.setdefault("LESS", "-FRSX")  # wide rows are not folded, arrows move sideways
    click.echo_via_pager(text.getvalue())
