"""Weeks of a recording as compaction leaves them, made in seconds: the real layout, writer of Parquet and registry.

In: how many weeks, until when. Out: a data directory of five feeds with their connections, rotations and gaps, a day a
part up to yesterday, today an hour a part, and the last minutes in the journal. What came is thinned out, a message a
stream in ten minutes: what looks at weeks reads sums and the recorder's own entries. Not synced: it is for reading.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from recorder import lifecycle
from recorder.clock import SECOND_NS, Moment
from recorder.journal.group import GroupBuilder, unpack
from recorder.journal.registry import Part
from recorder.journal.standing import Standing, StreamStanding
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import catalog, layout, schema
from recorder.partitions.convert import convert
from recorder.partitions.messages import table_of
from recorder.partitions.tables import TABLES
from recorder.partitions.views import STORED

DAY_NS = 24 * layout.HOUR_NS
EVERY_NS = 600 * SECOND_NS
SYMBOLS = ("AAPL", "NVDA", "^GSPC")
STREAMS = (
    Stream("news", "finlight"),
    Stream("prices", "finance_query.quotes"),
    Stream("market", "finance_query.market"),
    Stream("hours", "finance_query.hours"),
    *(Stream("profiles", "finance_query.profile", symbol) for symbol in SYMBOLS),
)
RECORDER = Stream(lifecycle.RECORDER_FEED, lifecycle.RECORDER_FEED)
CAUSES = ("closed", "silent", "refused", "network")


@dataclass(slots=True)
class _Made:
    at_ns: int
    stream: Stream
    payload: bytes
    connection: int = 1
    kind: Kind = Kind.LIFECYCLE


def make(data: Path, weeks: int, until_ns: int) -> int:
    """Fill `data` with what ends at `until_ns` (UTC). Returns the number of its gaps."""
    data.mkdir(parents=True, exist_ok=True)
    since_ns = (until_ns // DAY_NS - 7 * weeks + 1) * DAY_NS + 9 * layout.HOUR_NS
    sealed_ns = until_ns - 60 * SECOND_NS
    gaps = list(_gaps(since_ns, until_ns))
    everything = sorted(
        [*_frames(since_ns, until_ns), *_entries(since_ns, until_ns, gaps)], key=lambda made: made.at_ns
    )
    messages = [
        Message(position, made.stream, made.kind, Mark.NONE, made.at_ns, made.at_ns, made.connection, made.payload)
        for position, made in enumerate(everything, 1)
    ]
    runs: dict[tuple[str, bool], list[Message]] = {}
    for message in messages:
        if message.received_ns < sealed_ns:
            hour, is_old = layout.hour_of(message.received_ns), message.received_ns < until_ns // DAY_NS * DAY_NS
            runs.setdefault((hour[:8] + "00" if is_old else hour, is_old), []).append(message)
    parts = [part for (hour, is_old), run in runs.items() for part in _parts(data, hour, is_old, run)]
    last = max(part.last_position for part in parts)
    with closing(Store.open(data)) as store:
        store.register(parts, last, Standing(last, sealed_ns, streams=dict.fromkeys(STREAMS, StreamStanding())))
        if tail := messages[last:]:
            store.append(_packed(tail), tail[0].position, tail[-1].position, tail[0].received_ns, tail[-1].received_ns)
    catalog.publish_catalog(data, [part.path for part in parts])
    return len(gaps)


def _parts(data: Path, hour: str, is_old: bool, run: list[Message]) -> Iterator[Part]:
    first, last = run[0].position, run[-1].position
    rows = table_of([unpack(_packed(run), first)])
    columns = {stored.name: stored.columns for stored in STORED}
    tables = {schema.MESSAGES: rows} | {typed.table.name: typed.rows for typed in convert(rows, TABLES)}
    for name, its in tables.items():
        if its.num_rows:
            cold = layout.cold_path(name, hour, first, last, day=True)
            path = cold if is_old else layout.hot_path(name, hour, first, last)
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            schema.write(its, columns[name], data / path)
            size, times = (data / path).stat().st_size, (run[0].received_ns, run[-1].received_ns)
            tier = "cold" if is_old else "hot"
            yield Part(name, path, tier, first, last, *times, its.num_rows, size, times[1])  # type: ignore[arg-type]


def _packed(run: list[Message]) -> bytes:
    builder = GroupBuilder(run[0].position)
    for m in run:
        builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, Moment(m.received_ns, m.monotonic_ns))
    return builder.pack()


def _frames(since_ns: int, until_ns: int) -> Iterator[_Made]:
    for number, at_ns in enumerate(range(since_ns, until_ns, EVERY_NS)):
        for stream in STREAMS:
            row = {"symbol": stream.channel or SYMBOLS[number % 3], "price": f"{100 + number % 50}.25"}
            payload = orjson.dumps([row] if stream.feed == "prices" else row)
            yield _Made(at_ns + 1, stream, payload, kind=Kind.DATA)


def _gaps(since_ns: int, until_ns: int) -> Iterator[tuple[Stream, int, int, str]]:
    """Some redials a day, a bad hour a week, a night without the recorder, and one gap that is open."""
    dice = random.Random(7)
    for day_ns in range(since_ns, until_ns - DAY_NS, DAY_NS):
        for _ in range(dice.choice((0, 0, 1, 2, 6))):
            at_ns = day_ns + dice.randrange(DAY_NS // SECOND_NS) * SECOND_NS
            length_ns = int(dice.lognormvariate(1.2, 1.2) * SECOND_NS)
            yield dice.choice(STREAMS), at_ns, at_ns + length_ns, dice.choice(CAUSES)
    for week_ns in range(since_ns + 2 * DAY_NS, until_ns - DAY_NS, 7 * DAY_NS):
        length_ns = dice.randrange(20, 90) * 60 * SECOND_NS
        yield STREAMS[dice.randrange(3)], week_ns, week_ns + length_ns, "silent"
    if (night_ns := until_ns - 12 * DAY_NS) > since_ns:
        for stream in STREAMS:
            yield stream, night_ns, night_ns + 7 * layout.HOUR_NS, "recorder stopped"
    yield STREAMS[2], until_ns - 45 * 60 * SECOND_NS, 0, "silent"


def _entries(since_ns: int, until_ns: int, gaps: list[tuple[Stream, int, int, str]]) -> Iterator[_Made]:
    yield _Made(since_ns, RECORDER, lifecycle.entry("recorder.started", version="1", pid=1), 0)
    for stream, from_ns, to_ns, cause in gaps:
        yield _Made(from_ns, stream, lifecycle.entry("gap.opened", since_ns=from_ns, cause=cause))
        if to_ns:
            entry = lifecycle.entry("gap.closed", since_ns=from_ns, until_ns=to_ns, cause=cause)
            yield _Made(to_ns, stream, entry)
    for number, at_ns in enumerate(range(since_ns, until_ns, 2 * layout.HOUR_NS), 1):
        for stream in STREAMS:
            for event in ("connection.dialled", "connection.opened", "connection.proven"):
                yield _Made(at_ns, stream, lifecycle.entry(event, url="ws://127.0.0.1/", purpose="rotation"), number)
            tally = {"proof": "overlap", "both": 5, "only_old": 0, "only_new": 0, "variants": 0, "overlap_ms": 900.0}
            rotated = lifecycle.entry("rotation.done", old=number, new=number + 1, cause="age", **tally)
            yield _Made(at_ns + 1, stream, rotated, number)
