from __future__ import annotations

import copy
from typing import Any

import pytest

from recorder.clock import SECOND_NS
from recorder.health import State, verdict

NOW_NS = 1_800_000_000 * SECOND_NS
WELL: dict[str, Any] = {
    "written_ns": NOW_NS - SECOND_NS,
    "clock_behind_ns": 0,
    "journal": {
        "failed": None,
        "failing": "",
        "damage": "",
        "waiting_s": 0.01,
        "commit_interval_ms": 20,
        "under_pressure": False,
    },
    "seal": {"age_s": 61.0, "interval_s": 60.0},
    "heartbeat": None,
    "disk": {"free_bytes": 10 << 30, "reserve_bytes": 256 << 20, "halted": False},
    "feeds": {"news": {"gap": None}},
    "jobs": [{"job": "seal", "last_outcome": "ok"}, {"job": "disk", "last_outcome": "not run yet"}],
}


def gap(seconds: float) -> dict[str, Any]:
    return {"gap": {"since_ns": NOW_NS - int(seconds * SECOND_NS), "cause": "closed with 1006"}}


def test_all_is_well() -> None:
    assert verdict(WELL, True, NOW_NS).as_dict() == {"state": "ok", "reasons": []}


@pytest.mark.parametrize(
    ("where", "fact", "state", "reason"),
    [
        ("written_ns", NOW_NS - 60 * SECOND_NS, State.FAILED, "60 s old"),
        ("clock_behind_ns", 5 * SECOND_NS, State.DEGRADED, "went back by 5.0 s"),
        ("journal.failed", "the disk is gone", State.FAILED, "the disk is gone"),
        ("journal.waiting_s", 7.0, State.FAILED, "nothing has become durable for 7.0 s"),
        ("journal.under_pressure", True, State.DEGRADED, "sockets are read no further"),
        ("journal", WELL["journal"] | {"waiting_s": 7.0, "failing": "I/O error"}, State.FAILED, "7.0 s: I/O error"),
        ("journal.damage", "recorder.sqlite is missing", State.DEGRADED, "`recorder verify`: recorder.sqlite is"),
        ("seal.age_s", 470.0, State.OK, ""),
        ("seal.age_s", 490.0, State.DEGRADED, "nothing has been sealed for 490 s"),
        ("heartbeat", {"trouble": "No connection."}, State.DEGRADED, "the heartbeat does not arrive: No connection."),
        ("heartbeat", {"trouble": ""}, State.OK, ""),
        ("disk.halted", True, State.FAILED, "halted"),
        ("disk.free_bytes", 400 << 20, State.DEGRADED, "400 MB are free"),
        ("feeds.news", gap(5), State.OK, ""),
        ("feeds.news", gap(60), State.DEGRADED, "news has not received for 60 s: closed with 1006"),
        ("feeds.news", gap(3600), State.FAILED, "3600 s"),
        ("feeds.news", {"gap": None, "unusual_silence_s": 1800.0}, State.DEGRADED, "silent for 1800 s"),
        ("jobs", [{"job": "seal", "last_outcome": "OSError: no"}], State.DEGRADED, "the job seal failed: OSError: no"),
    ],
)
def test_each_fact_has_its_verdict_and_says_why(where: str, fact: object, state: State, reason: str) -> None:
    facts = copy.deepcopy(WELL)
    *sections, name = where.split(".")
    place = facts
    for section in sections:
        place = place[section]
    place[name] = fact
    told = verdict(facts, True, NOW_NS)
    assert told.state is state
    assert reason in "; ".join(told.reasons)


def test_the_worst_decides_and_every_reason_is_told() -> None:
    facts = copy.deepcopy(WELL)
    facts["feeds"] = {"news": gap(60), "raw": gap(3600)}
    told = verdict(facts, True, NOW_NS)
    assert told.state is State.FAILED
    assert len(told.reasons) == 2


def test_a_slow_commit_interval_is_no_failure() -> None:
    facts = copy.deepcopy(WELL)
    facts["journal"] |= {"commit_interval_ms": 10_000, "waiting_s": 9.0}
    assert verdict(facts, True, NOW_NS).state is State.OK


def test_no_recorder_and_no_facts_are_told_apart() -> None:
    assert verdict(WELL, False, NOW_NS).state is State.FAILED
    assert verdict(None, True, NOW_NS).state is State.DEGRADED
