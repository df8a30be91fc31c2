"""The SQL of the views, the same in the catalogue and in process. Pure.

In: for each table, how to read it. Out: statements that make the views and comment on them. The catalogue's readers
go by a hot glob, a list of cold files and a sentinel; what goes wrong without each was measured:

- A glob is expanded when the query is bound and its files are opened later, so files that were compacted away would be
  missing or doubled. Hence the constant bound on `hour`: what is below it is in the cold list, never in both.
- A connection that read the views before a compaction has the old list. The sentinel of its generation is removed
  before any file of that list, and its absence is an error at binding: loud, instead of rows silently missing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.partitions import layout
from recorder.partitions.derived import DERIVED
from recorder.partitions.macros import MACROS
from recorder.partitions.schema import MESSAGE_COLUMNS, MESSAGES, MESSAGES_DESCRIPTION, Column
from recorder.partitions.tables import TABLES


@dataclass(frozen=True, slots=True)
class Stored:
    """A table that lies in files."""

    name: str
    description: str
    columns: tuple[Column, ...]


STORED = (
    Stored(MESSAGES, MESSAGES_DESCRIPTION, MESSAGE_COLUMNS),
    *(Stored(table.name, table.description, table.columns) for table in TABLES),
)


_BY_NAME = ", union_by_name = true"


def quoted(text: str | Path) -> str:
    """A string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """A quoted identifier: `list` and `by` are words of SQL too."""
    return '"' + identifier.replace('"', '""') + '"'


def literally(path: str | Path) -> str:
    """A path in which DuckDB finds no pattern, whatever the user named the folder."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def names(columns: Iterable[Column]) -> str:
    """A select list. Qualified: a parameter of a macro over the view that is called as a column would be ambiguous."""
    return ", ".join(f"f.{name(column.name)}" for column in columns)


def read_files(paths: Sequence[str | Path], *, uneven: bool) -> str:
    """A scan of these files; a missing one is an error. `uneven`: some may lack columns, which are NULL then.

    Otherwise that is an error, and less is opened before it is needed: 0.05 ms less a file.
    """
    files = ", ".join(quoted(literally(path)) for path in paths)
    return f"read_parquet([{files}], hive_partitioning = false{_BY_NAME if uneven else ''})"


def published(
    data: Path, stored: Stored, listed: Sequence[str], hot_since: str, generation: str, *, uneven: bool = False
) -> str:
    """How a reader of the catalogue finds a table's rows. `uneven`: some of its files lack columns."""
    sentinel = data / layout.sentinel_path(stored.name, generation)
    # The sentinel is bound first, so that its absence is what is told; apart, because DuckDB takes the rows of a list's
    # first file for those of each: with none, it planned an ASOF join of 10,000 articles as a nested loop of minutes.
    # Where files lack columns it stands behind them as well: perhaps none of them has one of the newest.
    again = [sentinel] if uneven else []
    cold = [[sentinel], [*(data / path for path in listed), *again]] if listed else [[sentinel]]
    glob = quoted(f"{literally(data)}/{layout.hot_glob(stored.name)}")
    columns = names(stored.columns)
    by_name = _BY_NAME if uneven else ""
    hot = f"read_parquet({glob}, hive_partitioning = true, hive_types = {{'hour': VARCHAR}}{by_name})"
    # Names are declared in this project, paths and hours are quoted.
    scans = [f"SELECT {columns} FROM {read_files(files, uneven=uneven)} AS f" for files in cold]  # noqa: S608
    hours = f"f.hour >= {quoted(hot_since)} AND f.hour < {quoted(layout.SEED_HOUR)}"
    return " UNION ALL ".join([*scans, f"SELECT {columns} FROM {hot} AS f WHERE {hours}"])  # noqa: S608


def joined(stored: Stored, files: Sequence[Path], sealed_position: int, unsealed: str) -> str:
    """A table's rows in registered files up to a position, and behind it those of a table in memory."""
    columns = names(stored.columns)
    # As above: declared names, quoted paths, and a number.
    tail = f"SELECT {columns} FROM {name(unsealed)} AS f"  # noqa: S608
    if not files:
        return tail
    sealed = f"SELECT {columns} FROM {read_files(files, uneven=True)} AS f WHERE f.position <= {sealed_position}"  # noqa: S608
    return f"{sealed} UNION ALL {tail}"


def statements(sources: Mapping[str, str], only: Collection[str] = ()) -> list[str]:
    """What makes every view and macro, with comments. `sources`: for each stored table the query that yields it.

    `only`: if any, what makes these tables and views, without comments and macros.
    """
    made: list[str] = []
    for stored in STORED:
        if only and stored.name not in only:
            continue
        made.append(f"CREATE VIEW {stored.name} AS {sources[stored.name]}")
        made += (
            [] if only else _comments(stored.name, stored.description, {c.name: c.description for c in stored.columns})
        )
    for view in DERIVED:
        if only and view.name not in only:
            continue
        columns = ", ".join(map(name, view.columns))
        made.append(f"CREATE VIEW {view.name} ({columns}) AS {view.query}")
        made += [] if only else _comments(view.name, view.description, view.columns)
    for macro in () if only else MACROS:
        made.append(f"CREATE MACRO {macro.name}({macro.signature}) AS TABLE {macro.query}")
        made.append(f"COMMENT ON MACRO TABLE {macro.name} IS {quoted(macro.description)}")
    return made


def _comments(view: str, description: str, columns: Mapping[str, str]) -> list[str]:
    return [
        f"COMMENT ON VIEW {view} IS {quoted(description)}",
        *(f"COMMENT ON COLUMN {view}.{name(column)} IS {quoted(text)}" for column, text in columns.items()),
    ]
