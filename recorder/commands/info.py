"""`recorder info`: what is recorded.

In: the part registry, the journal and the columns of `messages` that are cheap to read, so never the texts. Out: feeds
with their times and numbers, tables with their sizes, and what is not sealed yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recorder.commands import show
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions.catalog import connect

FEED_COLUMNS = ("feed", "kind", "channels", "data", "replies", "entries", "first_at", "last_at")
FEEDS = """
SELECT feed, any_value(feed_kind), count(DISTINCT channel), count(*) FILTER (kind = 'data'),
    count(*) FILTER (kind = 'reply'), count(*) FILTER (kind = 'lifecycle'),
    min(epoch_ns(received_at)), max(epoch_ns(received_at))
FROM messages GROUP BY feed ORDER BY feed
"""
TABLE_COLUMNS = ("table", "parts", "rows", "bytes", "first_at", "last_at")


def main(data: Path, *, as_json: bool) -> int:
    """Raises RecorderError where nothing was recorded."""
    store = Store.open_readonly(data)
    try:
        snapshot = store.snapshot()
        parts = store.parts()
        losses = store.losses()
    finally:
        store.close()
    with connect(data) as connection:
        found = connection.execute(FEEDS).fetchall()
    feeds = [dict(zip(FEED_COLUMNS, (*rest, show.moment(a), show.moment(b)), strict=True)) for *rest, a, b in found]
    told: dict[str, Any] = {
        "data": str(data),
        "durable_position": snapshot.durable_position,
        "sealed_position": snapshot.sealed_position,
        "feeds": feeds,
        "tables": _tables(parts),
        "unsealed": {
            "messages": sum(map(len, snapshot.groups)),
            "bytes": sum(len(group.payload) for group in snapshot.groups),
        },
        "lost": [{"first_position": a, "last_position": b, "cause": cause} for a, b, cause in losses],
    }
    if as_json:
        show.json(told)
    else:
        _show(told)
    return 0


def _tables(parts: list[Part]) -> list[dict[str, Any]]:
    by_table: dict[str, list[Part]] = {}
    for part in parts:
        by_table.setdefault(part.table_name, []).append(part)
    return [
        {
            "table": table,
            "parts": len(its),
            "rows": sum(part.row_count for part in its),
            "bytes": sum(part.byte_count for part in its),
            "first_at": show.moment(min(part.first_received_ns for part in its)),
            "last_at": show.moment(max(part.last_received_ns for part in its)),
        }
        for table, its in by_table.items()
    ]


def _show(told: dict[str, Any]) -> None:
    """Fits 80 columns: moments to the minute, and what the recorder and the upstreams say of connections left out."""
    feeds = []
    for feed in told["feeds"]:
        kind = feed["kind"] if feed["channels"] == 1 else f"{feed['kind']} x {feed['channels']}"
        feeds.append((feed["feed"], kind, feed["data"], *map(_minute, (feed["first_at"], feed["last_at"]))))
    show.table(("feed", "kind", "data", "first, UTC", "last, UTC"), feeds)
    print()
    tables = [
        (t["table"], t["parts"], t["rows"], show.size(t["bytes"]), *map(_minute, (t["first_at"], t["last_at"])))
        for t in told["tables"]
    ]
    show.table(("table", "parts", "rows", "bytes", "first, UTC", "last, UTC"), tables)
    unsealed = told["unsealed"]
    print(f"\n{told['data']}: positions 1 to {told['durable_position']}, sealed up to {told['sealed_position']}")
    print(f"not sealed yet: {unsealed['messages']} messages, {show.size(unsealed['bytes'])}")
    for lost in told["lost"]:
        print(f"lost: positions {lost['first_position']} to {lost['last_position']}: {lost['cause']}")


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
