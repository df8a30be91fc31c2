"""Views over tables that lie in files: connections, rotations, gaps, coverage, lateness. Pure.

In: nothing. Out: for each view its columns, what they mean, and one query that any DuckDB from 1.5 on understands. All
are reductions of what the recorder itself wrote down (`lifecycle`, `traffic`) or of moments that upstreams state, so
none of them reads the text of a frame: a month of coverage is some thousand rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
    FROM (
        -- several begin at one moment while the clock stands, having gone back
        SELECT *, count(*) FILTER (event = 'gap.opened')
            OVER (PARTITION BY feed, channel, since_at ORDER BY position) AS nth
        FROM lifecycle WHERE event IN ('gap.opened', 'gap.closed', 'gap.repaired')
    )
    GROUP BY feed, channel, since_at, nth
    """,
)

COVERAGE = Derived(
    "coverage",
    "What was covered, one row a channel and UTC day; the first day counts from its first message, the last up to now, "
    "or to when the channel was taken out of the settings",
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
    WITH edge AS (SELECT max(epoch_ns(received_at)) AS last_ns FROM traffic),
    starts AS (
        SELECT feed, channel, min(epoch_ns(first_at)) AS first_ns FROM traffic
        WHERE feed <> 'recorder' GROUP BY feed, channel
    ),
    removed AS (
        SELECT feed, channel, max(epoch_ns(since_at)) AS removed_ns FROM lifecycle
        WHERE event IN ('channel.removed', 'gap.opened') GROUP BY feed, channel
        HAVING arg_max(event, position) = 'channel.removed'
    ),
    wanted AS (
        SELECT feed, channel, first_ns, coalesce(removed_ns, last_ns) AS last_ns
        FROM starts LEFT JOIN removed USING (feed, channel), edge
    ),
    days AS (
        SELECT feed, channel, first_ns, last_ns,
            unnest(range(first_ns // 86400000000000, last_ns // 86400000000000 + 1)) * 86400000000000 AS day_ns
        FROM wanted
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
    arrived AS (
        SELECT feed, channel, epoch_ns(received_at) // 86400000000000 * 86400000000000 AS day_ns,
            sum(messages)::BIGINT AS messages, sum(bytes)::BIGINT AS bytes
        FROM traffic WHERE kind = 'data' AND coalesce(mark NOT LIKE '%rest%', true) GROUP BY ALL
    )
    SELECT feed, channel, make_timestamp_ns(day_ns)::DATE, (to_ns - from_ns) / 1e9,
        (to_ns - from_ns - coalesce(ns, 0)) / 1e9, coalesce(gaps, 0), coalesce(causes, []),
        coalesce(messages, 0), coalesce(bytes, 0)
    FROM spans LEFT JOIN silence USING (feed, channel, day_ns) LEFT JOIN arrived USING (feed, channel, day_ns)
    """,
)

ROTATIONS = Derived(
    "rotations",
    "Connections replaced on purpose, new before old, one row each",
    {
        **_CHANNEL,
        "feed_kind": "kind of the feed",
        "old": "number of the connection let go",
        "new": "number of the connection that took over; NULL where none was ready",
        "started_at": "UTC",
        "ended_at": "UTC; NULL while it is under way, or where the recorder ended in it",
        "outcome": "done, failed, or started",
        "cause": "why: its age, a change of settings, …",
        "proof": "how it was shown that nothing was missed",
        "on_both": "messages seen on both connections",
        "only_old": "messages seen on the old connection alone",
        "only_new": "messages seen on the new connection alone",
        "variants": "same identity, other text: both are kept",
        "overlap_ms": "how long both connections received",
    },
    """
    SELECT feed, channel, any_value(feed_kind), old, arg_max("new", position) FILTER ("new" IS NOT NULL),
        min(received_at) FILTER (event = 'rotation.started'),
        max(received_at) FILTER (event <> 'rotation.started'),
        split_part(arg_max(event, position), '.', 2), arg_max(cause, position), max(proof),
        max("both"), max(only_old), max(only_new), max(variants), max(overlap_ms)
    FROM (
        SELECT *,
            count(*) FILTER (event = 'rotation.started') OVER (PARTITION BY feed, channel ORDER BY position) AS nth
        FROM lifecycle WHERE event LIKE 'rotation.%'
    )
    GROUP BY feed, channel, old, nth
    """,
)

LATENESS = Derived(
    "lateness",
    "How long after a moment that the upstream states a message was here, one row a message and moment; only what was "
    "sent when it happened: no snapshots at subscription, nothing fetched over REST",
    {
        **_CHANNEL,
        "position": "number of the message",
        "received_at": "UTC",
        "moment": "published (the publisher says), indexed (Finlight says), revised, or clock (of the server of hours)",
        "stated_at": "that moment, UTC",
        "late_s": "seconds from then to received_at, by two machines' clocks: negative where theirs is ahead",
    },
    """
    WITH stated AS (
        SELECT feed, '' AS channel, position, received_at,
            unnest([
                {'moment': 'published', 'at': CASE WHEN coalesce(is_update, false) THEN NULL ELSE publish_date END},
                {'moment': 'indexed', 'at': CASE WHEN coalesce(is_update, false) THEN NULL ELSE created_at END},
                {'moment': 'revised', 'at': CASE WHEN is_update THEN revised_date END}
            ]) AS upstream
        FROM articles WHERE NOT initial AND origin = 'wire'
        UNION ALL
        SELECT feed, '', position, received_at, {'moment': 'clock', 'at': server_time}
        FROM market_hours WHERE NOT initial
    )
    SELECT feed, channel, position, received_at, upstream.moment, upstream."at",
        (epoch_ns(received_at) - epoch_ns(upstream."at")) / 1e9
    FROM stated WHERE upstream."at" IS NOT NULL
    """,
)

DERIVED = (CONNECTIONS, ROTATIONS, GAPS, COVERAGE, LATENESS)
