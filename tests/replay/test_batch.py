from __future__ import annotations

import pyarrow as pa
import pytest

from recorder.clock import Moment
from recorder.journal.group import GroupBuilder, unpack
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.messages import table_of
from recorder.replay.batch import BATCH_SCHEMA, handed_out, messages
from recorder.replay.selection import Selection

STREAMS = (
    Stream("prices", "finance_query.quotes"),
    Stream("profiles", "finance_query.profile", "ÄÖ-1"),
    Stream("n", "x"),
)
PAYLOADS = (b"[]", "“quoted” 🔔".encode(), b"", b"\xff\xfe\x00binary", b"x" * 300, b'{"a":"\\u0000"}')
EXPECTED = [
    Message(
        position,
        STREAMS[position % 3],
        Kind(position % 3),
        Mark(position % 32),
        1_795_291_140_123_456_789 + position,
        7 * position,
        position % 5,
        PAYLOADS[position % 6],
    )
    for position in range(1, 201)
]


def rows(expected: list[Message]) -> pa.RecordBatch:
    """As the store and Parquet have them."""
    builder = GroupBuilder(expected[0].position)
    for m in expected:
        builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, Moment(m.received_ns, m.monotonic_ns))
    (read,) = table_of([unpack(builder.pack(), expected[0].position)]).to_batches()
    return read


def test_messages_are_what_was_recorded_in_every_field_and_type() -> None:
    (batch,) = handed_out(rows(EXPECTED), 0, 1000, Selection(), 1000, 1 << 20)
    found = list(messages(batch))
    assert found == EXPECTED
    assert {(type(m.kind), type(m.mark), type(m.payload), type(m.position)) for m in found} == {
        (Kind, Mark, bytes, int)
    }


def test_any_slice_gives_its_own_messages() -> None:
    (batch,) = handed_out(rows(EXPECTED), 0, 1000, Selection(), 1000, 1 << 20)
    for start, count in ((0, 0), (0, 1), (199, 1), (3, 50), (77, 123), (200, 0)):
        assert list(messages(batch.slice(start, count))) == EXPECTED[start : start + count]


def test_rows_that_are_all_text_or_all_bytes_are_messages_too() -> None:
    for wanted in (b"[]", b"\xff\xfe\x00binary"):
        same = [m for m in EXPECTED if m.payload == wanted]
        (batch,) = handed_out(rows(EXPECTED), 0, 1000, Selection(), 1000, 1 << 20)
        mask = pa.array([m.payload == wanted for m in EXPECTED])
        assert list(messages(batch.filter(mask))) == same


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 300), (1, 200), (50, 60), (200, 200), (201, 300), (60, 50)])
def test_only_wanted_positions_are_handed_out(first: int, last: int) -> None:
    found = handed_out(rows(EXPECTED), first, last, Selection(), 1000, 1 << 20)
    assert [m for batch in found for m in messages(batch)] == [m for m in EXPECTED if first <= m.position <= last]


def test_cutting_to_size_copies_nothing_and_keeps_order() -> None:
    read = rows(EXPECTED)
    (whole,) = handed_out(read, 0, 1000, Selection(), 1000, 1 << 20)
    pieces = list(handed_out(read, 0, 1000, Selection(), 64, 2000))
    assert [m for piece in pieces for m in messages(piece)] == EXPECTED
    assert all(piece.num_rows <= 64 and (piece.nbytes <= 2000 or piece.num_rows == 1) for piece in pieces)
    text = {piece["text"].buffers()[2].address for piece in pieces}
    assert text == {whole["text"].buffers()[2].address}


def test_every_batch_has_the_schema_that_is_promised() -> None:
    (batch,) = handed_out(rows(EXPECTED), 0, 1000, Selection(), 1000, 1 << 20)
    batch.validate(full=True)
    assert batch.schema.equals(BATCH_SCHEMA)
    assert batch["received_ns"].to_pylist() == [m.received_ns for m in EXPECTED]
