"""From messages to typed rows: at sealing, for what is not sealed yet, and for a rebuild from Parquet. Pure.

In: an Arrow table of `messages`. Out: one Arrow table for each typed table, and counts. Nothing here raises for what
an upstream sent: a frame that is no JSON or has not its feed's shape has no typed row and counts as unparsed; a value
that is not what its column declares is NULL and counts as unread. Both are in `messages` still, and a better
declaration finds them there.

Frames are parsed by the thousand in one call, once for all tables of a feed kind.
"""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from recorder.message import Mark
from recorder.partitions.schema import COMMON, INITIAL, ORIGIN, Column, Row, Table

SLICE_FRAMES = 4096
SLICE_BYTES = 2 << 20  # of JSON; parsed, it takes some ten times as much

# Stands between frames that are parsed together. Nobody else knows it, so where it is every second element of the
# result, no two broken frames can have been read as whole ones ('[1' and '2]' are not '[1,2]').
_BETWEEN = secrets.token_hex(8)
_JOIN = f',"{_BETWEEN}",'

_BROKEN = object()  # a frame that is no JSON
_MISSHAPEN = (TypeError, LookupError, ValueError, AttributeError)


@dataclass(slots=True)
class Typed:
    """What one table got out of the messages."""

    table: Table
    rows: pa.Table
    unparsed: int = 0  # frames without the feed's shape
    unread: Counter[str] = field(default_factory=Counter)  # column: values that were there and are NULL now


def convert(messages: pa.Table, tables: Sequence[Table]) -> list[Typed]:
    """The rows of `tables` that `messages` (rows in the schema of that name) hold, in order of position."""
    typed = [Typed(table, _summed(table, messages)) for table in tables]
    for piece in _slices(messages):
        made: dict[str, list[pa.Table]] = {table.name: [] for table in tables}
        for kind, feed_kind, frames in _sources(piece):
            wanting = [
                t for t in typed if t.table.kind.word == kind and t.table.takes(feed_kind) and not t.table.summed
            ]
            if wanting:
                parsed, channels = _parse(frames["text"]), frames["channel"].to_pylist()
                for result in wanting:
                    made[result.table.name].append(_rows(result, frames, parsed, channels))
        for result in typed:
            rows = [some for some in made[result.table.name] if some.num_rows]
            # Several feed kinds may feed one table (headlines): put their rows back into order.
            ordered = pa.concat_tables(rows).sort_by("position") if len(rows) > 1 else rows[0] if rows else None
            if ordered is not None:
                result.rows = pa.concat_tables([result.rows, ordered])
    return typed


def _summed(table: Table, messages: pa.Table) -> pa.Table:
    """The rows of a table that is made of columns, none of any other."""
    if table.summed is None or not messages.num_rows:
        return table.schema.empty_table()
    sums = table.summed(messages)
    return (
        sums.append_column(INITIAL.name, _marked(sums["mark"], Mark.INITIAL))
        .select(table.schema.names)
        .cast(table.schema)
    )


def _slices(messages: pa.Table) -> Iterator[pa.Table]:
    """Cut into pieces of at most SLICE_FRAMES rows and about SLICE_BYTES of text."""
    lengths = pc.fill_null(pc.binary_length(messages["text"]), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int64())).to_pylist()
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, min(start + SLICE_FRAMES, bisect_right(ends, before + SLICE_BYTES)))
        yield messages.slice(start, stop - start)
        start = stop


def _sources(messages: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """The messages that can be parsed, by kind and kind of feed."""
    usable = pc.and_(pc.is_valid(messages["text"]), pc.invert(_marked(messages["mark"], Mark.ODD)))
    there = messages.select(["kind", "feed_kind"]).group_by(["kind", "feed_kind"], use_threads=False).aggregate([])
    for row in there.to_pylist():
        of_kind = pc.and_(pc.equal(messages["kind"], row["kind"]), pc.equal(messages["feed_kind"], row["feed_kind"]))
        frames = messages.filter(pc.and_(usable, of_kind))
        if frames.num_rows:
            yield row["kind"], row["feed_kind"], frames


def _parse(texts: pa.ChunkedArray) -> list[Any]:
    """Every frame as JSON, or _BROKEN."""
    array = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
    together = pc.binary_join(pa.ListArray.from_arrays([0, len(array)], array), _JOIN)[0].as_py()
    try:
        elements = orjson.loads(f"[{together}]")
    except ValueError:
        elements = []
    if len(elements) == 2 * len(array) - 1 and elements[1::2].count(_BETWEEN) == len(array) - 1:
        frames: list[Any] = elements[::2]
        return frames
    return [_parse_one(text) for text in array.to_pylist()]


def _parse_one(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return _BROKEN


def _rows(result: Typed, messages: pa.Table, frames: list[Any], channels: list[str]) -> pa.Table:
    """The rows of one table from parsed frames; `messages` are the frames' own rows."""
    table = result.table
    rows: list[Row] = []
    owners: list[int] = []
    for owner, (frame, channel) in enumerate(zip(frames, channels, strict=True)):
        try:
            if frame is _BROKEN:
                raise ValueError
            found = list(table.rows(frame, channel))
        except _MISSHAPEN:
            result.unparsed += 1
            continue
        rows += found
        owners += [owner] * len(found)
    said = [column for column in (*COMMON, *table.carried) if column not in (INITIAL, ORIGIN)]
    # Only what is wanted: every row would drag a copy of its whole frame along.
    owned = messages.select([column.name for column in said]).take(pa.array(owners, pa.int64()))
    known = {column.name: owned[column.name] for column in said}
    known[INITIAL.name] = _marked(owned["mark"], Mark.INITIAL)
    known[ORIGIN.name] = pc.if_else(_marked(owned["mark"], Mark.REST), "rest", "wire")
    own = {column.name: _values(column, rows, result.unread, owned) for column in table.own}
    return pa.table([(known | own)[column.name] for column in table.columns], schema=table.schema)


def _values(column: Column, rows: list[Row], unread: Counter[str], owned: pa.Table) -> pa.Array:
    """One column of the rows; `owned` are their messages."""
    given = [row.get(column.origin) for row in rows]
    array = _before(owned, given, column) if column.ago else _array(given, column)
    lost = array.null_count - given.count(None)
    if lost:
        unread[column.name] += lost
    return array


def _before(owned: pa.Table, given: list[Any], column: Column) -> pa.ChunkedArray:
    received_ns = owned["received_at"].cast(pa.int64())
    return pc.subtract(received_ns, pa.array(map(column.reader, given), pa.int64())).cast(column.type)


def _array(given: list[Any], column: Column) -> pa.Array:
    if column.read is None and column.type in (pa.string(), pa.bool_()):
        try:
            return pa.array(given, column.type)  # the JSON values are the column's: no call for each
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            pass  # one of them is not
    return pa.array(list(map(column.reader, given)), column.type)


def _marked(mark: pa.ChunkedArray, flag: Mark) -> pa.ChunkedArray:
    """Whether the words of a mark name this one."""
    return pc.fill_null(pc.match_substring(mark, str(flag.words)), False)
