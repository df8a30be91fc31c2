"""Gaps of Finlight feeds are filled from its REST API, one pass at a time, beside the recording.

In: gaps as they close, and those an earlier recorder left waiting. Out: articles marked as fetched, and a
`gap.repaired` entry for each gap of each pass. It decides nothing: when a pass is due is agenda.py's job, what it asks
for and keeps backfill.py's. If the power fails, the pass is made again, and what it had kept is recorded by then.

Filling yields to recording: what is recorded is looked up in a process of its own at low priority, and nothing is
fetched while the journal is under pressure or the disk is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from recorder import lifecycle
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.feeds.agenda import REACH_NS, Agenda, Waiting
from recorder.feeds.backfill import DAY_NS, MARGIN_NS, Backfill, ClosedGap, Done, Fetch, Keep, Wait
from recorder.feeds.finlight_rest import Search
from recorder.feeds.keeper import Append
from recorder.feeds.redial import ConnectBudget
from recorder.feeds.rest import RestFailed, post
from recorder.message import Kind, Mark, Stream
from recorder.partitions import lookup
from recorder.partitions.sealer import worker_pool
from recorder.settings import AnyFeed, Finlight

log = logging.getLogger(__name__)

NOT_MISSED = ("start", "removed")  # causes of gaps in which nobody wanted anything
LOOK_S_MAX = 60.0  # a wall clock that steps is noticed after so long
HELD_UP_S = 1.0

T = TypeVar("T")


@dataclass(slots=True)
class _Feed:
    stream: Stream
    settings: Finlight
    search: Search
    budget: ConnectBudget
    agenda: Agenda


class Repairs:
    """All feeds that have a REST API. `held_up` says whether the recorder has no room for anything more just now."""

    def __init__(self, data: Path, clock: Clock, append: Append, held_up: Callable[[], bool]) -> None:
        self._data = data
        self._clock = clock
        self._append = append
        self._held_up = held_up
        self._feeds: dict[str, _Feed] = {}
        self._budgets: dict[tuple[str, str], ConnectBudget] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doing = ""

    # --- what it is told ----------------------------------------------------------------------------------------

    def configure(self, feeds: Mapping[str, AnyFeed], secrets: Mapping[str, str]) -> None:
        """These feeds from now on. A gap that waits goes on waiting as long as its feed is of the same kind."""
        before, self._feeds = self._feeds, {}
        for name, feed in feeds.items():
            if not isinstance(feed, Finlight) or feed.backfill_url is None:
                continue
            key = secrets.get(name, "")
            # The plan counts by key.
            budget = self._budgets.setdefault(
                (feed.backfill_url, key), ConnectBudget(feed.backfill_requests_per_day_max)
            )
            budget.allow(feed.backfill_requests_per_day_max)
            agenda = Agenda(feed)
            if name in before and before[name].settings.kind == feed.kind:
                agenda.waiting = before[name].agenda.waiting
            self._feeds[name] = _Feed(Stream(name, feed.kind), feed, Search(feed, key), budget, agenda)
        self._changed.set()

    def closed(self, stream: Stream, fields: Mapping[str, Any]) -> None:
        """A `gap.closed` entry was written."""
        feed = self._feeds.get(stream.feed)
        if feed and feed.stream == stream and fields["cause"] not in NOT_MISSED:
            feed.agenda.add(ClosedGap(fields["since_ns"], fields["until_ns"]))
            self._changed.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """A pass that is under way is given up; the next recorder makes it."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def status(self) -> dict[str, object]:
        """Facts for `recorder status`, by feed. Moments are nanoseconds UTC."""
        return {
            name: {
                "waiting": len(feed.agenda.waiting),
                "next_ns": feed.agenda.due_ns if feed.agenda.waiting else None,
                "doing": name == self._doing,
                "passes": feed.agenda.passes,
                "recovered": feed.agenda.recovered,
            }
            for name, feed in self._feeds.items()
        }

    # --- doing --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._take_over()
        except Exception as error:
            # What an earlier recorder left waiting is looked for at the next start; new gaps are filled all the same.
            log.exception("backfill.failed", extra={"fields": {"error": repr(error)}})
        while True:
            self._changed.clear()
            now = self._clock.now()
            feed = min(self._feeds.values(), key=lambda feed: feed.agenda.due_ns, default=None)
            wait_s = LOOK_S_MAX if feed is None else min(LOOK_S_MAX, (feed.agenda.due_ns - now.utc_ns) / SECOND_NS)
            if feed is None or wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
            else:
                await self._fill(feed)

    async def _take_over(self) -> None:
        """Gaps that wait since before this recorder started."""
        if not self._feeds:
            return
        now_ns = self._clock.now().utc_ns
        kinds = {name: feed.settings.kind for name, feed in self._feeds.items()}
        left = await _beside(partial(lookup.gaps_left, self._data, dict(kinds), now_ns - REACH_NS, NOT_MISSED))
        for gap in left:
            feed = self._feeds.get(gap.feed)
            if feed:
                # Whoever restarts has perhaps changed what was refused: nobody waits for long after it.
                soon_ns = now_ns + int(feed.settings.backfill_again_s * SECOND_NS)
                again_ns = None if gap.again_ns is None else min(gap.again_ns, soon_ns)
                feed.agenda.add(ClosedGap(gap.since_ns, gap.until_ns), recovered=gap.recovered, again_ns=again_ns)

    async def _fill(self, feed: _Feed) -> None:
        began = self._clock.now()
        self._tell(feed, feed.agenda.give_up(began))
        taken = feed.agenda.take(began)
        if not taken:
            return
        self._doing = feed.stream.feed
        try:
            done = await self._pass(feed, taken, began)
        except Exception as error:
            # Whatever it is, recording goes on, and the gap is looked at again.
            log.exception("backfill.failed", extra={"fields": {"feed": feed.stream.feed, "error": repr(error)}})
            entries = feed.agenda.failed(taken, f"the recorder failed of {type(error).__name__}", self._clock.now())
        else:
            if done.refusal:
                log.warning("backfill.ended", extra={"fields": {"feed": feed.stream.feed, "cause": done.refusal.cause}})
            entries = feed.agenda.done(taken, done, began, self._clock.now())
        finally:
            self._doing = ""
        self._tell(feed, entries)

    async def _pass(self, feed: _Feed, taken: list[Waiting], began: Moment) -> Done:
        gaps = [waiting.gap for waiting in taken]
        since_ns = min(gap.since_ns for gap in gaps) - MARGIN_NS
        until_ns = max(gap.until_ns for gap in gaps) + MARGIN_NS + DAY_NS
        recorded = await _beside(partial(lookup.recorded, self._data, feed.stream.feed, since_ns, until_ns))
        backfill = Backfill(
            feed.search,
            gaps,
            recorded.union(*(waiting.kept for waiting in taken)),
            feed.budget,
            began,
            settle_s=feed.settings.backfill_delay_s,
            updates=feed.settings.include_updates,
        )
        actions = backfill.begin(self._clock.now())
        while True:
            for action in actions:
                match action:
                    case Keep(articles):
                        self._append(feed.stream, Kind.DATA, 0, articles, Mark.REST, self._clock.now())
                    case Wait(seconds):
                        await asyncio.sleep(seconds)
                        actions = backfill.waited(self._clock.now())
                    case Done() as done:
                        return done
                    case Fetch(request):
                        while self._held_up():  # noqa: ASYNC110 - nobody in a hurry waits here
                            await asyncio.sleep(HELD_UP_S)
                        try:
                            answer = await post(request)
                        except RestFailed as failure:
                            actions = backfill.failed(str(failure), self._clock.now())
                        else:
                            actions = backfill.answered(*answer, self._clock.now())

    def _tell(self, feed: _Feed, entries: list[dict[str, Any]]) -> None:
        for fields in entries:
            entry = lifecycle.entry("gap.repaired", **fields)
            self._append(feed.stream, Kind.LIFECYCLE, 0, [entry], Mark.NONE, self._clock.now())


async def _beside(task: Callable[[], T]) -> T:
    """Do it in a process of its own at low priority, which is gone afterwards: passes are rare."""
    pool = worker_pool()
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, task)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
