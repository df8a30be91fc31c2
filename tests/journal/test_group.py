from __future__ import annotations

import zlib
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.clock import Moment
from recorder.errors import GroupDamaged
from recorder.journal.group import CRC, GroupBuilder, unpack
from recorder.message import Kind, Mark, Message, Stream

Batch = tuple[Stream, Kind, int, list[bytes], Mark, Moment]

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
BATCHES = st.lists(
    st.tuples(
        st.builds(Stream, NAMES, NAMES, NAMES),
        st.sampled_from(Kind),
        INT64,
        st.lists(st.binary(max_size=40), min_size=1, max_size=4),
        st.integers(0, 31).map(Mark),
        st.builds(Moment, INT64, INT64),
    ),
    min_size=1,
    max_size=8,
)


def build(first_position: int, batches: Sequence[Batch]) -> GroupBuilder:
    builder = GroupBuilder(first_position)
    for batch in batches:
        builder.add(*batch)
    return builder


def messages(first_position: int, batches: Sequence[Batch]) -> list[Message]:
    frames = [(batch, payload) for batch in batches for payload in batch[3]]
    return [
        Message(first_position + i, stream, kind, mark, moment.utc_ns, moment.monotonic_ns, connection, payload)
        for i, ((stream, kind, connection, _, mark, moment), payload) in enumerate(frames)
    ]


SMALL: list[Batch] = [
    (Stream("news", "finlight"), Kind.DATA, 1, [b'{"title":"\xc3\xa9"}', b""], Mark.NONE, Moment(10, 20)),
    (
        Stream("p", "finance_query.profile", "AAPL"),
        Kind.REPLY,
        2,
        [b"\x00\xff"],
        Mark.BINARY | Mark.ODD,
        Moment(11, 21),
    ),
]
PACKED = build(7, SMALL).pack()


@given(st.integers(1, 1 << 62), BATCHES)
def test_what_is_packed_is_what_is_unpacked(first_position: int, batches: list[Batch]) -> None:
    builder = build(first_position, batches)
    group = unpack(builder.pack(), first_position)
    expected = messages(first_position, batches)
    assert list(group) == expected
    assert (len(group), group.last_position) == (len(expected), expected[-1].position)
    assert builder.received_ns == (min(group.received_ns), max(group.received_ns))


@given(BATCHES)
def test_a_builder_knows_its_bytes(batches: list[Batch]) -> None:
    builder = build(1, batches)
    names = sum(len(f"{s.feed}{s.feed_kind}{s.channel}".encode()) * 6 + 20 for s, *_ in batches)
    assert builder.byte_count < len(builder.pack()) <= builder.byte_count + names + 100


def test_every_flipped_byte_is_detected() -> None:
    for at in range(len(PACKED)):
        for bit in range(8):
            flipped = bytearray(PACKED)
            flipped[at] ^= 1 << bit
            with pytest.raises(GroupDamaged):
                unpack(bytes(flipped), 7)


def test_every_truncation_and_extension_is_detected() -> None:
    for length in range(len(PACKED)):
        for cut in (PACKED[:length], PACKED[:length] + bytes(len(PACKED) - length), PACKED[length + 1 :]):
            if cut != PACKED:
                with pytest.raises(GroupDamaged):
                    unpack(cut, 7)
    with pytest.raises(GroupDamaged):
        unpack(PACKED + b"\0", 7)


def test_a_group_under_another_position_is_detected() -> None:
    with pytest.raises(GroupDamaged, match="begins at 7") as caught:
        unpack(PACKED, 8)
    assert caught.value.first_position == 8


@given(st.binary(max_size=200))
def test_anything_else_is_damaged_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(GroupDamaged):
        unpack(data, 1)
    with pytest.raises(GroupDamaged):
        unpack(PACKED[:40] + data, 7)


@given(st.data())
def test_nonsense_with_a_right_checksum_is_damaged_or_can_be_read(data: st.DataObject) -> None:
    body = bytearray(PACKED[:-4])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(8, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        group = unpack(bytes(body) + CRC.pack(zlib.crc32(body)), 7)
    except GroupDamaged:
        return
    assert b"".join(m.payload for m in group) == group.payload


@pytest.mark.parametrize("value", [None, "RECGROUP", 5])
def test_a_value_that_is_not_bytes_is_damaged(value: object) -> None:
    with pytest.raises(GroupDamaged):
        unpack(value, 1)  # type: ignore[arg-type]


def test_columns_are_arrow_arrays_without_a_copy() -> None:
    group = unpack(PACKED, 7)
    payloads = pa.Array.from_buffers(
        pa.binary(), group.count, [None, pa.py_buffer(group.offsets), pa.py_buffer(group.payload)]
    )
    received = pa.Array.from_buffers(pa.int64(), group.count, [None, pa.py_buffer(group.received_ns)])
    payloads.validate(full=True)
    assert payloads.to_pylist() == [m.payload for m in group]
    assert received.to_pylist() == [10, 10, 11]


def test_arrivals_tell_how_many_came_when() -> None:
    assert build(7, SMALL).arrivals() == [(20, 2), (21, 1)]
