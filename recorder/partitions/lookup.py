"""What filling a gap needs to know of the recording: which articles are in it, which gaps still wait.

In: a data directory, also one that is being recorded to. Out: plain values. Only reads: the parts of one typed table
since a moment, and of what is not sealed yet the messages of the feeds asked for. Takes up to seconds; meant for a
process beside the recorder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.journal.store import Store
from recorder.message import Mark
from recorder.partitions.convert import convert
from recorder.partitions.messages import table_of
from recorder.partitions.schema import MOMENT, Table
from recorder.partitions.tables import LIFECYCLE
from recorder.partitions.tables_finlight import ARTICLES


@dataclass(frozen=True, slots=True)
class GapLeft:
    """A closed gap and how far it was filled. Times are UTC nanoseconds; `again_ns` None: nobody has looked yet."""

    feed: str
    since_ns: int
    until_ns: int
    recovered: int = 0
    again_ns: int | None = None


def recorded(data: Path, feed: str, since_ns: int, until_ns: int) -> set[tuple[str, int | None]]:
    """Link and date of revision (UTC microseconds) of a feed's articles received in between, or fetched since then."""
    versions: set[tuple[str, int | None]] = set()
    for rows in _rows(data, ARTICLES, ("link", "revised_date", "mark"), (feed,), since_ns):
        within = pc.less_equal(rows["received_at"], until_ns)
        fetched = pc.fill_null(pc.match_substring(rows["mark"], str(Mark.REST.words)), False)
        wanted = rows.filter(pc.or_(within, fetched))
        revised_us = (None if ns is None else ns // 1000 for ns in wanted["revised_date"].to_pylist())
        versions.update(zip(wanted["link"].to_pylist(), revised_us, strict=True))
    return versions


def gaps_left(data: Path, feed_kinds: dict[str, str], since_ns: int, but: Collection[str]) -> list[GapLeft]:
    """Gaps of these feeds (name: kind) closed since then that wait to be filled, without those of the causes `but`."""
    gaps: dict[tuple[str, int], GapLeft] = {}
    columns = ("feed_kind", "event", "cause", "since_at", "until_at", "recovered", "again_at")
    for rows in _rows(data, LIFECYCLE, columns, tuple(feed_kinds), since_ns):
        for row in rows.filter(pc.is_in(rows["event"], pa.array(["gap.closed", "gap.repaired"]))).to_pylist():
            key = row["feed"], row["since_at"]
            if row["feed_kind"] != feed_kinds[row["feed"]] or row["since_at"] is None or row["until_at"] is None:
                continue
            if row["event"] == "gap.closed":
                if row["cause"] not in but:
                    gaps.setdefault(key, GapLeft(*key, row["until_at"]))
            elif key in gaps and row["again_at"] is None:
                del gaps[key]
            elif key in gaps:
                recovered = gaps[key].recovered + (row["recovered"] or 0)
                gaps[key] = GapLeft(*key, row["until_at"], recovered, row["again_at"])
    return list(gaps.values())


def _rows(
    data: Path, table: Table, columns: Collection[str], feeds: Collection[str], since_ns: int
) -> Iterator[pa.Table]:
    """Rows of a typed table received since then, in order of position. Moments are UTC nanoseconds, as numbers."""
    store = Store.open_readonly(data)
    try:
        # The journal first: parts registered after it hold later positions, and those are cut off below.
        snapshot = store.snapshot()
        parts = store.parts(table.name)
    finally:
        store.close()
    names = ["position", "received_at", "feed", *columns]
    types = [table.schema.field(name).type for name in names]
    plain = pa.schema(zip(names, [pa.int64() if of == MOMENT else of for of in types], strict=True))
    of_feeds = pa.array(list(feeds), pa.string())

    def chosen(rows: pa.Table) -> pa.Table:
        rows = rows.cast(plain)
        since = pc.greater_equal(rows["received_at"], since_ns)
        return rows.filter(pc.and_(since, pc.is_in(rows["feed"], of_feeds)))

    for part in sorted(parts, key=lambda part: part.first_position):
        if part.last_received_ns >= since_ns and part.first_position <= snapshot.sealed_position:
            rows = pq.read_table(data / part.path, columns=names, partitioning=None)
            yield chosen(rows.filter(pc.less_equal(rows["position"], snapshot.sealed_position)))
    for group in snapshot.groups:  # one by one: parsed, a group takes some ten times its size
        messages = table_of([group])
        of_table = pc.and_(pc.equal(messages["kind"], table.kind.word), pc.is_in(messages["feed"], of_feeds))
        yield chosen(convert(messages.filter(of_table), (table,))[0].rows.select(names))
