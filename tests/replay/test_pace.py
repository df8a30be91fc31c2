from __future__ import annotations

import asyncio

import pytest

from recorder.clock import MS_NS, SECOND_NS, Clock
from recorder.replay.pace import Alarm, Figures


@pytest.mark.parametrize("exactly", [True, False])
async def test_a_sleeper_wakes_when_it_is_time_and_not_before(exactly: bool) -> None:
    clock = Clock()
    alarm = Alarm(clock)
    for ahead_ns in (5 * MS_NS, MS_NS // 10, 0, -MS_NS):
        due_ns = clock.monotonic_ns() + ahead_ns
        while clock.monotonic_ns() < due_ns:  # first before the last stretch, then through it
            await asyncio.wait_for(alarm.sleep(due_ns, exactly=exactly), 10)
    alarm.close()


@pytest.mark.parametrize("exactly", [True, False])
async def test_a_sleeper_wakes_when_it_is_rung(exactly: bool) -> None:
    clock = Clock()
    alarm = Alarm(clock)
    sleeping = asyncio.ensure_future(alarm.sleep(clock.monotonic_ns() + 3600 * SECOND_NS, exactly=exactly))
    await asyncio.sleep(0)
    alarm.ring()
    await asyncio.wait_for(sleeping, 10)
    alarm.ring()  # before somebody sleeps
    await asyncio.wait_for(alarm.sleep(clock.monotonic_ns() + 3600 * SECOND_NS, exactly=exactly), 10)
    alarm.close()


@pytest.mark.parametrize("exactly", [True, False])
async def test_the_loop_gets_its_turn_even_if_everything_is_late(exactly: bool) -> None:
    alarm, turns = Alarm(Clock()), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(10):
        await alarm.sleep(0, exactly=exactly)
    assert turns >= 10
    task.cancel()
    alarm.close()


def test_figures_tell_quantiles_of_the_last_messages_and_the_speed_of_the_last_second() -> None:
    figures = Figures(0, 1000)
    assert figures.lateness_ms is None
    for late_ns in range(100):
        figures.late(late_ns * MS_NS)
    assert figures.lateness_ms == (50, 99)
    figures.take(2 * SECOND_NS, 1000 + 120 * SECOND_NS)
    assert figures.speed_reached == 60
    figures.restart(3 * SECOND_NS, 0)
    figures.take(4 * SECOND_NS, SECOND_NS)
    assert figures.speed_reached == 1
    assert figures.lateness_ms is None
