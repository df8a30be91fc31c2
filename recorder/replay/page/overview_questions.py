"""What the overview asks of the recording: coverage by feed and day with its gaps, lateness, what lies on the disk.

In: a question with its parameters. Out: plain values, bounded however much is recorded: days by the weeks asked for,
and of each feed's day the longest gaps. All is made of sums and of the recorder's own entries; no frame is read.
Moments are milliseconds since 1970 UTC, as JavaScript has them. How it is doing now is `/status`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from typing import Any

import duckdb

from recorder.clock import MS_NS
from recorder.journal.store import Store
from recorder.partitions import derived, views
from recorder.partitions.layout import HOUR_NS
from recorder.replay.page.questions import Asked, Question

DAY_MS = 24 * HOUR_NS // MS_NS
WEEKS_MAX = 53
HOURS_MAX = 24 * 31
GAPS_LISTED_MAX = 12  # of a feed's day; what a person reads
FRESH_S = 10.0  # so much longer may a new gap take to be on the calendar; the open ones are in /status at once

# What `coverage` and `gaps` are made of. They read it several times over, and each time means to open every file: from
# memory, five weeks in 98 files take 105 ms of CPU instead of 170.
READ_ONCE = {
    "lifecycle": "position, feed, channel, feed_kind, event, cause, since_at, until_at, received_at, recovered, repair",
    "traffic": "*",
}
DAYS = """
SELECT feed, day, count(*), sum(seconds), sum(seconds_covered), sum(gaps)::BIGINT, sum(messages)::BIGINT,
    sum(bytes)::BIGINT
FROM coverage WHERE day > (SELECT max(day) FROM coverage) - $days::INTEGER GROUP BY feed, day ORDER BY feed, day
"""
GAPS = """
SELECT feed, channel, epoch_ms(since_at), epoch_ms(until_at), cause, repair FROM gaps
WHERE coalesce(until_at >= $since::TIMESTAMP, true)
"""
KINDS = "SELECT feed, any_value(feed_kind), count(DISTINCT channel) FROM traffic GROUP BY feed"
LATENESS = """
SELECT feed, moment, count(*), quantile_cont(late_s, 0.5), quantile_cont(late_s, 0.99), max(late_s)
FROM lateness WHERE epoch_ns(received_at) >= $since_ns GROUP BY feed, moment ORDER BY feed, moment
"""

Day = dict[str, Any]


def coverage(asked: Asked) -> object:
    """`coverage.json?weeks=5`: the days up to the recording's last, and each feed's.

    {"days": ["2026-11-22", …], "feeds": [{"feed", "kind", "channels", "days": {"2026-11-22": {"seconds", "covered_s",
    "messages", "bytes", "gaps", "listed": [{"channel", "since_ms", "until_ms", "cause", "repair"}, …]}}}]}. Seconds
    are those of all channels together; `until_ms` of an open gap is null.
    """
    weeks = asked.whole("weeks", 5, 1, WEEKS_MAX)
    if not asked.recorded:
        return {"days": [], "feeds": []}
    connection = _in_memory(asked)
    found = connection.execute(DAYS, {"days": 7 * weeks}).fetchall()
    if not found:
        return {"days": [], "feeds": []}
    last = max(day for _, day, *_ in found)
    days = [last - timedelta(days=back) for back in range(7 * weeks - 1, -1, -1)]
    kinds = {feed: (kind, channels) for feed, kind, channels in connection.execute(KINDS).fetchall()}
    of_feed: dict[str, dict[str, Day]] = {}
    for feed, day, _, seconds, covered_s, gaps, messages, size in found:
        of_feed.setdefault(feed, {})[day.isoformat()] = {
            "seconds": round(seconds, 3),
            "covered_s": round(covered_s, 3),
            "messages": messages,
            "bytes": size,
            "gaps": gaps,
            "listed": [],
        }
    since = datetime(days[0].year, days[0].month, days[0].day, tzinfo=UTC)
    end_ms = int(datetime(last.year, last.month, last.day, tzinfo=UTC).timestamp()) * 1000 + DAY_MS
    for feed, *gap in connection.execute(GAPS, {"since": since.replace(tzinfo=None)}).fetchall():
        for day in _days_of(gap[1], gap[2], int(since.timestamp()) * 1000, end_ms):
            if (its := of_feed.get(feed, {}).get(day)) is not None:
                its["listed"].append(
                    dict(zip(("channel", "since_ms", "until_ms", "cause", "repair"), gap, strict=True))
                )
    for its_days in of_feed.values():
        for its in its_days.values():
            its["listed"] = sorted(
                nlargest(GAPS_LISTED_MAX, its["listed"], key=_length), key=lambda gap: gap["since_ms"]
            )
    return {
        "days": [day.isoformat() for day in days],
        "feeds": [
            {"feed": feed, "kind": kinds[feed][0], "channels": kinds[feed][1], "days": its}
            for feed, its in of_feed.items()
        ],
    }


def lateness(asked: Asked) -> object:
    """`lateness.json?hours=24`: of each feed and moment that its upstream states, of the recording's last hours.

    [{"feed", "moment", "messages", "p50_s", "p99_s", "max_s"}, …]
    """
    hours = asked.whole("hours", 24, 1, HOURS_MAX)
    bounds = asked.timeline.bounds() if asked.recorded else None
    if bounds is None:
        return []
    since_ns = bounds.last_received_ns - hours * HOUR_NS
    connection = asked.connection(("articles", "market_hours", "lateness"))
    names = ("feed", "moment", "messages", "p50_s", "p99_s", "max_s")
    return [
        dict(zip(names, row, strict=True)) for row in connection.execute(LATENESS, {"since_ns": since_ns}).fetchall()
    ]


def recording(asked: Asked) -> object:
    """`recording.json`: what lies on the disk, of each table, and what is not sealed yet.

    {"tables": [{"table", "parts", "rows", "bytes"}, …], "unsealed": messages, "lost": messages, "last_sealed_ms"}; the
    last is null before the first seal.
    """
    if not asked.recorded:
        return {"tables": [], "unsealed": 0, "last_sealed_ms": None, "lost": 0}
    with closing(Store.open_readonly(asked.timeline.data)) as store, store.transaction():
        parts, losses = store.parts(), store.losses()
        sealed, durable = store.sealed_position(), store.durable_position()
    tables: dict[str, dict[str, Any]] = {}
    for part in parts:
        its = tables.setdefault(part.table_name, {"table": part.table_name, "parts": 0, "rows": 0, "bytes": 0})
        its["parts"] += 1
        its["rows"] += part.row_count
        its["bytes"] += part.byte_count
    return {
        "tables": sorted(tables.values(), key=lambda table: -table["bytes"]),
        "unsealed": durable - sealed,
        "last_sealed_ms": max((part.registered_ns for part in parts), default=0) // MS_NS or None,
        "lost": sum(loss.last_position - loss.first_position + 1 for loss in losses),
    }


def _in_memory(asked: Asked) -> duckdb.DuckDBPyConnection:
    """`lifecycle`, `traffic`, `gaps` and `coverage`, read from the disk once."""
    connection = asked.connection(tuple(READ_ONCE))
    for table, columns in READ_ONCE.items():
        connection.execute(f"CREATE TEMP TABLE {table} AS SELECT {columns} FROM memory.main.{table}")  # noqa: S608
    for view in (derived.GAPS, derived.COVERAGE):
        columns = ", ".join(map(views.name, view.columns))
        connection.execute(f"CREATE TEMP VIEW {view.name} ({columns}) AS {view.query}")
    return connection


def _days_of(since_ms: int, until_ms: int | None, from_ms: int, to_ms: int) -> Iterator[str]:
    """The days that a gap touches, within bounds; one without end goes up to the last."""
    at_ms = max(since_ms, from_ms) // DAY_MS * DAY_MS
    end_ms = to_ms if until_ms is None else min(until_ms, to_ms)
    while at_ms < end_ms:
        yield datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
        at_ms += DAY_MS


def _length(gap: dict[str, Any]) -> float:
    return float("inf") if gap["until_ms"] is None else gap["until_ms"] - gap["since_ms"]


QUESTIONS = (
    Question("coverage.json", coverage, fresh_s=FRESH_S),
    Question("lateness.json", lateness, fresh_s=FRESH_S),
    Question("recording.json", recording, fresh_s=1.0),
)
