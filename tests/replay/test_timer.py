from __future__ import annotations

import asyncio
from pathlib import Path

from recorder.clock import MS_NS, SECOND_NS, Clock
from recorder.replay.timer import Timer


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_it_calls_not_before_its_time_and_once() -> None:
    clock, called = Clock(), asyncio.Event()
    timer = Timer(called.set)
    due_ns = clock.monotonic_ns() + 20 * MS_NS
    timer.set(due_ns)
    await asyncio.wait_for(called.wait(), 10)
    assert clock.monotonic_ns() >= due_ns
    called.clear()
    timer.set(clock.monotonic_ns() + 20 * MS_NS)
    await asyncio.wait_for(called.wait(), 10)
    timer.close()


async def test_a_time_that_has_passed_is_now() -> None:
    called = asyncio.Event()
    timer = Timer(called.set)
    for due_ns in (1, 0, -5, Clock().monotonic_ns() - SECOND_NS):
        called.clear()
        timer.set(due_ns)
        await asyncio.wait_for(called.wait(), 10)
    timer.close()


async def test_set_anew_it_forgets_the_time_before() -> None:
    clock, calls = Clock(), asyncio.Event()
    timer = Timer(calls.set)
    timer.set(clock.monotonic_ns() + 3600 * SECOND_NS)
    timer.set(clock.monotonic_ns() + MS_NS)
    await asyncio.wait_for(calls.wait(), 10)
    calls.clear()
    timer.set(1)
    timer.set(clock.monotonic_ns() + 3600 * SECOND_NS)  # what was due is not called any more
    await asyncio.sleep(0.01)
    assert not calls.is_set()
    timer.close()


async def test_closed_it_leaves_no_file_open() -> None:
    before = descriptors()
    for _ in range(10):
        timer = Timer(lambda: None)
        timer.set(1)
        timer.close()
    assert descriptors() == before
