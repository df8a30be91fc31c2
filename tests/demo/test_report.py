from __future__ import annotations

from typing import Any

import pytest

from recorder.demo.check import Verdict
from recorder.demo.evidence import Fingerprint
from recorder.demo.report import Report, show_report

FIGURES: dict[str, Any] = {
    **dict.fromkeys(("rotations", "rotation_both", "rotation_only_old", "rotation_only_new", "reconnects", "gaps"), 2),
    **dict.fromkeys(("gap_s", "recovered", "messages_per_s", "durable_ms_p50", "durable_ms_p99"), 3.0),
    **{"positions": 9, "bytes_on_disk": 1000, "positions_dense": True, "other_process_agrees": True},
}


def told(verdict: Verdict, **figures: Any) -> Report:
    return Report(
        {("news", ""): Verdict(sent=5, recorded=5), ("profiles", "JPM"): verdict}, FIGURES | figures, [], None
    )


@pytest.mark.parametrize("count", ["lost", "duplicated", "altered"])
def test_anything_lost_doubled_or_altered_fails(count: str) -> None:
    verdict = Verdict(sent=5, recorded=5)
    setattr(verdict, count, 1)
    assert told(verdict).exit_code == 1


@pytest.mark.parametrize("fact", ["positions_dense", "other_process_agrees"])
def test_holes_and_another_view_of_the_recording_fail(fact: str) -> None:
    assert told(Verdict(), **{fact: False}).exit_code == 1


def test_what_lies_in_a_recorded_gap_does_not_fail() -> None:
    assert told(Verdict(sent=5, recorded=3, lost_in_gaps=2)).exit_code == 0


def test_json_sums_up_and_tells_each_feed() -> None:
    verdict = Verdict(sent=5, recorded=3, lost=1, lost_in_gaps=1, examples=["profiles/JPM: lost"])
    document = told(verdict).as_json()
    assert {name: document[name] for name in ("sent", "recorded", "lost", "lost_in_gaps", "duplicated")} == {
        "sent": 10, "recorded": 8, "lost": 1, "lost_in_gaps": 1, "duplicated": 0,
    }  # fmt: skip
    assert document["feeds"]["profiles/JPM"]["lost"] == 1
    assert document["examples"] == ["profiles/JPM: lost"]


def test_people_are_told_the_verdict_and_each_problem(capsys: pytest.CaptureFixture[str]) -> None:
    show_report(told(Verdict(sent=5, recorded=4, lost=1, examples=["profiles/JPM: lost, in no gap"])))
    bad = capsys.readouterr().out
    assert "profiles/JPM: lost, in no gap" in bad
    assert "The recording is not what was sent" in bad
    show_report(told(Verdict()))
    assert "Nothing was lost and nothing doubled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fingerprint", "dense"),
    [
        (Fingerprint(9, 9, 1, 9, 0), True),
        (Fingerprint(8, 8, 1, 9, 0), False),
        (Fingerprint(9, 8, 1, 9, 0), False),
        (Fingerprint(9, 9, 2, 10, 0), False),
        (Fingerprint(0, 0, 0, 0, 0), False),
    ],
)
def test_positions_are_dense_only_without_hole_and_double_from_one_on(fingerprint: Fingerprint, dense: bool) -> None:
    assert fingerprint.dense is dense
