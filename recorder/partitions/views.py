"""The SQL of the views, the same in the catalogue and in process. Pure.

In: for each table, how to read it. Out: statements that make the views and comment on them. The catalogue's readers
go by a hot glob, a list of cold files and a sentinel; what goes wrong without each was measured:

- A glob is expanded when the query is bound and its files are opened later, so files that were compacted away would be
  missing or doubled. Hence the constant bound on `hour`: what is below it is in the cold list, never in both.
- A connection that read the views before a compaction has the old list. The sentinel of its generation is removed
  before any file of that list, and its absence is an error at binding: loud, instead of rows silently missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recorder.partitions import layout
from recorder.partitions.schema import MESSAGE_COLUMNS, MESSAGES, MESSAGES_DESCRIPTION, Column
from recorder.partitions.tables import TABLES


@dataclass(frozen=True, slots=True)
class Stored:
    """A table that lies in files."""

    name: str
    description: str
    columns: tuple[Column, ...]


STORED = (
    Stored(MESSAGES, MESSAGES_DESCRIPTION, MESSAGE_COLUMNS),
    *(Stored(table.name, table.description, table.columns) for table in TABLES),
)


@dataclass(frozen=True, slots=True)
class Derived:
    """A view over tables that lie in files. `columns` are names and what they mean, in the order of the query."""

    name: str
    description: str
    columns: Mapping[str, str]
    query: str


_CHANNEL = {"feed": "name of the feed", "channel": "what of the feed: the symbol of a profile"}

CONNECTIONS = Derived(
    "connections",
    "Connections, one row each, from dialling to their end",
    {
        **_CHANNEL,
        "feed_kind": "kind of the feed",
        "connection": "number of the connection",
        "outcome": "open, closed, refused, failed, or lost where the recorder ended without closing it",
        "purpose": "start, redial, rotation or poll",
        "url": "what was dialled",
        "dialled_at": "UTC",
        "opened_at": "end of the handshake, UTC",
        "proven_at": "first proof of life, UTC",
        "ended_at": "UTC; NULL while it is open, or where nobody saw it end",
        "handshake_ms": "from dialling to the handshake's end",
        "status": "HTTP status that refused the handshake",
        "code": "close code",
        "reason": "close reason, or why there was no answer",
        "by": "who closed it: us or upstream",
        "cause": "why it ended",
        "frames": "frames received",
        "bytes": "bytes of the frames received",
        "last_received_at": "when the last frame arrived, UTC",
    },
    """
    WITH entries AS (
        SELECT *, count(*) FILTER (event = 'recorder.started') OVER (ORDER BY position) AS run FROM lifecycle
    )
    SELECT feed, channel, any_value(feed_kind), connection,
        CASE arg_max(event, position) FILTER (event IN ('connection.closed', 'connection.refused', 'connection.failed'))
            WHEN 'connection.closed' THEN 'closed'
            WHEN 'connection.refused' THEN 'refused'
            WHEN 'connection.failed' THEN 'failed'
            ELSE CASE WHEN run = (SELECT max(run) FROM entries) THEN 'open' ELSE 'lost' END
        END,
        any_value(purpose), any_value(url),
        min(received_at) FILTER (event = 'connection.dialled'),
        min(received_at) FILTER (event = 'connection.opened'),
        min(received_at) FILTER (event = 'connection.proven'),
        max(received_at) FILTER (event IN ('connection.closed', 'connection.refused', 'connection.failed')),
        max(handshake_ms), max(status), max(code), coalesce(max(reason), max(error)), max("by"),
        arg_max(cause, position), max(frames), max(bytes), max(last_received_at)
    FROM entries
    WHERE event LIKE 'connection.%'
    GROUP BY feed, channel, connection, run
    """,
)

GAPS = Derived(
    "gaps",
    "Intervals in which a feed was not provably receiving, one row each",
    {
        **_CHANNEL,
        "feed_kind": "kind of the feed",
        "since_at": "UTC",
        "until_at": "UTC; NULL while it is open",
        "seconds": "length; NULL while it is open",
        "cause": "why",
        "recovered": "articles fetched over REST since; NULL where nobody looked",
        "repaired_at": "when they were last looked for, UTC",
        "repair": "complete, or what is left out and why: partial, never, waiting; NULL where nobody looked",
    },
    """
    SELECT feed, channel, any_value(feed_kind), since_at, max(until_at),
        (epoch_ns(max(until_at)) - epoch_ns(since_at)) / 1e9, arg_max(cause, position),
        sum(recovered)::BIGINT, max(received_at) FILTER (event = 'gap.repaired'), arg_max(repair, position)
    FROM lifecycle
    WHERE event IN ('gap.opened', 'gap.closed', 'gap.repaired')
    GROUP BY feed, channel, since_at
    """,
)

COVERAGE = Derived(
    "coverage",
    "What was covered, one row a channel and UTC day; the first day counts from its first message, the last up to now",
    {
        **_CHANNEL,
        "day": "UTC",
        "seconds": "seconds of the day in which recording was on at all",
        "seconds_covered": "of these, seconds in no gap",
        "gaps": "gaps that touch the day",
        "causes": "their causes, each once",
        "messages": "data frames received; what was fetched over REST is none",
        "bytes": "their bytes",
    },
    """
    WITH edge AS (SELECT max(epoch_ns(received_at)) AS last_ns FROM messages),
    starts AS (
        SELECT feed, channel, min(epoch_ns(received_at)) AS first_ns FROM messages
        WHERE feed <> 'recorder' GROUP BY feed, channel
    ),
    days AS (
        SELECT feed, channel, first_ns, last_ns,
            unnest(range(first_ns // 86400000000000, last_ns // 86400000000000 + 1)) * 86400000000000 AS day_ns
        FROM starts, edge
    ),
    spans AS (
        SELECT feed, channel, day_ns, greatest(first_ns, day_ns) AS from_ns,
            least(last_ns, day_ns + 86400000000000) AS to_ns
        FROM days
    ),
    silence AS (
        SELECT s.feed, s.channel, s.day_ns, count(*) AS gaps, list_sort(list(DISTINCT g.cause)) AS causes,
            sum(least(s.to_ns, coalesce(epoch_ns(g.until_at), s.to_ns))
                - greatest(s.from_ns, epoch_ns(g.since_at))) AS ns
        FROM spans s JOIN gaps g ON g.feed = s.feed AND g.channel = s.channel
            AND epoch_ns(g.since_at) < s.to_ns AND coalesce(epoch_ns(g.until_at), s.to_ns) > s.from_ns
        GROUP BY s.feed, s.channel, s.day_ns
    ),
    traffic AS (
        SELECT feed, channel, epoch_ns(received_at) // 86400000000000 * 86400000000000 AS day_ns, count(*) AS messages,
            sum(coalesce(strlen(text), octet_length(bytes))) AS bytes
        FROM messages WHERE kind = 'data' AND coalesce(mark NOT LIKE '%rest%', true) GROUP BY ALL
    )
    SELECT feed, channel, make_timestamp_ns(day_ns)::DATE, (to_ns - from_ns) / 1e9,
        (to_ns - from_ns - coalesce(ns, 0)) / 1e9, coalesce(gaps, 0), coalesce(causes, []),
        coalesce(messages, 0), coalesce(bytes, 0)::BIGINT
    FROM spans LEFT JOIN silence USING (feed, channel, day_ns) LEFT JOIN traffic USING (feed, channel, day_ns)
    """,
)

DERIVED = (CONNECTIONS, GAPS, COVERAGE)


def quoted(text: str | Path) -> str:
    """A string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def name(identifier: str) -> str:
    """A quoted identifier: `list` and `by` are words of SQL too."""
    return '"' + identifier.replace('"', '""') + '"'


def literally(path: str | Path) -> str:
    """A path in which DuckDB finds no pattern, whatever the user named the folder."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def names(columns: Iterable[Column]) -> str:
    return ", ".join(name(column.name) for column in columns)


def read_files(paths: Sequence[str | Path]) -> str:
    """A scan of these files; a missing one is an error."""
    return f"read_parquet([{', '.join(quoted(literally(path)) for path in paths)}], hive_partitioning = false)"


def published(data: Path, stored: Stored, cold: Sequence[str], hot_since: str, generation: str) -> str:
    """How a reader of the catalogue finds a table's rows."""
    listed = [data / layout.sentinel_path(stored.name, generation), *(data / path for path in cold)]
    glob = quoted(f"{literally(data)}/{layout.hot_glob(stored.name)}")
    columns = names(stored.columns)
    hot = f"read_parquet({glob}, hive_partitioning = true, hive_types = {{'hour': VARCHAR}})"
    # Names are declared in this project, paths and hours are quoted.
    return (
        f"SELECT {columns} FROM {read_files(listed)} UNION ALL "  # noqa: S608
        f"SELECT {columns} FROM {hot} WHERE hour >= {quoted(hot_since)}"
    )


def joined(stored: Stored, files: Sequence[Path], sealed_position: int, unsealed: str) -> str:
    """A table's rows in registered files up to a position, and behind it those of a table in memory."""
    columns = names(stored.columns)
    tail = f"SELECT {columns} FROM {name(unsealed)}"  # noqa: S608
    if not files:
        return tail
    return f"SELECT {columns} FROM {read_files(files)} WHERE position <= {sealed_position} UNION ALL {tail}"  # noqa: S608


def statements(sources: Mapping[str, str]) -> list[str]:
    """What makes every view, with its comments. `sources`: for each stored table the query that yields its rows."""
    made: list[str] = []
    for stored in STORED:
        made.append(f"CREATE VIEW {stored.name} AS {sources[stored.name]}")
        made += _comments(stored.name, stored.description, {c.name: c.description for c in stored.columns})
    for view in DERIVED:
        columns = ", ".join(map(name, view.columns))
        made.append(f"CREATE VIEW {view.name} ({columns}) AS {view.query}")
        made += _comments(view.name, view.description, view.columns)
    return made


def _comments(view: str, description: str, columns: Mapping[str, str]) -> list[str]:
    return [
        f"COMMENT ON VIEW {view} IS {quoted(description)}",
        *(f"COMMENT ON COLUMN {view}.{name(column)} IS {quoted(text)}" for column, text in columns.items()),
    ]
