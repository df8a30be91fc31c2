from __future__ import annotations

import pytest

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.redial import DAY_NS, ConnectBudget, Redial
from recorder.settings import Redial as Settings


def at(seconds: float) -> Moment:
    ns = int(seconds * SECOND_NS)
    return Moment(1_800_000_000 * SECOND_NS + ns, ns)


def wait_s(redial: Redial, now: Moment) -> float:
    return max(0, redial.at_ns - now.monotonic_ns) / SECOND_NS


def always_full() -> float:
    return 1.0


def test_the_first_try_after_a_proven_connection_is_at_once() -> None:
    redial = Redial(Settings(proven_s=5), always_full)
    redial.dialled()
    redial.ended(at(1).monotonic_ns, at(6))
    assert wait_s(redial, at(6)) == 0


def test_waits_grow_to_the_cap_and_stay_there() -> None:
    redial = Redial(Settings(first_s=0.5, max_s=30), always_full)
    waits = []
    now = 0.0
    for _ in range(10):
        redial.dialled()
        redial.ended(None, at(now))
        waits.append(wait_s(redial, at(now)))
        now += waits[-1]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_jitter_takes_at_most_half() -> None:
    redial = Redial(Settings(first_s=0.5), lambda: 0.0)
    redial.dialled()
    redial.ended(None, at(0))
    assert wait_s(redial, at(0)) == 0.25


def test_a_short_life_after_the_proof_does_not_reset_the_ladder() -> None:
    """An upstream that sends one article and hangs up is not dialled hundreds of times a second."""
    redial = Redial(Settings(first_s=0.5, max_s=30, proven_s=5), always_full)
    now = 0.0
    dials = 0
    while now < 60:
        redial.dialled()
        dials += 1
        redial.ended(at(now).monotonic_ns, at(now + 0.001))
        now += 0.001 + wait_s(redial, at(now + 0.001))
    assert dials == 7  # at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s


def test_an_order_to_wait_is_kept() -> None:
    redial = Redial(Settings())
    assert redial.wait(900, at(0), loud=False) == 900
    redial.dialled()
    redial.ended(None, at(1))
    assert wait_s(redial, at(0)) == 900


def test_a_repeated_loud_refusal_is_retried_ever_more_slowly_but_for_ever() -> None:
    redial = Redial(Settings(refused_max_s=900))
    assert [redial.wait(60, at(0), loud=True) for _ in range(6)] == [60, 120, 240, 480, 900, 900]
    assert {redial.wait(60, at(0), loud=True) for _ in range(5000)} == {900}


def test_an_order_longer_than_the_cap_is_obeyed() -> None:
    assert Redial(Settings(refused_max_s=900)).wait(3600, at(0), loud=True) == 3600


@pytest.mark.parametrize("per_day", [20, 8000])
def test_no_24_hours_hold_more_connects_than_the_budget(per_day: int) -> None:
    budget = ConnectBudget(per_day)
    spent = []
    now = Moment(0, 0)
    while now.monotonic_ns < 2 * DAY_NS:
        now = Moment(0, max(now.monotonic_ns, budget.at_ns(now)))
        budget.spend(now)
        spent.append(now.monotonic_ns)
    busiest = max(sum(1 for t in spent if start <= t < start + DAY_NS) for start in spent[:: max(1, per_day // 20)])
    assert per_day * 0.8 <= busiest <= per_day


def test_a_burst_after_an_outage_is_free() -> None:
    budget = ConnectBudget(8000)
    now = Moment(0, 0)
    for _ in range(100):
        assert budget.at_ns(now) == now.monotonic_ns
        budget.spend(now)


def test_another_budget_counts_what_was_spent_before() -> None:
    budget = ConnectBudget(8000)
    now = Moment(0, 0)
    for _ in range(790):
        budget.spend(now)
    budget.allow(4000)
    for _ in range(10):
        assert budget.at_ns(now) == now.monotonic_ns
        budget.spend(now)
    assert budget.at_ns(now) > now.monotonic_ns
