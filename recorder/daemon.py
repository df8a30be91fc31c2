"""The recorder as a whole: from the lock on its data directory to the last fsync.

In: settings and secrets. Out: a data directory that grows until it is told to stop. Here the rooms are wired together
and nothing is decided. If the power fails, everything at or below the durable position is there, and the next start
writes the gap with the bounds that the journal tells.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import recorder
from recorder import lifecycle, status
from recorder.clock import Clock, Moment
from recorder.errors import JournalFailed
from recorder.feeds.channel import Channel
from recorder.feeds.connection import Connection
from recorder.feeds.feed import Request, Subscription
from recorder.feeds.keeper import Ear, Keeper
from recorder.feeds.logbook import Gap
from recorder.feeds.redial import ConnectBudget, Redial
from recorder.feeds.register import subscriptions
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions.sealer import Report, Sealer
from recorder.reserve import Order, Reserve
from recorder.schedule import Job, Schedule
from recorder.settings import AnyFeed, FinanceQuery, Settings

log = logging.getLogger(__name__)

STATUS_EVERY_S = 1.0
DISK_EVERY_S = 1.0
FAREWELL_S = 2.0  # how long an upstream may take to answer our close, at a stop
OWN = Stream(lifecycle.RECORDER_FEED, lifecycle.RECORDER_FEED)
WARNINGS = (
    "gap.opened",
    "rotation.failed",
    "connection.refused",
    "connection.failed",
    "feed.",
    "journal.",
    "clock.",
    "disk.full",
)


class Daemon:
    """One recorder on one data directory. `run()` returns when `stop()` was called or the journal failed."""

    def __init__(self, settings: Settings, secrets: Mapping[str, str]) -> None:
        self.settings = settings
        self.clock = Clock()
        self.journal = Journal.open(settings.data, settings.journal, self.clock)
        self.sealer = Sealer(settings.data, self.journal, settings.seal.bytes_max, self.clock)
        self.sealed = Report()
        self.messages: Counter[Stream] = Counter()
        self.started = self.clock.now()
        self._stop = asyncio.Event()
        self._why = "stopped"
        known = self.journal.standing.streams.values()
        self._numbers = itertools.count(1 + max((stream.connection for stream in known), default=0))
        self._budgets: dict[str, ConnectBudget] = {}
        self.keepers = [
            self._keeper(feed, subscription)
            for name, feed in settings.feeds.items()
            for subscription in subscriptions(name, feed, secrets.get(name, ""))
        ]
        self.reserve = Reserve(settings.data, settings.disk)
        self._sealing: asyncio.Future[None] | None = None
        self._sealed_bytes = 0  # of the journal's bytes, when sealing last began
        self._seal_job = Job("seal", settings.seal.interval_s, self._seal)
        self.schedule = Schedule(
            [
                self._seal_job,
                Job("disk", DISK_EVERY_S, self._watch_disk),
                Job("status", STATUS_EVERY_S, self._write_status),
            ]
        )

    def stop(self, why: str = "stopped") -> None:
        """End the run: hang up, make everything durable, seal."""
        self._why = why
        self._stop.set()

    async def run(self) -> None:
        """Record until told to stop. Raises JournalFailed when messages could not be made durable."""
        self.reserve.lay_up()
        self.journal.on_durable(self._on_durable)
        self.journal.on_pressure(self._on_pressure)
        self.journal.on_failed(lambda failure: self.stop(str(failure)))
        self._note("recorder.started", version=recorder.__version__, pid=os.getpid())
        for first, last, cause in self.journal.opening.lost:
            self._note("journal.lost", first_position=first, last_position=last, cause=cause)
        self._begin()
        self.schedule.start()
        log.info("Recording %d feeds into %s.", len(self.settings.feeds), self.settings.data)
        try:
            await self._stop.wait()
        finally:
            self.schedule.stop()
            await self._end()

    def _begin(self) -> None:
        standing = self.journal.standing
        kept = {keeper.channel.subscription.stream for keeper in self.keepers}
        for stream, known in standing.streams.items():
            if known.gap and stream not in kept:
                # A feed taken out of the configuration is not expected any more: its gap ends where it was taken out.
                since_ns, cause = known.gap.since_ns, known.gap.cause
                closed = lifecycle.entry("gap.closed", since_ns=since_ns, until_ns=self.started.utc_ns, cause=cause)
                self._append(stream, Kind.LIFECYCLE, 0, [closed], Mark.NONE, self.clock.now())
        for keeper in self.keepers:
            earlier = standing.streams.get(keeper.channel.subscription.stream)
            if earlier and earlier.last_received_ns:
                keeper.start(earlier.last_received_ns, "crash")
            else:
                keeper.start(self.started.utc_ns, "start")

    async def _end(self) -> None:
        if self.journal.failed is None:
            await asyncio.gather(*(keeper.stop(self._why, FAREWELL_S) for keeper in self.keepers))
            await self.journal.wait_durable(self._note("recorder.stopped", cause=self._why))
            await self._seal_job.once()
        await Job("status", STATUS_EVERY_S, self._write_status).once()
        await self.sealer.close()
        await self.journal.close()
        sealed = "sealed" if self.sealed.sealed_position == self.journal.durable else "in the journal, not sealed"
        log.info("Stopped: everything up to position %d is durable and %s.", self.journal.durable, sealed)

    def _keeper(self, feed: AnyFeed, subscription: Subscription) -> Keeper:
        budget = None
        if isinstance(feed, FinanceQuery):
            # The server counts connects by client address, over all its endpoints.
            host = urlsplit(feed.url).netloc
            budget = self._budgets.setdefault(host, ConnectBudget(feed.connects_per_day_max))
        known = self.journal.standing.streams.get(subscription.stream)
        gap = Gap(known.gap.since_ns, known.gap.cause) if known and known.gap else None
        channel = Channel(
            subscription,
            lambda: Redial(self.settings.redial),
            budget,
            self._numbers.__next__,
            feed.overlap_s,
            gap,
        )
        return Keeper(channel, self.clock, self._append, self._connect)

    def _connect(self, request: Request, ear: Ear) -> Connection:
        return Connection(request, ear, self.clock, self.settings.redial, self.settings.limits)

    def _append(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> int:
        try:
            position = self.journal.append(stream, kind, connection, payloads, mark, moment)
        except JournalFailed:
            return 0  # on_failed has begun the stop: what comes in meanwhile was never accepted
        self.messages[stream] += len(payloads)
        if kind is Kind.LIFECYCLE:
            for payload in payloads:
                fields = lifecycle.read(payload)
                event = fields.pop("event")
                expected = fields.get("cause") == "start"  # the gap before the first proof of life
                level = logging.WARNING if event.startswith(WARNINGS) and not expected else logging.INFO
                where = {"feed": stream.feed, "channel": stream.channel, "connection": connection}
                log.log(level, event, extra={"fields": {k: v for k, v in (where | fields).items() if v not in ("", 0)}})
        return position

    def _note(self, event: str, **fields: object) -> int:
        return self._append(OWN, Kind.LIFECYCLE, 0, [lifecycle.entry(event, **fields)], Mark.NONE, self.clock.now())

    async def _seal(self) -> None:
        self._sealed_bytes = self.journal.figures.bytes
        self.sealed = await self.sealer.seal()

    async def _watch_disk(self) -> None:
        order = self.reserve.judge(status.free_bytes(self.settings.data))
        if order is Order.HALT:
            self.reserve.give_up()
            self._note("disk.full", reserve_bytes=self.settings.disk.reserve_bytes)
            await asyncio.gather(*(keeper.stop("disk full", FAREWELL_S) for keeper in self.keepers))
        elif order is Order.RESUME:
            self.reserve.lay_up()
            self._note("disk.freed", resume_bytes=self.settings.disk.resume_bytes)
            for keeper in self.keepers:
                keeper.restart()

    def _on_durable(self, _position: int) -> None:
        """Seal early when much has come in, so that sealing needs no more memory than it was given."""
        if self.journal.figures.bytes - self._sealed_bytes >= self.settings.seal.bytes_max and not self._sealing:
            self._sealing = asyncio.ensure_future(self._seal_job.once())
            self._sealing.add_done_callback(self._sealed_early)

    def _sealed_early(self, _: asyncio.Future[None]) -> None:
        self._sealing = None

    def _on_pressure(self, pressed: bool) -> None:
        log.warning("journal.pressure", extra={"fields": {"reading": not pressed}})
        for keeper in self.keepers:
            keeper.pause() if pressed else keeper.resume()

    async def _write_status(self) -> None:
        await asyncio.to_thread(status.write, self.settings.data, self.status())

    def status(self) -> dict[str, object]:
        """How things are now; what `recorder status` shows."""
        return status.of(self)
