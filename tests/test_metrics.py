from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from recorder import metrics

FEED = {"feed": "news", "channel": "", "messages": 7, "rotations": 1, "reconnects": 0, "last_data_ns": 1_500_000_000}
FACTS: dict[str, Any] = {
    "running": True,
    "health": {"state": "degraded", "reasons": ["x"]},
    "recorder": {
        "durable_position": 42,
        "journal": {"durable_ms_p50": 2.5, "durable_ms_p99": 20.0, "commits_failed": 0},
        "disk": {"free_bytes": 5, "halted": False},
        "feeds": {
            "news": {**FEED, "gap": {"since_ns": 3_000_000_000, "cause": "silence"}},
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
    assert found["recorder_received_to_durable_seconds", ("0.99",)] == 0.02
    assert found["recorder_feed_messages_total", ("", "news")] == 7
    assert found["recorder_feed_last_data_timestamp_seconds", ("", "news")] == 1.5
    assert found["recorder_feed_gap_open_since_timestamp_seconds", ("", "news")] == 3
    assert found["recorder_disk_halted", ()] == 0
    assert found["recorder_replay_clients", ()] == 2
    assert found["recorder_replay_messages_sent_total", ()] == 9
    assert found["recorder_replay_session_listeners", ("demo",)] == 2


def test_where_nobody_records_only_the_replay_is_told() -> None:
    found = samples({"running": False, "health": None, "recorder": None, "replay": {"clients": 0, "sessions": []}})
    assert found["recorder_running", ()] == 0
    assert found["recorder_replay_clients", ()] == 0
    assert not any(name.startswith("recorder_feed") for name, _ in found)
