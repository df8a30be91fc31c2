"""The facts of status.py and replay/facts.py for Prometheus: its text format, base units, names with `recorder_`.

In: facts. Out: the page. Pure. What is not in the facts is left out, so that a recorder of another version, or none,
gives fewer metrics and never an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from recorder.clock import SECOND_NS

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Facts = Mapping[str, Any]

# name, path in the facts, what it counts or measures; `_total` are counters. Scaled by 1 / the last number.
SINGLE: tuple[tuple[str, str, str, float], ...] = (
    ("durable_position", "recorder.durable_position", "Highest position that is durable.", 1),
    ("sealed_position", "recorder.sealed_position", "Highest position that is in Parquet.", 1),
    ("start_timestamp_seconds", "recorder.started_ns", "When the recorder started.", SECOND_NS),
    ("status_timestamp_seconds", "recorder.written_ns", "When the recorder last said how it is.", SECOND_NS),
    ("clock_behind_seconds", "recorder.clock_behind_ns", "How far the wall clock went back.", SECOND_NS),
    ("journal_buffered_bytes", "recorder.journal.buffered_bytes", "Not durable yet.", 1),
    ("journal_buffered_bytes_max", "recorder.journal.buffered_bytes_max", "Its limit.", 1),
    ("journal_waiting_seconds", "recorder.journal.waiting_s", "How long the oldest of it has waited.", 1),
    ("journal_commits_total", "recorder.journal.groups", "Groups made durable.", 1),
    ("journal_commits_failed_total", "recorder.journal.commits_failed", "Commits the disk refused.", 1),
    ("journal_pressure_total", "recorder.journal.under_pressure_times", "Times sockets were read no further.", 1),
    ("disk_free_bytes", "recorder.disk.free_bytes", "Free for an unprivileged process.", 1),
    ("disk_reserve_bytes", "recorder.disk.reserve_bytes", "Recording halts below it.", 1),
    ("disk_halted", "recorder.disk.halted", "1 while recording is halted, the disk being full.", 1),
    ("replay_clients", "replay.clients", "Connected clients.", 1),
    ("replay_clients_turned_away_total", "replay.turned_away_total", "At the gate, or being too many.", 1),
    ("replay_handshakes_failed_total", "replay.handshakes_failed_total", "No HTTP, none in time, no WebSocket.", 1),
    ("replay_protocol_errors_total", "replay.protocol_errors_total", "Hung up on for what no client may send.", 1),
    ("replay_clients_flooding_total", "replay.clients_flooding_total", "Hung up on for too many messages.", 1),
    ("replay_clients_cut_idle_total", "replay.clients_cut_idle_total", "Cut for taking nothing.", 1),
    ("replay_sessions_total", "replay.sessions_total", "Sessions begun.", 1),
    ("replay_sessions_refused_total", "replay.sessions_refused_total", "Sessions beyond the limit.", 1),
    ("replay_queries_refused_total", "replay.queries_refused_total", "Queries that could not be played.", 1),
    ("replay_operations_refused_total", "replay.operations_refused_total", "Operations that made no sense.", 1),
    ("replay_messages_sent_total", "replay.messages_sent_total", "Messages sent to native clients.", 1),
    ("replay_sent_bytes_total", "replay.bytes_sent_total", "Their bytes.", 1),
)
# The same of each feed, with the labels feed and channel.
OF_FEED: tuple[tuple[str, str, str, float], ...] = (
    ("messages_total", "messages", "Messages accepted since the start.", 1),
    ("rotations_total", "rotations", "Connections replaced on purpose.", 1),
    ("reconnects_total", "reconnects", "Connections lost and dialled again.", 1),
    ("last_data_timestamp_seconds", "last_data_ns", "When data last arrived.", SECOND_NS),
    ("unusual_silence_seconds", "unusual_silence_s", "Silence that is unusual at this hour.", 1),
    ("gap_open_since_timestamp_seconds", "gap.since_ns", "Since when a feed is in a gap.", SECOND_NS),
)
# The same of each session, with the label session.
OF_SESSION: tuple[tuple[str, str, str, float], ...] = (
    ("replay_session_listeners", "listeners", "Listeners of a session.", 1),
    ("replay_session_backlog_bytes", "backlog_bytes", "What waits for them.", 1),
    ("replay_session_position", "position", "The last message played.", 1),
    ("replay_session_moment_timestamp_seconds", "moment_ns", "The recorded moment that is shown.", SECOND_NS),
    ("replay_session_messages_total", "played", "Messages played.", 1),
)
QUANTILES = (("0.5", "p50"), ("0.99", "p99"))
TIMES = (
    ("received_to_durable_seconds", "durable_ms", "From the socket to the disk."),
    ("commit_seconds", "commit_ms", "One commit."),
)


def text(facts: Facts) -> bytes:
    """The page in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(facts))
    return generate_latest(registry)


class _Facts(Collector):
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        facts = self._facts
        yield _metric("running", "1 while a recorder runs on the data directory.", [((), facts["running"])])
        state = _found(facts, "health.state")
        states = [((each,), each == state) for each in ("ok", "degraded", "failed")]
        yield _metric("health", "1 for the state that holds; none where nobody records.", states, ("state",))
        for name, path, words, scale in SINGLE:
            yield _metric(name, words, [((), _found(facts, path))], scale=scale)
        feeds = list((_found(facts, "recorder.feeds") or {}).values())
        for name, path, words, scale in OF_FEED:
            of_feeds = [((feed["feed"], feed["channel"]), _found(feed, path)) for feed in feeds]
            yield _metric(f"feed_{name}", words, of_feeds, ("feed", "channel"), scale)
        sessions = _found(facts, "replay.sessions") or []
        for name, path, words, scale in OF_SESSION:
            of_sessions = [((each["name"] or f"#{n}",), _found(each, path)) for n, each in enumerate(sessions, 1)]
            yield _metric(name, words, of_sessions, ("session",), scale)
        for name, prefix, words in TIMES:
            times = [((label,), _found(facts, f"recorder.journal.{prefix}_{key}")) for label, key in QUANTILES]
            yield _metric(name, words, times, ("quantile",), 1000)


def _metric(
    name: str,
    words: str,
    values: Sequence[tuple[tuple[str, ...], Any]],
    labels: tuple[str, ...] = (),
    scale: float = 1,
) -> Metric:
    family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    metric: Metric = family(f"recorder_{name}", words, labels=labels)
    for of, value in values:
        if value is not None:
            metric.add_metric(of, value / scale)  # type: ignore[attr-defined]
    return metric


def _found(facts: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(facts, Mapping) or key not in facts:
            return None
        facts = facts[key]
    return facts
