from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.journal.group import Group
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.messages import table_of
from recorder.partitions.schema import MESSAGES_SCHEMA

Make = Callable[[Iterable[Message]], Group]

streams = st.builds(Stream, st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
drafts = st.tuples(streams, st.sampled_from(Kind), st.integers(0, 31).map(Mark), st.binary(max_size=20))


def rows_of(table: pa.Table) -> list[Message]:
    columns = table.set_column(1, "received_ns", table["received_at"].cast(pa.int64())).to_pylist()
    kinds = {kind.word: kind for kind in Kind}
    marks = {Mark(bits).words: Mark(bits) for bits in range(32)}
    return [
        Message(
            row["position"],
            Stream(row["feed"], row["feed_kind"], row["channel"]),
            kinds[row["kind"]],
            marks[row["mark"]],
            row["received_ns"],
            row["monotonic_ns"],
            row["connection"],
            row["bytes"] if row["text"] is None else row["text"].encode(),
        )
        for row in columns
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(drafts, min_size=1, max_size=5), max_size=4))
def test_every_message_of_every_group_is_one_row_byte_for_byte(
    group_of: Make, groups: list[list[tuple[Stream, Kind, Mark, bytes]]]
) -> None:
    position, given_messages, packed = 5, [], []
    for group in groups:
        messages = [
            Message(position + at, stream, kind, mark, 10**18 + at, at, at, payload)
            for at, (stream, kind, mark, payload) in enumerate(group)
        ]
        position += len(group)
        given_messages += messages
        packed.append(group_of(messages))
    table = table_of(packed)
    assert table.schema.equals(MESSAGES_SCHEMA, check_metadata=True)
    assert rows_of(table) == given_messages


def test_what_is_not_utf8_is_bytes_and_its_neighbours_are_text(group_of: Make) -> None:
    stream = Stream("news", "finlight")
    payloads = [b"{}", b"\xff\xfe", "größe".encode(), b"", b"\xed\xa0\x80"]
    group = group_of(
        Message(1 + at, stream, Kind.DATA, Mark.NONE, 1, 1, 1, payload) for at, payload in enumerate(payloads)
    )
    table = table_of([group])
    assert table["text"].to_pylist() == ["{}", None, "größe", "", None]
    assert table["bytes"].to_pylist() == [None, b"\xff\xfe", None, None, b"\xed\xa0\x80"]
