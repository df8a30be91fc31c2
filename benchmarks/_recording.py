"""A recording of millions of messages, made in seconds: the real layout, writer of Parquet, registry and journal.

In: how many messages, in how many hours. Out: a data directory as a recorder would leave it, an hour a part, of quotes
of 250 bytes, one symbol a frame, evenly spread in time. Made column by column, and not synced: it is for reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recorder.clock import SECOND_NS
from recorder.journal.registry import Part
from recorder.journal.standing import Standing, StreamStanding
from recorder.journal.store import Store
from recorder.message import Stream
from recorder.partitions import layout, schema
from recorder.partitions.convert import convert
from recorder.partitions.schema import MESSAGE_COLUMNS, MESSAGES, MESSAGES_SCHEMA, MOMENT
from recorder.partitions.tables import TABLES

MESSAGE_BYTES = 250
START_NS = 1_793_491_200 * SECOND_NS  # 2026-11-01
SYMBOLS = tuple(f"{first}{second}X" for first in "ABCDEFGHIJ" for second in "ABCDEFGHIJ")
STREAM = Stream("prices", "finance_query.quotes")


@dataclass(frozen=True, slots=True)
class Made:
    """What was made; times are ns UTC."""

    messages: int
    first_ns: int
    last_ns: int
    parts: list[Part]
    file_bytes: int


def make(data: Path, messages: int, hours: int) -> Made:
    """Fill `data` with sealed messages 1 to `messages`."""
    parts = list(_parts(data, messages, hours))
    with closing(Store.open(data)) as store:
        standing = Standing(messages, parts[-1].last_received_ns, streams={STREAM: StreamStanding()})
        store.register(parts, messages, standing)
    return Made(
        messages,
        parts[0].first_received_ns,
        parts[-1].last_received_ns,
        parts,
        sum(part.byte_count for part in parts),
    )


def received_ns(position: int, messages: int, hours: int) -> int:
    """When that message was received."""
    return START_NS + (position - 1) * (hours * layout.HOUR_NS // messages)


def texts(first: int, count: int) -> pa.Array:
    """Frames of MESSAGE_BYTES, quotes of one symbol each; the same ones for the same positions is nobody's need."""
    symbol = pa.array(SYMBOLS).take(pc.bit_wise_and(_numbers(first, count), 63))
    cents = _dice(count, 100_000)
    fraction = pc.ascii_lpad(_text(pc.subtract(cents, pc.multiply(pc.divide(cents, 100), 100))), 2, "0")
    price = pc.binary_join_element_wise(_text(pc.divide(cents, 100)), fraction, ".")
    change = _text(_dice(count, 90))
    pieces = (
        *('[{"symbol":"', symbol, '","name":"', symbol, ' Holdings, Inc.","price":"', price, '","change":"+0.', change),
        *('","percentChange":"+0.', change, '%","logo":"https://img.example.com/ticker/', symbol, "?token="),
    )
    row = pc.ascii_rpad(pc.binary_join_element_wise(*pieces, ""), MESSAGE_BYTES - 3, "x")
    return pc.binary_join_element_wise(row, '"}]', "")


def table(first: int, count: int, messages: int, hours: int) -> pa.Table:
    """Rows of `messages` from a position on."""
    position = _numbers(first, count)
    since_start = pc.multiply(pc.subtract(position, 1), hours * layout.HOUR_NS // messages)
    return pa.table(
        [
            position,
            pc.add(since_start, START_NS).cast(MOMENT),
            since_start,
            *(pa.repeat(word, count) for word in (STREAM.feed, STREAM.feed_kind, STREAM.channel, "data")),
            pa.repeat(pa.scalar(1, pa.int64()), count),
            pa.nulls(count, pa.string()),
            texts(first, count),
            pa.nulls(count, pa.binary()),
        ],
        schema=MESSAGES_SCHEMA,
    )


def _parts(data: Path, messages: int, hours: int) -> Iterator[Part]:
    spacing_ns = hours * layout.HOUR_NS // messages
    first = 1
    for hour in range(hours):
        end_ns = (hour + 1) * layout.HOUR_NS
        last = messages if hour == hours - 1 else min(messages, (end_ns - 1) // spacing_ns + 1)
        first_ns, last_ns = received_ns(first, messages, hours), received_ns(last, messages, hours)
        path = layout.hot_path(MESSAGES, layout.hour_of(first_ns), first, last)
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        schema.write(table(first, last - first + 1, messages, hours), MESSAGE_COLUMNS, data / path)
        byte_count = (data / path).stat().st_size
        yield Part(MESSAGES, path, "hot", first, last, first_ns, last_ns, last - first + 1, byte_count, last_ns)
        first = last + 1


def _numbers(first: int, count: int) -> pa.Array:
    return pa.array(range(first, first + count), pa.int64())


def _dice(count: int, below: int) -> pa.Array:
    return pc.cast(pc.floor(pc.multiply(pc.random(count), below)), pa.int64())


def _text(numbers: pa.Array) -> pa.Array:
    return pc.cast(numbers, pa.string())


def seal(data: Path, messages: pa.Table) -> list[Part]:
    """The files of messages of one hour, as sealing makes them, but not synced."""
    made = {MESSAGES: (messages, MESSAGE_COLUMNS)} | {
        typed.table.name: (typed.rows, typed.table.columns) for typed in convert(messages, TABLES)
    }
    first, last = messages["position"][0].as_py(), messages["position"][-1].as_py()
    times = messages["received_at"].cast(pa.int64())
    first_ns, last_ns = times[0].as_py(), times[-1].as_py()
    parts = []
    for name, (rows, columns) in made.items():
        if rows.num_rows:
            path = layout.hot_path(name, layout.hour_of(first_ns), first, last)
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            schema.write(rows, columns, data / path)
            size = (data / path).stat().st_size
            parts.append(Part(name, path, "hot", first, last, first_ns, last_ns, rows.num_rows, size, last_ns))
    return parts
