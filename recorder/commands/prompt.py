"""`recorder sql` without a statement: a prompt with history, for questions that come one after the other.

In: lines typed at a terminal; a statement ends with a semicolon and may have several lines. Out: its rows, or DuckDB's
words where it is wrong. All questions see the recording as it was when the prompt began or at the last `.refresh`.
Ctrl-C lets a line or a running question go, Ctrl-D ends.
"""

from __future__ import annotations

import os
import readline
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
import duckdb

from recorder.commands import show, sql
from recorder.commands.rows import FORMS, Form
from recorder.partitions.derived import DERIVED
from recorder.partitions.macros import MACROS
from recorder.partitions.views import STORED

HISTORY_LINES_MAX = 1_000
FIRST, MORE = "sql> ", "...> "
HELP = """\
SELECT …;          a question; it ends with a semicolon and may have several lines
.tables            the tables and macros, and what they are
.schema [TABLE]    the columns of a table, or of all, with types and units
.timing on|off     say how long each question took
.format NAME       table, json, csv or markdown
.refresh           see what has been recorded since
.quit              leave; so does Ctrl-D
"""


def main(data: Path, *, form: Form, timing: bool) -> int:
    """Ask until the end of input. Raises RecorderError where nothing is recorded."""
    prompt = Prompt(data, form, timing)
    history = _history_file()
    with suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(HISTORY_LINES_MAX)
    readline.set_auto_history(False)
    readline.set_completer_delims(" \t\n,;()=<>")
    readline.set_completer(prompt.complete)
    readline.parse_and_bind("tab: complete")
    click.echo(f"{data}. Statements end with a semicolon; .help for more.", err=True)
    try:
        while (typed := _typed(prompt.finished)) is not None:
            if typed:
                readline.add_history(typed if "--" in typed else " ".join(typed.split("\n")))
            if not prompt.take(typed):
                break
    finally:
        prompt.close()
        with suppress(OSError):  # a home that cannot be written to
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)
    return 0


class Prompt:
    """What becomes of what was typed."""

    def __init__(self, data: Path, form: Form, timing: bool) -> None:
        self._data = data
        self._form = form
        self._timing = timing
        self._connection = sql.opened(data)
        self._words: list[str] = []

    def close(self) -> None:
        self._connection.close()

    def take(self, typed: str) -> bool:
        """Do it. False: that was the last."""
        command, *arguments = typed.rstrip("; ").split() or [""]
        if command in (".quit", ".exit"):
            return False
        try:
            if command.startswith("."):
                self._command(command, arguments)
            elif typed:
                run = partial(sql.run, self._connection, typed, form=self._form, timing=self._timing)
                sql.interruptible(self._connection, run)
        except duckdb.Error as error:
            sys.stdout.flush()
            click.echo(str(error), err=True)
        except (KeyboardInterrupt, BrokenPipeError):  # the latter: the pager was left before the end
            click.echo("let go", err=True)
        return True

    def finished(self, typed: str) -> bool:
        """Whether a line or several are all there is of a statement."""
        text = typed.strip()
        if not text or text.startswith("."):
            return True
        if not text.endswith(";"):
            return False
        try:
            self._connection.extract_statements(text)
        except duckdb.Error as error:
            return "unterminated" not in str(error)  # a semicolon within quotes
        return True

    def complete(self, begun: str, number: int) -> str | None:
        """For readline: the names that begin so, one after the other."""
        if number == 0:
            names = [*(s.name for s in STORED), *(d.name for d in DERIVED), *(f"{m.name}(" for m in MACROS)]
            columns = {column.name for stored in STORED for column in stored.columns}
            self._words = [name for name in [*names, *sorted(columns - set(names))] if name.startswith(begun.lower())]
        return self._words[number] if number < len(self._words) else None

    def _command(self, command: str, arguments: list[str]) -> None:
        if command == ".tables":
            views = [*((s.name, s.description) for s in STORED), *((d.name, d.description) for d in DERIVED)]
            macros = [(f"{macro.name}({macro.signature})", macro.description) for macro in MACROS]
            show.table(("table", "what it is"), [*views, *macros])
        elif command == ".schema":
            self._schema(arguments[0] if arguments else None)
        elif command == ".timing" and arguments in (["on"], ["off"]):
            self._timing = arguments == ["on"]
        elif command == ".format" and len(arguments) == 1 and arguments[0] in FORMS:
            self._form = FORMS[FORMS.index(arguments[0])]
        elif command == ".refresh":
            self._connection.close()
            self._connection = sql.opened(self._data)
        else:
            click.echo(HELP, err=True, nl=False)

    def _schema(self, table: str | None) -> None:
        found = self._connection.execute(
            "SELECT table_name, column_name, data_type, comment FROM duckdb_columns()"
            " WHERE NOT internal AND comment IS NOT NULL AND ($table IS NULL OR table_name = $table)"
            " ORDER BY table_oid, column_index",
            {"table": table},
        ).fetchall()
        if found:
            show.table(("table", "column", "type", "what it is"), found)
        else:
            click.echo(f"There is no table {table}; .tables shows which there are.", err=True)


def _typed(finished: Callable[[str], bool]) -> str | None:
    """What was typed, up to where it is finished; None at the end of input."""
    lines: list[str] = []
    while True:
        try:
            lines.append(input(MORE if lines else FIRST))
        except KeyboardInterrupt:
            click.echo(err=True)
            lines = []
            continue
        except EOFError:
            click.echo(err=True)
            return None
        if finished("\n".join(lines)):
            return "\n".join(lines).strip()


def _history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "recorder" / "sql_history"
