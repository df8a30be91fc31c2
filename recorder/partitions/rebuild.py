"""A typed table is made anew from `messages`: which pieces there are, and one piece made. The plan is pure.

In: the part registry, which knows how far it has come. Out: pieces of work, each a stretch of positions whose rows are
to lie in a file of a new name, in place of the one there, if there is one. Only what compaction has made is rebuilt:
what is hot was sealed within the hour and follows when that is over. Rows whose messages were let go on purpose
(`lifecycle` outlives them) stay as they are. Registering the files and deleting the old ones is upkeep.py's job.

If the power fails in here, a file is left that nobody is told of.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder import disk
from recorder.errors import RequestInvalid
from recorder.journal.registry import Part, Rebuilding
from recorder.partitions import layout, schema
from recorder.partitions.convert import convert
from recorder.partitions.merge import Made, read
from recorder.partitions.schema import MESSAGES, POSITION, Table
from recorder.partitions.tables import TABLES
from recorder.partitions.tables_traffic import together

ASKED_FILE = "_rebuild.json"

_TABLES = {table.name: table for table in TABLES}


@dataclass(frozen=True, slots=True)
class Piece:
    """Positions first to last of one table, made of `messages`, in place of `old`."""

    table: str
    path: str
    first_position: int
    last_position: int
    messages: tuple[Part, ...]
    old: Part | None
    let_go: int = 0  # rows of `old` up to this position have no messages any more

    @property
    def retired(self) -> list[Part]:
        return [self.old] if self.old else []

    @property
    def byte_count(self) -> int:
        """Of the files it may leave on the disk: as large as the old one, or as the messages it is made of."""
        return self.old.byte_count if self.old else sum(part.byte_count for part in self.messages)


@dataclass(frozen=True, slots=True)
class Asked:
    """A file in the data directory that says which tables whoever records is to make anew."""

    file: Path
    tables: tuple[str, ...]

    def done(self) -> None:
        """It is on record elsewhere."""
        self.file.unlink(missing_ok=True)


def ask(data: Path, tables: Sequence[str]) -> None:
    """Ask the recorder of a data directory to make these tables anew. Raises RequestInvalid, or OSError."""
    names = known(tables)

    def write(aside: Path) -> None:
        aside.write_bytes(orjson.dumps(names))

    disk.publish(data / ASKED_FILE, write)


def asked(data: Path) -> Asked | None:
    """What was asked for and is not on record yet: no table where the file holds anything else."""
    file = data / ASKED_FILE
    try:
        names = orjson.loads(file.read_bytes())
        return Asked(file, tuple(known(names)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Asked(file, ())


def known(tables: Sequence[str]) -> list[str]:
    """The tables that are meant, all for none. Raises RequestInvalid."""
    for table in tables:
        if table not in _TABLES:
            raise RequestInvalid("table", table, f"made of messages are {', '.join(_TABLES)}")
    return list(tables or _TABLES)


def plan(parts: Sequence[Part], table: str, how: Rebuilding, let_go: int, taken: Container[str]) -> list[Piece]:
    """What can be made now, by position. `taken`: names of files that were replaced. Pure.

    Pieces are as long as the files that are there. Where there are messages and no file, there may be rows by now.
    """
    ordered = sorted(parts, key=lambda part: (part.first_position, part.last_position))
    of_table = [part for part in ordered if part.table_name == table and not layout.is_hot(part.path)]
    messages = [part for part in ordered if part.table_name == MESSAGES and not layout.is_hot(part.path)]
    pieces = []
    for old in of_table:
        made_of = tuple(_overlapping(messages, max(let_go + 1, old.first_position), old.last_position))
        if made_of:
            path = layout.anew(old.path, {old.path})
            pieces.append(Piece(table, path, old.first_position, old.last_position, made_of, old, let_go))
    for part in messages:
        for first, last in _between(part, _overlapping(of_table, part.first_position, part.last_position)):
            path = layout.anew(layout.beside(part.path, table, first, last), taken)
            pieces.append(Piece(table, path, first, last, (part,), None))
    pieces.sort(key=lambda piece: piece.first_position)
    return [piece for piece in pieces if piece.last_position > how.done and piece.first_position <= how.until]


def hot_messages(parts: Sequence[Part], how: Rebuilding) -> int:
    """How many messages of what was asked for are hot still. Pure."""
    hot = (part for part in parts if part.table_name == MESSAGES and layout.is_hot(part.path))
    return sum(part.row_count for part in hot if part.last_position > how.done and part.first_position <= how.until)


def _overlapping(parts: Sequence[Part], first: int, last: int) -> list[Part]:
    return [part for part in parts if part.last_position >= first and part.first_position <= last]


def _between(part: Part, others: Sequence[Part]) -> Iterator[tuple[int, int]]:
    """The positions of a part that none of the others, which are in order, covers."""
    first = part.first_position
    for other in others:
        if other.first_position > first:
            yield first, other.first_position - 1
        first = max(first, other.last_position + 1)
    if first <= part.last_position:
        yield first, part.last_position


def rebuild(data: Path, piece: Piece, level: int) -> list[Part]:
    """Publish and verify the file of a piece: none where there is no row.

    Raises PartDamaged for messages that are not what was sealed, OSError where the disk refuses.
    """
    pieces = partial(_rows, data, piece)
    if next(pieces(), None) is None:
        return []
    stays = layout.hour_in(piece.path) is None
    made = Made(piece.table, level if stays else schema.FAST_LEVEL, pieces, stays=stays)
    disk.publish(data / piece.path, made.write)
    pa.default_memory_pool().release_unused()
    return [made.part(piece.path, piece.first_position, piece.last_position, piece.retired or piece.messages)]


def _rows(data: Path, piece: Piece) -> Iterator[pa.Table]:
    """The rows of a piece in order of position, none empty."""
    if piece.old and piece.old.first_position <= piece.let_go:
        for rows in read(data, piece.old):
            if kept := rows.filter(pc.less_equal(rows[POSITION.name], piece.let_go)):
                yield kept
    table = _TABLES[piece.table]
    first, last = max(piece.first_position, piece.let_go + 1), piece.last_position
    made = _converted(data, piece.messages, table, first, last)
    yield from together(made) if table.summed else made


def _converted(data: Path, messages: Sequence[Part], table: Table, first: int, last: int) -> Iterator[pa.Table]:
    for part in messages:
        for rows in read(data, part, partial(_is_wanted, table, first, last)):
            position = rows[POSITION.name]
            within = rows.filter(pc.and_(pc.greater_equal(position, first), pc.less_equal(position, last)))
            (typed,) = convert(within, [table])
            if typed.rows.num_rows:
                yield typed.rows


def _is_wanted(table: Table, first: int, last: int, file: pq.ParquetFile, index: int) -> bool:
    """Whether a row group of `messages` may have anything for a table; its texts, nearly all of it, are not read."""
    columns = [POSITION.name, "feed_kind", "kind"]
    there = file.read_row_group(index, columns, use_threads=False)
    reach = pc.min_max(there[POSITION.name]).as_py()
    if reach["max"] is None or reach["max"] < first or reach["min"] > last:
        return False
    if table.summed:
        return True
    feed_kinds, kinds = (set(pc.unique(there[name]).to_pylist()) for name in columns[1:])
    return table.kind.word in kinds and any(map(table.takes, feed_kinds))
