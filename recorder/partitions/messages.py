"""Journal groups as one Arrow table of messages. Pure.

In: groups in order of position. Out: rows in the schema of `messages`. The columns are the groups' own buffers, put one
after the other; no Python object is made for a message as long as every payload is UTF-8.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from recorder.journal.group import Group
from recorder.message import Kind, Mark, Stream
from recorder.partitions.schema import MESSAGES_SCHEMA, MOMENT

_KIND_WORDS = pa.array([Kind(number).word for number in range(len(Kind))], pa.string())
_MARK_WORDS = pa.array([Mark(bits).words for bits in range(sum(Mark) + 1)], pa.string())


def table_of(groups: Sequence[Group]) -> pa.Table:
    """Every message of the groups, one row each."""
    if not groups:
        return MESSAGES_SCHEMA.empty_table()
    streams: dict[Stream, int] = {}
    pieces = [_columns(group, streams) for group in groups]
    position, received_ns, monotonic_ns, connection, payload, stream, kind, mark = (
        pa.concat_arrays(column) for column in zip(*pieces, strict=True)
    )
    text, other = _text_or_bytes(payload)
    return pa.table(
        [
            position,
            received_ns.cast(MOMENT),
            monotonic_ns,
            _words([s.feed for s in streams]).take(stream),
            _words([s.feed_kind for s in streams]).take(stream),
            _words([s.channel for s in streams]).take(stream),
            _KIND_WORDS.take(kind),
            connection,
            _MARK_WORDS.take(pc.bit_wise_and(mark, len(_MARK_WORDS) - 1)),
            text,
            other,
        ],
        schema=MESSAGES_SCHEMA,
    )


def _columns(group: Group, streams: dict[Stream, int]) -> list[pa.Array]:
    """The group's buffers as Arrow arrays, its streams numbered as in `streams`."""
    n = group.count
    numbers = pa.array([streams.setdefault(stream, len(streams)) for stream in group.streams], pa.int32())
    return [
        pa.array(range(group.first_position, group.first_position + n), pa.int64()),
        _plain(pa.int64(), group.received_ns, n),
        _plain(pa.int64(), group.monotonic_ns, n),
        _plain(pa.int64(), group.connection, n),
        pa.Array.from_buffers(pa.binary(), n, [None, pa.py_buffer(group.offsets), pa.py_buffer(group.payload)]),
        numbers.take(_plain(pa.uint16(), group.stream_index, n)),
        _plain(pa.uint8(), group.kind, n),
        _plain(pa.uint8(), group.mark, n),
    ]


def _plain(of: pa.DataType, buffer: memoryview[int] | bytes, count: int) -> pa.Array:
    return pa.Array.from_buffers(of, count, [None, pa.py_buffer(buffer)])


def _words(words: list[str]) -> pa.Array:
    return pa.array(words, pa.string())


def _text_or_bytes(payload: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Payloads that are UTF-8 as text, the others as bytes; NULL where it is the other one."""
    try:
        return payload.cast(pa.string()), pa.nulls(len(payload), pa.binary())
    except pa.ArrowInvalid:
        given = payload.to_pylist()
    texts = [_decoded(value) for value in given]
    others = [value if text is None else None for value, text in zip(given, texts, strict=True)]
    return pa.array(texts, pa.string()), pa.array(others, pa.binary())


def _decoded(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None
