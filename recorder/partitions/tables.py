"""All typed tables, and what the recorder's own entries become. Pure.

A new table is one declaration, entered in TABLES; schema, sealing, views, comments and the rebuild follow from it.
`lifecycle` holds the recorder's entries as they are; `connections` and `gaps` are views that reduce them (views.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from recorder.message import Kind
from recorder.partitions.numbers import integer
from recorder.partitions.schema import CHANNEL, CONNECTION, FEED_KIND, MOMENT, Column, Row, Table
from recorder.partitions.tables_finance_query import FINANCE_QUERY_TABLES
from recorder.partitions.tables_finlight import ARTICLES
from recorder.partitions.tables_traffic import TRAFFIC

_TEXT = pa.string()


def _entry(frame: Any, _channel: str) -> Iterable[Row]:
    if type(frame["event"]) is not str:
        raise TypeError("no event")
    return (frame,)


LIFECYCLE = Table(
    "lifecycle",
    "The recorder's own entries: connections, rotations, gaps, starts and stops, alarms",
    (),
    (
        Column("event", _TEXT, "dotted name: connection.opened, gap.closed, feed.error, …", "event"),
        Column("cause", _TEXT, "why", "cause"),
        Column("since_at", MOMENT, "gap: since when the feed was not provably receiving, UTC", "since_ns", integer),
        Column("until_at", MOMENT, "gap: until when, UTC", "until_ns", integer),
        Column("purpose", _TEXT, "connection: start, redial, rotation or poll", "purpose"),
        Column("url", _TEXT, "connection: what was dialled", "url"),
        Column("handshake_ms", pa.float64(), "connection: from dialling to the handshake's end, ms", "handshake_ms"),
        Column("after_ms", pa.float64(), "connection: from dialling to the first proof of life, ms", "after_ms"),
        Column("status", pa.int32(), "connection: HTTP status that refused the handshake", "status"),
        Column("retry_s", pa.float64(), "connection: seconds until the next dialling at the earliest", "retry_s"),
        Column("error", _TEXT, "connection: why there was no answer", "error"),
        Column("code", pa.int32(), "connection: close code", "code"),
        Column("reason", _TEXT, "connection: close reason", "reason"),
        Column("by", _TEXT, "connection: who closed it, us or upstream", "by"),
        Column("frames", pa.int64(), "connection: frames received", "frames"),
        Column("bytes", pa.int64(), "connection: bytes of the frames received", "bytes"),
        Column("last_received_at", MOMENT, "connection: when its last frame arrived, UTC", "last_received_ns", integer),
        Column("old", pa.int64(), "rotation: number of the connection let go", "old"),
        Column("new", pa.int64(), "rotation: number of the connection that took over", "new"),
        Column("proof", _TEXT, "rotation: how it was shown that nothing was missed", "proof"),
        Column("both", pa.int64(), "rotation: messages seen on both connections", "both"),
        Column("only_old", pa.int64(), "rotation: messages seen on the old connection alone", "only_old"),
        Column("only_new", pa.int64(), "rotation: messages seen on the new connection alone", "only_new"),
        Column("variants", pa.int64(), "rotation: same identity, other text", "variants"),
        Column("overlap_ms", pa.float64(), "rotation: how long both connections received, ms", "overlap_ms"),
        Column("recovered", pa.int64(), "repair: articles missing from the recording and fetched", "recovered"),
        Column("already", pa.int64(), "repair: articles fetched and recorded before", "already"),
        Column("pages", pa.int64(), "repair: pages of articles looked at", "pages"),
        Column("late_pass", pa.bool_(), "repair: the last look, when late articles are indexed", "late_pass"),
        Column("complete", pa.bool_(), "repair: nothing that can be fetched is left out", "complete"),
        Column("repair", _TEXT, "repair: how far it went, and why no further", "repair"),
        Column("again_at", MOMENT, "repair: when it is looked at again, UTC; NULL for never", "again_ns", integer),
        Column("detail", _TEXT, "alarm: what a person should see", "detail"),
    ),
    _entry,
    kind=Kind.LIFECYCLE,
    carried=(FEED_KIND, CHANNEL, CONNECTION),
)

TABLES: tuple[Table, ...] = (ARTICLES, *FINANCE_QUERY_TABLES, LIFECYCLE, TRAFFIC)
