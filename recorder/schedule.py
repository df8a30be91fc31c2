"""What is done again and again while the recorder runs, each job one row of a table that `status` shows.

In: jobs with their interval. Out: APScheduler runs them on the event loop, never two runs of one job at once; a run
that was missed is made up for once. A job that fails is logged (once, while it fails alike), counted and run again at
its next time; it stops nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from recorder.clock import Clock
from recorder.errors import RecorderError

log = logging.getLogger(__name__)


class Missed(Enum):
    """What becomes of runs for which there was no time: the one before took longer, or the machine slept."""

    ONCE = "made up for once"
    LEFT_OUT = "left out"  # the next one is due so soon that it is the same


@dataclass(slots=True)
class Job:
    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]
    missed: Missed = Missed.ONCE
    runs: int = 0
    failures: int = 0
    last_s: float = 0.0  # how long the last run took
    last_ns: int = 0  # UTC; when it ended; 0: never
    total_s: float = 0.0  # how long all of them took
    last_outcome: str = "not run yet"

    async def once(self) -> None:
        """One run, with its outcome noted; never raises but for cancelling."""
        started = time.perf_counter()
        try:
            await self.run()
        except Exception as error:
            # The job's own errors are its business; here every one of them must leave the schedule going.
            self.failures += 1
            before, self.last_outcome = self.last_outcome, f"{type(error).__name__}: {error}"
            if self.last_outcome != before:  # a disk that is gone would fill the log each second
                ours = not isinstance(error, (OSError, sqlite3.Error, RecorderError))
                told = {"fields": {"job": self.name, "error": self.last_outcome}}
                log.error("job.failed", extra=told, exc_info=error if ours else None)
        else:
            self.last_outcome = "ok"
        self.runs += 1
        self.last_s = time.perf_counter() - started
        self.last_ns = Clock().now().utc_ns
        self.total_s += self.last_s


class Schedule:
    """The jobs of one recorder."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def start(self) -> None:
        for job in self.jobs:
            self._scheduler.add_job(
                job.once, "interval", seconds=job.every_s, id=job.name, max_instances=1, coalesce=True,
                misfire_grace_time=None if job.missed is Missed.ONCE else max(1, int(job.every_s)),
            )  # fmt: skip
        self._scheduler.start()

    def stop(self) -> None:
        """No further runs; one that is under way goes on."""
        if self._scheduler.running:
            self._scheduler.pause()  # shutdown(), whatever it says, cancels what is under way: a seal half done

    def table(self) -> list[dict[str, object]]:
        """One row a job, for `status`. Times are UTC."""
        rows: list[dict[str, object]] = []
        for job in self.jobs:
            scheduled = self._scheduler.get_job(job.name)
            upcoming = scheduled.next_run_time if scheduled else None
            rows.append(
                {
                    "job": job.name,
                    "every_s": job.every_s,
                    "missed": job.missed.value,
                    "runs": job.runs,
                    "failures": job.failures,
                    "last_s": round(job.last_s, 6),
                    "last_ns": job.last_ns or None,
                    "total_s": round(job.total_s, 6),
                    "last_outcome": job.last_outcome,
                    "next": upcoming.isoformat() if upcoming else None,
                }
            )
        return rows
