"""The facts of status.py and replay/facts.py for Prometheus: its text format, base units, names with `recorder_`.

In: facts. Out: the page. Pure. What is not in the facts is left out, so that a recorder of another version, or none,
gives fewer metrics and never an error. Counters begin at nought with each start of the process that counts. Labels
have few values: names from the settings, words from tables; nothing that an upstream said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from recorder.clock import SECOND_NS
from recorder.tallies import WORDS

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Facts = Mapping[str, Any]

# name, path in the facts, what it counts or measures; `_total` are counters. Scaled by 1 / the last number.
SINGLE: tuple[tuple[str, str, str, float], ...] = (
    ("durable_position", "recorder.durable_position", "Highest position that is durable.", 1),
    ("sealed_position", "recorder.sealed_position", "Highest position that is in Parquet.", 1),
    ("seal_age_seconds", "recorder.seal.age_s", "Since the last seal that worked, or the start.", 1),
    ("sealed_payload_bytes_total", "recorder.totals.sealed.payload_bytes", "Bytes of messages sealed.", 1),
    ("sealed_file_bytes_total", "recorder.totals.sealed.file_bytes", "Bytes of the Parquet files they became.", 1),
    ("compactions_total", "recorder.totals.compacted.works", "Pieces of work: an hour, or a day's table.", 1),
    ("compaction_input_files_total", "recorder.totals.compacted.parts_before", "Files that others stand for now.", 1),
    ("compaction_output_files_total", "recorder.totals.compacted.parts_after", "Files that stand for them.", 1),
    ("compaction_input_bytes_total", "recorder.totals.compacted.bytes_before", "Bytes of the former.", 1),
    ("compaction_output_bytes_total", "recorder.totals.compacted.bytes_after", "Bytes of the latter.", 1),
    ("deleted_files_total", "recorder.totals.compacted.deleted_files", "Files deleted after their grace.", 1),
    ("deleted_bytes_total", "recorder.totals.compacted.deleted_bytes", "Their bytes.", 1),
    ("process_resident_memory_bytes", "recorder.process.rss_bytes", "Memory of the recorder's process.", 1),
    ("process_open_fds", "recorder.process.open_fds", "Its open files and sockets.", 1),
    ("process_threads", "recorder.process.threads", "Its threads.", 1),
    ("process_cpu_seconds_total", "recorder.process.cpu_s", "Its processor time.", 1),
    ("start_timestamp_seconds", "recorder.started_ns", "When the recorder started.", SECOND_NS),
    ("status_timestamp_seconds", "recorder.written_ns", "When the recorder last said how it is.", SECOND_NS),
    ("clock_behind_seconds", "recorder.clock_behind_ns", "How far the wall clock went back.", SECOND_NS),
    ("journal_buffered_bytes", "recorder.journal.buffered_bytes", "Not durable yet.", 1),
    ("journal_buffered_bytes_max", "recorder.journal.buffered_bytes_max", "The most that ever was.", 1),
    ("journal_buffer_limit_bytes", "recorder.journal.buffer_bytes_max", "Sockets are read no further above it.", 1),
    ("journal_waiting_seconds", "recorder.journal.waiting_s", "How long the oldest of it has waited.", 1),
    ("journal_messages_total", "recorder.journal.messages", "Messages made durable.", 1),
    ("journal_bytes_total", "recorder.journal.bytes", "Their bytes, packed.", 1),
    ("journal_commits_total", "recorder.journal.groups", "Groups made durable.", 1),
    ("journal_commits_failed_total", "recorder.journal.commits_failed", "Commits the disk refused.", 1),
    ("journal_pressure_total", "recorder.journal.under_pressure_times", "Times sockets were read no further.", 1),
    ("journal_pressure_seconds_total", "recorder.journal.under_pressure_s", "How long, of what is over.", 1),
    ("heartbeats_sent_total", "recorder.heartbeat.sent", "Heartbeats that arrived at the dead-man's switch.", 1),
    ("heartbeats_failed_total", "recorder.heartbeat.failed", "Heartbeats that did not.", 1),
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
    ("messages_total", "messages", "Messages accepted, the recorder's own entries among them.", 1),
    ("bytes_total", "bytes", "Their bytes, as they came.", 1),
    ("receiving", "receiving", "1 while a feed is provably receiving, 0 in a gap.", 1),
    ("gap_seconds_total", "gaps_s", "Length of the gaps that have ended.", 1),
    ("rotations_total", "rotations", "Connections replaced on purpose.", 1),
    ("reconnects_total", "reconnects", "Connections lost and dialled again.", 1),
    ("repeats_total", "repeats", "Messages that a second connection brought again, kept once.", 1),
    ("last_data_timestamp_seconds", "last_data_ns", "When data last arrived.", SECOND_NS),
    ("unusual_silence_seconds", "unusual_silence_s", "Silence that is unusual at this hour.", 1),
    ("gap_open_since_timestamp_seconds", "gap.since_ns", "Since when a feed is in a gap.", SECOND_NS),
)
# name, path in the facts of a count by table, what it counts.
OF_TABLE: tuple[tuple[str, str, str], ...] = (
    ("sealed_rows_total", "recorder.totals.sealed.rows", "Rows written to Parquet."),
    ("sealed_unparsed_total", "recorder.totals.sealed.unparsed", "Frames without the shape of their feed."),
)
WELL = ("ok", "not run yet")
# The same of each session, with the label session.
OF_SESSION: tuple[tuple[str, str, str, float], ...] = (
    ("replay_session_listeners", "listeners", "Listeners of a session.", 1),
    ("replay_session_backlog_bytes", "backlog_bytes", "What waits for them.", 1),
    ("replay_session_position", "position", "The last message played.", 1),
    ("replay_session_moment_timestamp_seconds", "moment_ns", "The recorded moment that is shown.", SECOND_NS),
    ("replay_session_messages_total", "played", "Messages played.", 1),
)
# The same of each job, with the label name: Prometheus has a label `job` of its own.
OF_JOB: tuple[tuple[str, str, str, float], ...] = (
    ("interval_seconds", "every_s", "How often a job is due.", 1),
    ("runs_total", "runs", "Runs that have ended.", 1),
    ("failures_total", "failures", "Runs that failed.", 1),
    ("seconds_total", "total_s", "How long all runs took.", 1),
    ("last_run_seconds", "last_s", "How long the last one took.", 1),
    ("last_run_failed", "last_run_failed", "1 where the last run failed.", 1),
)
# The same of each feed that is filled by REST, with the label feed.
OF_BACKFILL: tuple[tuple[str, str, str, float], ...] = (
    ("passes_total", "passes", "Passes over closed gaps.", 1),
    ("recovered_total", "recovered", "Articles that only they brought.", 1),
    ("waiting", "waiting", "Gaps that are still to be filled.", 1),
)
HISTOGRAMS = (
    ("received_to_durable_seconds", "received_to_durable", "From the socket to the disk, of each message."),
    ("commit_seconds", "commit", "One transaction with its fsync."),
    ("checkpoint_seconds", "checkpoint", "One checkpoint of the journal."),
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
        versions = [((_found(facts, "recorder.version") or "",), 1)] if _found(facts, "recorder.version") else []
        yield _metric("build_info", "1, with the version of the recorder.", versions, ("version",))
        state = _found(facts, "health.state")
        states = [((each,), each == state) for each in ("ok", "degraded", "failed")]
        yield _metric("health", "1 for the state that holds; none where nobody records.", states, ("state",))
        for name, path, words, scale in SINGLE:
            yield _metric(name, words, [((), _found(facts, path))], scale=scale)
        yield from _of_feeds(list((_found(facts, "recorder.feeds") or {}).values()))
        for name, path, words in OF_TABLE:
            counts = (_found(facts, path) or {}).items()
            yield _metric(name, words, [((table,), count) for table, count in counts], ("table",))
        jobs = [
            {**job, "last_run_failed": job["last_outcome"] not in WELL} for job in _found(facts, "recorder.jobs") or []
        ]
        for name, path, words, scale in OF_JOB:
            of_jobs = [((job["job"],), _found(job, path)) for job in jobs]
            yield _metric(f"job_{name}", words, of_jobs, ("name",), scale)
        repairs = (_found(facts, "recorder.repairs") or {}).items()
        for name, path, words, scale in OF_BACKFILL:
            of_repairs = [((feed,), _found(repair, path)) for feed, repair in repairs]
            yield _metric(f"backfill_{name}", words, of_repairs, ("feed",), scale)
        sessions = _found(facts, "replay.sessions") or []
        for name, path, words, scale in OF_SESSION:
            of_sessions = [((each["name"] or f"#{n}",), _found(each, path)) for n, each in enumerate(sessions, 1)]
            yield _metric(name, words, of_sessions, ("session",), scale)
        for name, key, words in HISTOGRAMS:
            if histogram := _found(facts, f"recorder.journal.histograms.{key}"):
                yield _histogram(name, words, histogram)


def _of_feeds(feeds: Sequence[Facts]) -> Iterator[Metric]:
    labels = ("feed", "channel")
    known = [{**feed, "receiving": not feed["gap"]} if "gap" in feed else feed for feed in feeds]
    for name, path, words, scale in OF_FEED:
        of_feeds = [((feed["feed"], feed["channel"]), _found(feed, path)) for feed in known]
        yield _metric(f"feed_{name}", words, of_feeds, labels, scale)
    # Of all channels together, and every cause from nought on: one that was not there before is no increase.
    gaps = {(feed["feed"], word): 0 for feed in feeds if "gaps" in feed for word in WORDS}
    for feed in feeds:
        for word, count in feed.get("gaps", {}).items():
            gaps[feed["feed"], word] += count
    yield _metric("feed_gaps_total", "Gaps opened, of all channels of a feed.", list(gaps.items()), ("feed", "cause"))


def _histogram(name: str, words: str, told: Facts) -> Metric:
    *at_most, count = told["at_most"]
    buckets = [(str(bound_s), many) for bound_s, many in zip(told["bounds_s"], at_most, strict=True)]
    return HistogramMetricFamily(f"recorder_{name}", words, [*buckets, ("+Inf", count)], told["sum_s"])


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
            metric.add_metric(of, value / scale)  # type: ignore[attr-defined] # both families have it, not their base
    return metric


def _found(facts: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(facts, Mapping) or key not in facts:
            return None
        facts = facts[key]
    return facts
