from __future__ import annotations

import asyncio

import pytest

from recorder.schedule import Job, Schedule


async def test_a_job_that_fails_is_counted_and_run_again() -> None:
    ran = asyncio.Event()

    async def fails_once() -> None:
        if job.runs == 0:
            raise ValueError("the disk said no")
        ran.set()

    job = Job("seal", 0.01, fails_once)
    schedule = Schedule([job])
    schedule.start()
    async with asyncio.timeout(20):
        await ran.wait()
    (row,) = schedule.table()
    assert row["failures"] == 1
    assert row["next"]
    schedule.stop()


async def test_no_job_runs_twice_at_once() -> None:
    at_once = most = 0
    thrice = asyncio.Event()

    async def slow() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.03)
        at_once -= 1
        if job.runs >= 3:
            thrice.set()

    job = Job("seal", 0.01, slow)
    schedule = Schedule([job])
    schedule.start()
    async with asyncio.timeout(20):
        await thrice.wait()
    schedule.stop()
    assert most == 1


async def test_a_run_that_is_under_way_at_the_stop_goes_on_and_is_the_last() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    job = Job("seal", 0.01, slow)
    schedule = Schedule([job])
    schedule.start()
    async with asyncio.timeout(20):
        await begun.wait()
        schedule.stop()
        await asyncio.sleep(0)  # a cancelled run would end here
        go_on.set()
        await ended.wait()
    begun.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(begun.wait(), 0.1)
    assert (job.runs, job.failures) == (1, 0)
