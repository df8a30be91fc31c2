"""The recorder as a whole: from the lock on its data directory to the last fsync.

In: settings and secrets. Out: a data directory that grows until it is told to stop. Here the rooms are wired together
and nothing is decided. If the power fails, everything at or below the durable position is there, and the next start
writes the gap with the bounds that the journal tells.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import recorder
import recorder.log
from recorder import lifecycle, reload, service, status, tallies
from recorder.clock import Clock, Moment
from recorder.clockwatch import ClockWatch
from recorder.errors import JournalFailed
from recorder.health import State
from recorder.heartbeat import Heartbeat
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.keeping import Keeping
from recorder.message import Kind, Mark, Stream
from recorder.notify import Notify
from recorder.partitions.sealer import Report, Sealer
from recorder.repair import Repairs
from recorder.reserve import Order, Reserve
from recorder.rhythm import HOURS_KIND, Rhythms
from recorder.roster import Roster
from recorder.schedule import Job, Missed, Schedule
from recorder.settings import Settings
from recorder.tallies import Tallies

log = logging.getLogger(__name__)

STATUS_EVERY_S = 1.0
CLOCK_EVERY_S = 1.0
DISK_EVERY_S = 1.0
SERVICE_EVERY_S = 1.0
RHYTHM_EVERY_S = 3600.0
RHYTHM_FACT = "rhythm"
STOPPING_S = 8.0  # for the last commit, and for the last seal: a stop takes seconds, however much is not sealed
OWN = Stream(lifecycle.RECORDER_FEED, lifecycle.RECORDER_FEED)


class Daemon:
    """One recorder on one data directory. `run()` returns when `stop()` was called or the journal failed."""

    def __init__(
        self,
        settings: Settings,
        secrets: Mapping[str, str],
        notify: Notify | None = None,
        heartbeat_url: str | None = None,
    ) -> None:
        self.settings = settings
        self.notify = notify or Notify({})
        self.service = service.Service(settings.journal.give_up_s)
        self.clock = Clock()
        self.journal = Journal.open(settings.data, settings.journal, self.clock)
        self.sealer = Sealer(settings.data, self.journal, settings.seal.bytes_max, self.clock)
        self.sealed = Report()
        self.sealed_ns = self.clock.monotonic_ns()  # when that was, or the start
        self.tallies = Tallies()
        self.keeping = Keeping(settings, self.journal, self.sealer, self.clock, self.tallies, self._note)
        self.rhythms = Rhythms()
        self._clock_watch = ClockWatch(CLOCK_EVERY_S)
        self.started = self.clock.now()
        self._stop = asyncio.Event()
        self._why = "stopped"
        self.roster = Roster(settings, secrets, self.clock, self.journal.standing, self._append)
        self.reserve = Reserve(settings.data, settings.disk)
        self.repairs = Repairs(settings.data, self.clock, self._append, self._held_up)
        self.repairs.configure(settings.feeds, secrets)
        self.heartbeat = Heartbeat(heartbeat_url, self._alive) if heartbeat_url else None
        self._sealing: asyncio.Future[None] | None = None
        self._sealed_bytes = 0  # of the journal's bytes, when sealing last began
        self._seal_job = Job("seal", settings.seal.interval_s, self._seal)
        self.schedule = Schedule(
            [
                self._seal_job,
                *self.keeping.jobs(),
                Job("disk", DISK_EVERY_S, self._watch_disk, Missed.LEFT_OUT),
                Job("clock", CLOCK_EVERY_S, self._watch_clock, Missed.LEFT_OUT),
                Job("status", STATUS_EVERY_S, self._write_status, Missed.LEFT_OUT),
                Job("rhythm", RHYTHM_EVERY_S, self._keep_rhythms),
                *([Job("heartbeat", settings.health.heartbeat_s, self.heartbeat.beat)] if self.heartbeat else []),
                Job("service", SERVICE_EVERY_S, self._tell_service_manager, Missed.LEFT_OUT),
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
        self.sealed.sealed_position = await self.journal.call(Store.sealed_position)
        self.rhythms.take(await self.journal.call(lambda store: store.fact(RHYTHM_FACT)))
        self.roster.begin()
        self.repairs.start()
        await self._watch_clock()  # from now on
        self.schedule.start()
        told = {"feeds": len(self.settings.feeds), "data": str(self.settings.data)}
        log.info("recorder.recording", extra={"fields": told})
        try:
            await self._stop.wait()
        finally:
            self.schedule.stop()
            await self._end()

    async def reload(self, settings: Settings, secrets: Mapping[str, str]) -> reload.Plan:
        """Go by other feeds from now on; what else changed holds after a restart."""
        plan = self.roster.plan(settings, secrets)
        self.settings = self.settings.model_copy(update={"feeds": settings.feeds})
        self.repairs.configure(settings.feeds, secrets)
        self._note("recorder.reloaded", **plan.fields())
        await self.roster.change(self.settings, secrets)
        self.service.problem = f"restart for what changed in {', '.join(plan.restart)}" if plan.restart else ""
        return plan

    async def _end(self) -> None:
        self.notify.tell(STOPPING=1, STATUS=f"stopping: {self._why}")
        await self.repairs.stop()
        await self.keeping.upkeep.close()
        if self.journal.failed is None:
            await self.roster.end(self._why)
            last = self._note("recorder.stopped", cause=self._why)
            with suppress(TimeoutError):  # a full disk: closing the journal says so
                await asyncio.wait_for(self.journal.wait_durable(last), STOPPING_S)
            with suppress(TimeoutError):  # the next start seals the rest
                await asyncio.wait_for(self._seal_job.once(), STOPPING_S)
        await Job("status", STATUS_EVERY_S, self._write_status).once()
        await self.sealer.close()
        await self.journal.close()
        ended = {"durable_position": self.journal.durable, "sealed_position": self.sealed.sealed_position}
        log.info("recorder.ended", extra={"fields": ended})

    def _append(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> int:
        try:
            position = self.journal.append(stream, kind, connection, payloads, mark, moment)
        except JournalFailed:
            return 0  # on_failed has begun the stop: what comes in meanwhile was never accepted
        self.tallies.took(stream, payloads)
        if stream.feed_kind == HOURS_KIND and kind is Kind.DATA:
            self.rhythms.market_hours(payloads[-1], moment.utc_ns)
        if kind is Kind.LIFECYCLE:
            for payload in payloads:
                fields = lifecycle.read(payload)
                event = fields.pop("event")
                self.tallies.noted(stream, event, fields)
                if event == "gap.closed":
                    self.repairs.closed(stream, fields)
                recorder.log.entry(stream, connection, event, fields)
        return position

    def _note(self, event: str, **fields: object) -> int:
        return self._append(OWN, Kind.LIFECYCLE, 0, [lifecycle.entry(event, **fields)], Mark.NONE, self.clock.now())

    async def _seal(self) -> None:
        self._sealed_bytes = self.journal.figures.bytes
        self.sealed = await self.sealer.seal()
        self.sealed_ns = self.clock.monotonic_ns()
        tallies.add(self.tallies.sealed, self.sealed)

    async def _keep_rhythms(self) -> None:
        rhythms = self.rhythms.to_json()
        await self.journal.call(lambda store: store.set_fact(RHYTHM_FACT, rhythms))

    async def _watch_disk(self) -> None:
        order = self.reserve.judge(status.free_bytes(self.settings.data))
        if order is Order.HALT:
            self._note("disk.full", reserve_bytes=self.settings.disk.reserve_bytes)
            await asyncio.to_thread(self.reserve.give_up)  # a disk that is slow as well holds up no event loop
            await self.roster.hang_up("disk full")
        elif order is Order.RESUME:
            await asyncio.to_thread(self.reserve.lay_up)
            self._note("disk.freed", resume_bytes=self.settings.disk.resume_bytes)
            self.roster.restart()

    async def _watch_clock(self) -> None:
        now = self.clock.now()
        for event, fields in self._clock_watch.look(now, self.clock.behind_ns):
            self._note(event, **fields)

    def _alive(self) -> bool:
        return bool(self.status()["health"]["state"] != State.FAILED.value)

    def _on_durable(self, _position: int) -> None:
        """Seal early when much has come in, so that sealing needs no more memory than it was given."""
        if self.journal.figures.bytes - self._sealed_bytes >= self.settings.seal.bytes_max and not self._sealing:
            self._sealing = asyncio.ensure_future(self._seal_job.once())
            self._sealing.add_done_callback(self._sealed_early)

    def _sealed_early(self, _: asyncio.Future[None]) -> None:
        self._sealing = None

    def _held_up(self) -> bool:
        """Whether there is no room for more than what the feeds bring."""
        return self.journal.figures.under_pressure or self.reserve.halted

    def _on_pressure(self, pressed: bool) -> None:
        log.warning("journal.pressure", extra={"fields": {"reading": not pressed}})
        self.roster.read(not pressed)

    async def _tell_service_manager(self) -> None:
        self.notify.tell(**self.service.words(service.look(self)))

    async def _write_status(self) -> None:
        await asyncio.to_thread(status.write, self.settings.data, self.status())

    def status(self) -> dict[str, Any]:
        """How things are now; what `recorder status` shows."""
        return status.of(self)
