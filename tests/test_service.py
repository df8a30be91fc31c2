from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from recorder.clock import SECOND_NS
from recorder.health import State, Verdict
from recorder.service import OVERDUE_S, READY_PATIENCE_S, STUCK_ABOVE_GIVE_UP_S, Facts, OpenGap, Service, line

NOON_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
SILENT = OpenGap("quotes", NOON_NS, "silent")
WELL = Facts(
    monotonic_ns=1000 * SECOND_NS,
    running_ns=SECOND_NS,
    channels=2,
    gaps=(),
    durable=42,
    groups=3,
    waiting_bytes=0,
    durable_ms_p99=22.04,
    overdue_ns=0,
    verdict=Verdict(State.OK),
)
GIVE_UP_S = 60.0


def later(facts: Facts, seconds: float, **changes: object) -> Facts:
    ns = int(seconds * SECOND_NS)
    moved = replace(facts, monotonic_ns=facts.monotonic_ns + ns, running_ns=facts.running_ns + ns)
    return replace(moved, **changes)  # type: ignore[arg-type]


def test_it_is_ready_once_when_a_channel_receives_and_something_is_durable() -> None:
    service = Service(GIVE_UP_S)
    assert "READY" not in service.words(replace(WELL, groups=0))
    assert "READY" not in service.words(replace(WELL, gaps=(SILENT, OpenGap("news", NOON_NS, "start"))))
    assert service.words(replace(WELL, gaps=(SILENT,)))["READY"] == "1"
    assert "READY" not in service.words(WELL)


def test_upstreams_that_are_down_at_boot_delay_ready_but_do_not_prevent_it() -> None:
    service = Service(GIVE_UP_S)
    down = replace(WELL, gaps=(SILENT, OpenGap("news", NOON_NS, "start")))
    assert "READY" not in service.words(later(down, READY_PATIENCE_S - 2))
    words = service.words(later(down, READY_PATIENCE_S))
    assert words["READY"] == "1"
    assert words["STATUS"].startswith("ok: 0/2 receiving")
    stuck = later(down, READY_PATIENCE_S, groups=0)
    assert "READY" not in Service(GIVE_UP_S).words(stuck), "a recorder that cannot write has not started"


def test_silence_of_every_upstream_for_a_year_keeps_the_watchdog_fed() -> None:
    service = Service(GIVE_UP_S)
    silent = replace(WELL, gaps=(SILENT, OpenGap("news", NOON_NS, "silent")))
    for day in range(365):
        assert service.words(later(silent, day * 86_400))["WATCHDOG"] == "1"


def test_a_journal_that_is_stuck_starves_the_watchdog_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(GIVE_UP_S)
    stuck_s = GIVE_UP_S + STUCK_ABOVE_GIVE_UP_S
    waiting = replace(WELL, waiting_bytes=5000)
    with caplog.at_level(logging.ERROR):
        assert "WATCHDOG" in service.words(waiting)
        assert "WATCHDOG" in service.words(later(waiting, stuck_s - 1))
        words = service.words(later(waiting, stuck_s))
        service.words(later(waiting, stuck_s + 1))
    assert "WATCHDOG" not in words
    assert "made nothing durable for 90 s while 5000 bytes wait" in words["STATUS"]
    assert [record.message for record in caplog.records] == ["watchdog.withheld"], "said once, not each second"
    assert "WATCHDOG" in service.words(later(waiting, stuck_s + 2, durable=43)), "progress, however slow, is life"


def test_a_journal_with_nothing_to_do_is_not_stuck() -> None:
    service = Service(GIVE_UP_S)
    service.words(WELL)
    assert "WATCHDOG" in service.words(later(WELL, 10_000))
    assert "WATCHDOG" in service.words(later(WELL, 10_001, waiting_bytes=10))


def test_a_channel_that_nobody_wakes_starves_the_watchdog() -> None:
    service = Service(GIVE_UP_S)
    assert "WATCHDOG" in service.words(replace(WELL, overdue_ns=int((OVERDUE_S - 1) * SECOND_NS)))
    words = service.words(replace(WELL, overdue_ns=int(OVERDUE_S * SECOND_NS)))
    assert "WATCHDOG" not in words
    assert "not been looked after for 30 s" in words["STATUS"]


def test_the_status_is_one_telling_line() -> None:
    assert line(WELL) == "ok: 2/2 receiving, durable up to 42 (p99 22.0 ms)"
    assert line(replace(WELL, gaps=(SILENT,))) == (
        "ok: 1/2 receiving, durable up to 42 (p99 22.0 ms); gap: quotes since 01-31 12:00:00 (silent)"
    )
    many = tuple(OpenGap(f"p/{n}", NOON_NS - n * SECOND_NS, "silent") for n in range(40))
    told = line(replace(WELL, channels=50, gaps=many))
    assert told.startswith("ok: 10/50 receiving")
    assert "gap: p/39 since 01-31 11:59:21 (silent); gap: p/38" in told
    assert told.endswith("; and 37 more")
    bad = Verdict(State.FAILED, ("quotes is silent", "the disk is full"))
    assert line(replace(WELL, gaps=(SILENT,), verdict=bad)) == (
        "failed: 1/2 receiving, durable up to 42 (p99 22.0 ms); quotes is silent; the disk is full"
    )


def test_a_problem_stays_in_the_status_until_it_is_over() -> None:
    service = Service(GIVE_UP_S)
    service.problem = "reload refused, the old settings hold: …"
    assert service.words(WELL)["STATUS"].endswith("; reload refused, the old settings hold: …")
    service.problem = ""
    assert service.words(WELL)["STATUS"] == line(WELL)
