from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from recorder import metrics
from recorder.clock import MS_NS
from recorder.journal.figures import Histogram

FEED = {"feed": "news", "channel": "", "messages": 7, "rotations": 1, "reconnects": 0, "last_data_ns": 1_500_000_000}
HISTOGRAM = Histogram()
for duration_ms in (0.05, 4, 4, 90_000):
    HISTOGRAM.take(int(duration_ms * MS_NS))
JOB = {"job": "seal", "every_s": 60.0, "runs": 3, "failures": 1, "last_s": 0.5, "total_s": 2.0, "last_outcome": "ok"}
FACTS: dict[str, Any] = {
    "running": True,
    "health": {"state": "degraded", "reasons": ["x"]},
    "recorder": {
        "durable_position": 42,
        "version": "1.2.3",
        "journal": {"commits_failed": 0, "histograms": {"received_to_durable": HISTOGRAM.facts()}},
        "totals": {"sealed": {"rows": {"quotes": 12}}, "compacted": {"works": 4}},
        "jobs": [JOB, {**JOB, "job": "compact", "last_outcome": "OSError: no room"}],
        "repairs": {"news": {"waiting": 1, "next_ns": None, "doing": False, "passes": 2, "recovered": 30}},
        "disk": {"free_bytes": 5, "halted": False},
        "feeds": {
            "news": {**FEED, "gap": {"since_ns": 3_000_000_000, "cause": "silent"}, "gaps": {"silent": 2}},
            "q": {**FEED, "feed": "q", "gap": None},
        },
    },
    "replay": {"clients": 2, "messages_sent_total": 9, "sessions": [{"name": "demo", "listeners": 2, "played": 5}]},
}


def samples(facts: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text(facts).decode()):
        assert family.documentation
        for sample in family.samples:
            assert sample.name.startswith("recorder_")
            found[sample.name, tuple(sorted(sample.labels.values()))] = sample.value
    return found


def test_facts_are_told_in_base_units_with_their_labels() -> None:
    found = samples(FACTS)
    assert found["recorder_running", ()] == 1
    assert found["recorder_health", ("degraded",)] == 1
    assert found["recorder_health", ("ok",)] == 0
    assert found["recorder_durable_position", ()] == 42
    assert found["recorder_feed_messages_total", ("", "news")] == 7
    assert found["recorder_feed_last_data_timestamp_seconds", ("", "news")] == 1.5
    assert found["recorder_feed_gap_open_since_timestamp_seconds", ("", "news")] == 3
    assert found["recorder_disk_halted", ()] == 0
    assert found["recorder_replay_clients", ()] == 2
    assert found["recorder_replay_messages_sent_total", ()] == 9
    assert found["recorder_replay_session_listeners", ("demo",)] == 2


def test_times_are_a_histogram_that_prometheus_can_take_quantiles_of() -> None:
    found = samples(FACTS)
    assert found["recorder_received_to_durable_seconds_bucket", ("0.0001",)] == 1
    assert found["recorder_received_to_durable_seconds_bucket", ("0.003",)] == 1
    assert found["recorder_received_to_durable_seconds_bucket", ("0.005",)] == 3
    assert found["recorder_received_to_durable_seconds_bucket", ("60.0",)] == 3
    assert found["recorder_received_to_durable_seconds_bucket", ("+Inf",)] == 4
    assert found["recorder_received_to_durable_seconds_count", ()] == 4
    assert found["recorder_received_to_durable_seconds_sum", ()] == 90.00805


def test_gaps_jobs_tables_and_backfill_are_told_by_their_names() -> None:
    found = samples(FACTS)
    assert found["recorder_feed_receiving", ("", "news")] == 0
    assert found["recorder_feed_receiving", ("", "q")] == 1
    assert found["recorder_feed_gaps_total", ("news", "silent")] == 2
    assert found["recorder_feed_gaps_total", ("closed", "news")] == 0
    assert found["recorder_job_failures_total", ("seal",)] == 1
    assert found["recorder_job_last_run_failed", ("seal",)] == 0
    assert found["recorder_job_last_run_failed", ("compact",)] == 1
    assert found["recorder_job_seconds_total", ("seal",)] == 2
    assert found["recorder_sealed_rows_total", ("quotes",)] == 12
    assert found["recorder_compactions_total", ()] == 4
    assert found["recorder_backfill_recovered_total", ("news",)] == 30
    assert found["recorder_build_info", ("1.2.3",)] == 1


def test_where_nobody_records_only_the_replay_is_told() -> None:
    found = samples({"running": False, "health": None, "recorder": None, "replay": {"clients": 0, "sessions": []}})
    assert found["recorder_running", ()] == 0
    assert found["recorder_replay_clients", ()] == 0
    assert not any(name.startswith("recorder_feed") for name, _ in found)
