"""What a table is: its columns with type, unit and origin, and how they are written. Pure.

One declaration a table; from it come the Arrow schema, the encodings in Parquet, the views with their comments and the
test against real frames. Times are naive `timestamp[ns]` in UTC: the zoned kind breaks `time_bucket` in DuckDB 2.0.

Encodings as measured over an hour of quotes: zstd 3 with delta-encoded positions and times and no dictionary on text is
15.4 bytes a message against 20.0 by default and 23.4 for NDJSON under zstd 3; data pages of 4 MiB make it 13.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from recorder import __version__
from recorder.message import Kind
from recorder.partitions import numbers

SCHEMA_VERSION = 2  # of all tables together; files of every version stay readable. 1: headlines without moments
META_SCHEMA = b"recorder.schema_version"
META_WRITER = b"recorder.writer_version"
META_TABLE = b"recorder.table"

MOMENT = pa.timestamp("ns")

Read = Callable[[Any], Any]
Row = Mapping[str, Any]


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _flag(value: Any) -> bool | None:
    return value if type(value) is bool else None


# How a JSON value becomes a value of a type, unless a column says otherwise. None of them raises.
READERS: dict[pa.DataType, Read] = {
    pa.string(): _text,
    pa.bool_(): _flag,
    pa.float64(): numbers.number,
    pa.int64(): numbers.whole,
    pa.int32(): numbers.short,
    MOMENT: numbers.moment_ns,
    pa.date32(): numbers.day,
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `origin` is the key in the upstream's object, or who knows it."""

    name: str
    type: pa.DataType
    description: str
    origin: str
    read: Read | None = None  # from JSON to the column's value; None: the reader of its type
    encoding: Literal["dictionary", "delta", "plain"] = "dictionary"  # plain: long texts that hardly repeat
    ago: bool = False  # what is read is how many ns before `received_at` it was

    @property
    def reader(self) -> Read:
        return self.read or READERS[self.type]


def list_of(read: Read) -> Read:
    """A reader for an array, element by element."""
    return lambda value: [read(element) for element in value] if type(value) is list else None


def struct_of(columns: Sequence[Column]) -> tuple[pa.DataType, Read]:
    """The type of an object with these columns, and its reader."""
    readers = [(column.name, column.origin, column.reader) for column in columns]

    def read(value: Any) -> dict[str, Any] | None:
        return {name: to(value.get(key)) for name, key, to in readers} if type(value) is dict else None

    return pa.struct([(column.name, column.type) for column in columns]), read


def an_object(value: Any) -> dict[str, Any]:
    """The JSON object that belongs here; TypeError where the frame has something else."""
    if type(value) is not dict:
        raise TypeError("no object")
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """The array of objects that belongs here; TypeError where the frame has something else."""
    if type(value) is not list:
        raise TypeError("no array")
    return [an_object(element) for element in value]


@dataclass(frozen=True, slots=True)
class Table:
    """One typed table.

    `rows(frame, channel)` takes a parsed frame apart into objects that `origin` is looked up in. It may raise
    TypeError, LookupError, ValueError or AttributeError for a frame that has not the feed's shape.
    """

    name: str
    description: str
    feed_kinds: tuple[str, ...]  # () for every kind
    own: tuple[Column, ...]
    rows: Callable[[Any, str], Iterable[Row]]
    kind: Kind = Kind.DATA
    carried: tuple[Column, ...] = ()  # columns of `messages` that stand in every row, beside COMMON
    clustered_by: tuple[str, ...] = ()  # what stands together in a day's file, where a frame has many rows
    summed: Callable[[pa.Table], pa.Table] | None = None  # made of the columns of `messages`; `rows` is not asked then

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*COMMON, *self.carried, *self.own)

    @property
    def schema(self) -> pa.Schema:
        return arrow_schema(self.name, self.columns)

    def takes(self, feed_kind: str) -> bool:
        return not self.feed_kinds or feed_kind in self.feed_kinds


def arrow_schema(table: str, columns: Iterable[Column]) -> pa.Schema:
    """Columns as Arrow fields, with schema version, writer version and table name as key-value metadata."""
    return pa.schema(
        [pa.field(column.name, column.type) for column in columns],
        metadata={
            META_SCHEMA: str(SCHEMA_VERSION).encode(),
            META_WRITER: __version__.encode(),
            META_TABLE: table.encode(),
        },
    )


POSITION = Column("position", pa.int64(), "number of the message, dense over all feeds", "recorder", encoding="delta")
RECEIVED_AT = Column("received_at", MOMENT, "when it arrived, UTC, never going back", "recorder", encoding="delta")
FEED = Column("feed", pa.string(), "name of the feed in config.toml", "recorder")
FEED_KIND = Column("feed_kind", pa.string(), "kind of the feed: finlight, finance_query.quotes, …", "recorder")
CHANNEL = Column("channel", pa.string(), "what of the feed, where it has several: the symbol of a profile", "recorder")
CONNECTION = Column("connection", pa.int64(), "number of the connection it came from, 0 for none", "recorder")
MARK = Column("mark", pa.string(), "initial, double, odd, binary, variant, rest, joined by +; NULL: none", "recorder")
INITIAL = Column("initial", pa.bool_(), "from the snapshot sent at subscription: not news", "recorder")
ORIGIN = Column("origin", pa.string(), "wire: as it was sent; rest: fetched later to fill a gap", "recorder")

COMMON = (POSITION, RECEIVED_AT, FEED, MARK, INITIAL)  # what every typed row says of its message

MESSAGES = "messages"
MESSAGES_DESCRIPTION = "Every frame as it arrived, verbatim, and the recorder's own entries: what all else is made of"
MESSAGE_COLUMNS = (
    POSITION,
    RECEIVED_AT,
    Column("monotonic_ns", pa.int64(), "monotonic clock at arrival, ns since boot", "recorder", encoding="delta"),
    FEED,
    FEED_KIND,
    CHANNEL,
    Column("kind", pa.string(), "data, reply (about the connection) or lifecycle (the recorder's)", "recorder"),
    CONNECTION,
    MARK,
    Column("text", pa.string(), "the frame, byte for byte; NULL where it is not UTF-8", "the frame", encoding="plain"),
    Column("bytes", pa.binary(), "the frame where it is not UTF-8, else NULL", "the frame", encoding="plain"),
)
MESSAGES_SCHEMA = arrow_schema(MESSAGES, MESSAGE_COLUMNS)

DATA_PAGE_BYTES = 4 << 20
PAGE_CUT_ROWS = 64  # a page may end behind so many rows: with Arrow's 1,024, one of /market's frames would have 43 MB
ROW_GROUP_ROWS = 122_880  # free choice between 10 k and 360 k by measurement; DuckDB's own, so its threads divide well
FAST_LEVEL = 3  # of zstd, for what is soon written anew


def write(table: pa.Table, columns: Iterable[Column], path: Path) -> None:
    """Write one Parquet file with the measured encodings. The same table gives the same bytes."""
    pq.write_table(table, path, row_group_size=ROW_GROUP_ROWS, **how_to_write(columns, FAST_LEVEL))


def how_to_write(columns: Iterable[Column], level: int, *, clustered: bool = False) -> dict[str, Any]:
    """What pyarrow's writers are told. `level` is zstd's; `clustered`: rows are not in order of position."""
    columns = tuple(columns)
    plain = [column.name for column in columns if column.encoding == "plain"]
    # Clustered, the same times come for each symbol anew, and plain, zstd finds them: 0.5 bytes a row, where a
    # dictionary takes 0.7 and differences 0.9.
    encodings = {c.name: "plain" if clustered and c is RECEIVED_AT else c.encoding for c in columns}
    dictionary = [c for c in columns if encodings[c.name] == "dictionary"]
    return {
        "compression": "zstd",
        "compression_level": level,
        "use_dictionary": [leaf for c in dictionary for leaf in _leaves(c.name, c.type)],
        "column_encoding": {name: "DELTA_BINARY_PACKED" for name, how in encodings.items() if how == "delta"},
        # Least and greatest of a long text serve no query, and would be kept in the file's footer.
        "write_statistics": [leaf for c in columns if c.name not in plain for leaf in _leaves(c.name, c.type)],
        "data_page_size": DATA_PAGE_BYTES,
        # Arrow's 20,000 would keep zstd from seeing more of a column: of clustered quotes a tenth more bytes.
        "max_rows_per_page": ROW_GROUP_ROWS,
        "write_batch_size": PAGE_CUT_ROWS,
        "write_page_checksum": True,
    }


def _leaves(path: str, of: pa.DataType) -> Iterator[str]:
    """The names Parquet gives the leaves of a nested column."""
    if pa.types.is_list(of):
        yield from _leaves(f"{path}.list.element", of.value_type)
    elif pa.types.is_struct(of):
        for child in of:
            yield from _leaves(f"{path}.{child.name}", child.type)
    else:
        yield path
