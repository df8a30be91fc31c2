"""How much came when: sums over `messages`, made beside them at sealing. Pure.

In: messages as an Arrow table. Out: one row for each stream, kind and mark in it and hour it touches. `coverage` is
made of them: to count a month from `messages` itself would mean to read every text again for its length, 22 GB of it
from /market alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from recorder.partitions.layout import HOUR_NS
from recorder.partitions.schema import CHANNEL, FEED_KIND, MOMENT, Column, Table

_STREAM = ["hour", "feed", "feed_kind", "channel", "kind", "mark"]


def _sums(messages: pa.Table) -> pa.Table:
    """Columns as declared below, without `initial`; in order of position."""
    received_ns = messages["received_at"].cast(pa.int64())
    lengths = (pc.fill_null(pc.binary_length(messages[name]), 0).cast(pa.int64()) for name in ("text", "bytes"))
    of_each = messages.select([*_STREAM[1:], "position", "received_at"])
    of_each = of_each.append_column("hour", pc.divide(received_ns, HOUR_NS)).append_column("bytes", pc.add(*lengths))
    measures = [("position", "max"), ("position", "min"), ("received_at", "max"), ("received_at", "min")]
    sums = of_each.group_by(_STREAM, use_threads=False).aggregate([*measures, ("position", "count"), ("bytes", "sum")])
    names = {
        "position_max": "position",
        "position_min": "first_position",
        "received_at_max": "received_at",
        "received_at_min": "first_at",
        "position_count": "messages",
        "bytes_sum": "bytes",
    }
    return sums.rename_columns([names.get(name, name) for name in sums.column_names]).sort_by("position")


def together(sums: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows of `traffic` as one would have it that was made of all their messages at once; nothing for none."""
    several = list(sums)
    if not several:
        return
    rows = pa.concat_tables(several)
    rows = rows.append_column("hour", pc.divide(rows["received_at"].cast(pa.int64()), HOUR_NS))
    how = {"position": "max", "first_position": "min", "received_at": "max", "first_at": "min"}
    how |= {"messages": "sum", "bytes": "sum"}
    summed = rows.group_by([*_STREAM, "initial"], use_threads=False).aggregate(list(how.items()))
    named = summed.rename_columns(
        [name.removesuffix(f"_{how.get(name.rsplit('_', 1)[0])}") for name in summed.column_names]
    )
    yield named.select(TRAFFIC.schema.names).cast(TRAFFIC.schema).sort_by("position")


TRAFFIC = Table(
    "traffic",
    "How many messages came, one row a stream, kind, mark and stretch of at most an hour, at its last position",
    (),
    (
        Column("kind", pa.string(), "data, reply (about the connection) or lifecycle (the recorder's)", "recorder"),
        Column("first_position", pa.int64(), "of the first of these messages", "recorder", encoding="delta"),
        Column("first_at", MOMENT, "when the first of them arrived, UTC", "recorder", encoding="delta"),
        Column("messages", pa.int64(), "how many they are", "recorder"),
        Column("bytes", pa.int64(), "of their frames, together", "recorder"),
    ),
    rows=lambda _frame, _channel: (),
    carried=(FEED_KIND, CHANNEL),
    summed=_sums,
)
