from __future__ import annotations

from typing import Any

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.agenda import GAPS_MAX, Agenda, Waiting
from recorder.feeds.backfill import ClosedGap, Done, Filling
from recorder.feeds.feed import NEVER_NS
from recorder.feeds.finlight_rest import DAY_S, Refusal
from recorder.settings import Finlight

START_NS = 1_790_000_000 * SECOND_NS
DAY_NS = 86_400 * SECOND_NS


def at(seconds: float) -> Moment:
    return Moment(START_NS + int(seconds * SECOND_NS), 0)


def gap(since_s: float, until_s: float) -> ClosedGap:
    return ClosedGap(at(since_s).utc_ns, at(until_s).utc_ns)


def agenda(kind: str = "finlight") -> Agenda:
    return Agenda(Finlight.model_validate({"kind": kind}))


def finish(of: Agenda, taken: list[Waiting], now: Moment, recovered: int = 0, refusal: Refusal | None = None) -> Any:
    fillings = [Filling(each.gap, recovered, kept=[("link", None)] * recovered) for each in taken]
    return of.done(taken, Done(fillings, 1, refusal), now, now)


def test_a_gap_is_looked_at_soon_after_it_and_once_more_late() -> None:
    waiting = agenda()
    waiting.add(gap(0, 10))
    assert waiting.due_ns == at(70).utc_ns
    assert waiting.take(at(69)) == []
    taken = waiting.take(at(70))
    (first,) = finish(waiting, taken, at(71), recovered=3)
    assert first == {
        "since_ns": at(0).utc_ns,
        "until_ns": at(10).utc_ns,
        "recovered": 3,
        "already": 0,
        "pages": 1,
        "late_pass": False,
        "complete": False,
        "repair": "looked once; what is indexed late is looked for once more",
        "again_ns": at(610).utc_ns,
    }
    assert waiting.due_ns == at(610).utc_ns
    (last,) = finish(waiting, waiting.take(at(610)), at(611), recovered=1)
    assert (last["late_pass"], last["complete"], last["repair"], last["again_ns"]) == (True, True, "complete", None)
    assert waiting.due_ns == NEVER_NS
    assert waiting.recovered == 4


def test_what_was_kept_is_remembered_for_the_late_look() -> None:
    waiting = agenda()
    waiting.add(gap(0, 10))
    finish(waiting, waiting.take(at(70)), at(70), recovered=1)
    (again,) = waiting.take(at(610))
    assert again.kept == {("link", None)}


def test_a_gap_found_late_is_looked_at_once() -> None:
    waiting = agenda("finlight.raw")
    waiting.add(gap(0, 10))
    (entry,) = finish(waiting, waiting.take(at(5000)), at(5000))
    assert entry["complete"] is True
    assert entry["repair"] == "complete; raw feed: text fields only, timing differs"
    assert not waiting.waiting


def test_gaps_that_are_near_are_taken_together_and_far_ones_apart() -> None:
    waiting = agenda()
    for since_s in (0, 100, 200, 20_000):
        waiting.add(gap(since_s, since_s + 10))
    assert [each.gap for each in waiting.take(at(30_000))] == [gap(20_000, 20_010)]
    assert waiting.due_ns == at(30_060).utc_ns, "passes keep a distance"
    finish(waiting, [each for each in waiting.waiting if each.gap == gap(20_000, 20_010)], at(30_000))
    assert [each.gap for each in waiting.take(at(30_060))] == [gap(200, 210), gap(100, 110), gap(0, 10)]


def test_a_quota_is_asked_again_day_after_day_until_nobody_reaches_back_so_far() -> None:
    waiting = agenda()
    waiting.add(gap(0, 10))
    quota = Refusal("quota (HTTP 429)", DAY_S)
    now = at(70)
    told = []
    while waiting.waiting:
        told += waiting.give_up(now)
        told += finish(waiting, waiting.take(now), now, refusal=quota) if waiting.waiting else []
        now = Moment(now.utc_ns + DAY_NS, 0)
    assert [(entry["repair"], entry["again_ns"] is None, entry["complete"]) for entry in told] == [
        ("waiting: quota (HTTP 429)", False, False),  # told once
        ("never: older than a month", True, False),
    ]


def test_a_refusal_for_good_says_never_or_what_was_left_out() -> None:
    for recovered, word in ((0, "never"), (2, "partial")):
        waiting = agenda()
        waiting.add(gap(0, 10))
        refusal = Refusal("the request was refused (HTTP 400)", None)
        (entry,) = finish(waiting, waiting.take(at(70)), at(70), recovered, refusal)
        assert entry["repair"] == f"{word}: the request was refused (HTTP 400)"
        assert not waiting.waiting


def test_a_gap_that_begins_beyond_the_reach_is_filled_in_part() -> None:
    waiting = agenda()
    waiting.add(ClosedGap(START_NS - 40 * DAY_NS, START_NS))
    assert waiting.give_up(at(1000)) == []
    (entry,) = finish(waiting, waiting.take(at(1000)), at(1000), recovered=5)
    assert entry["repair"] == "partial: older than a month"


def test_a_pass_that_breaks_is_made_again() -> None:
    waiting = agenda()
    waiting.add(gap(0, 10))
    (entry,) = waiting.failed(waiting.take(at(70)), "no room", at(70))
    assert entry["repair"] == "waiting: no room"
    assert waiting.due_ns == at(3670).utc_ns


def test_a_gap_is_known_by_its_beginning() -> None:
    waiting = agenda()
    waiting.add(gap(0, 10))
    waiting.add(gap(0, 10), again_ns=at(5).utc_ns)
    assert len(waiting.waiting) == 1


def test_waiting_gaps_are_bounded_and_the_oldest_are_given_up() -> None:
    waiting = agenda()
    for number in range(GAPS_MAX + 2):
        waiting.add(gap(number, number + 0.5))
    entries = waiting.give_up(at(0))
    assert len(waiting.waiting) == GAPS_MAX
    assert {entry["since_ns"] for entry in entries} == {at(0).utc_ns, at(1).utc_ns}
    assert {entry["repair"] for entry in entries} == {"never: too many gaps wait"}
