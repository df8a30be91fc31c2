"""How commands show things: tables for people, JSON for machines. Both go to stdout."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any

import orjson

from recorder.clock import SECOND_NS

PIPE_COLUMNS = 240  # a table that is not for a terminal is not folded at 80


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    to: IO[str] | None = None,
    width: int | None = None,
) -> None:
    """A table; columns of numbers stand to the right. As wide as the terminal, or `width`; `to`: unfolded without."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=to, width=width or (PIPE_COLUMNS if to else width_of(sys.stdout)))
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    kept = [list(row) for row in rows]
    for number, column in enumerate(columns):
        numeric = any(isinstance(row[number], int | float) for row in kept)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in kept:
        shown.add_row(*(Text(_plain(value)) for value in row))
    console.print(shown)


def width_of(out: IO[str]) -> int:
    """Columns of the terminal; of what is none, so many that little is folded."""
    return shutil.get_terminal_size().columns if out.isatty() else PIPE_COLUMNS


def json(value: object, to: IO[str] | None = None) -> None:
    """One indented JSON document."""
    (to or sys.stdout).write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode())


def json_line(value: object) -> str:
    """One line of JSON, with its end."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE).decode()


def moment(ns: int | None) -> str | None:
    """UTC nanoseconds as ISO 8601 with milliseconds: `2026-01-31T12:00:00.123Z`."""
    if ns is None:
        return None
    whole = datetime.fromtimestamp(ns // SECOND_NS, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % SECOND_NS // 1_000_000:03d}Z"


def size(count: float) -> str:
    """Bytes for people: `1.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)
