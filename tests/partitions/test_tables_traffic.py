from __future__ import annotations

from collections.abc import Callable, Iterable

import pyarrow as pa

from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.convert import convert
from recorder.partitions.tables_traffic import TRAFFIC

Arrow = Callable[[Iterable[Message]], pa.Table]

HOUR_NS = 3600 * 10**9
START_NS = 498_692 * HOUR_NS
NEWS, NVDA, AAPL = (
    Stream("news", "finlight"),
    Stream("p", "finance_query.profile", "NVDA"),
    Stream("p", "finance_query.profile", "AAPL"),
)


def test_sums_are_by_stream_kind_mark_and_hour(arrow_of: Arrow) -> None:
    came = [
        (NEWS, Kind.DATA, Mark.INITIAL, 0, b"12345"),
        (NVDA, Kind.DATA, Mark.NONE, 1, "Ж".encode()),
        (AAPL, Kind.DATA, Mark.NONE, 2, b"x"),
        (NEWS, Kind.DATA, Mark.NONE, HOUR_NS - 2, b"1234"),
        (NEWS, Kind.REPLY, Mark.NONE, HOUR_NS - 1, b""),
        (NEWS, Kind.DATA, Mark.NONE, HOUR_NS - 1, b"\xff\xfe"),
        (NEWS, Kind.DATA, Mark.NONE, HOUR_NS, b"123"),
    ]
    messages = [
        Message(1 + n, stream, kind, mark, START_NS + after_ns, 0, 1, payload)
        for n, (stream, kind, mark, after_ns, payload) in enumerate(came)
    ]
    (result,) = convert(arrow_of(messages), (TRAFFIC,))
    shown = result.rows.select(
        ["position", "channel", "kind", "mark", "initial", "first_position", "messages", "bytes"]
    )
    assert [tuple(row.values()) for row in shown.to_pylist()] == [
        (1, "", "data", "initial", True, 1, 1, 5),
        (2, "NVDA", "data", None, False, 2, 1, 2),
        (3, "AAPL", "data", None, False, 3, 1, 1),
        (5, "", "reply", None, False, 5, 1, 0),
        (6, "", "data", None, False, 4, 2, 6),
        (7, "", "data", None, False, 7, 1, 3),
    ]
    first_ns, last_ns = (result.rows[name].cast(pa.int64())[4].as_py() for name in ("first_at", "received_at"))
    assert (first_ns, last_ns) == (START_NS + HOUR_NS - 2, START_NS + HOUR_NS - 1)


def test_nothing_sums_to_nothing(arrow_of: Arrow) -> None:
    (result,) = convert(arrow_of([Message(1, NEWS, Kind.DATA, Mark.NONE, 1, 0, 1, b"")]).slice(1), (TRAFFIC,))
    assert result.rows.equals(TRAFFIC.schema.empty_table())
