"""What a recorder does beside recording: the jobs that keep the recording small, quick to read and whole.

In: a data directory with its writer and its sealer. Out: jobs for the schedule, and what they found. All heavy work is
done in one process of its own at low priority (upkeep.py), one thing at a time, so there is never more than one core
in it, and that one only while nobody else wants it. If the power fails, the next recorder does it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from recorder import tallies
from recorder.clock import Clock
from recorder.errors import RecorderError
from recorder.journal.writer import Journal
from recorder.partitions import sample
from recorder.partitions.retain import LetGo
from recorder.partitions.sealer import Sealer
from recorder.partitions.stored import Figures, stored
from recorder.partitions.upkeep import Upkeep
from recorder.schedule import Job
from recorder.settings import Settings
from recorder.tallies import Tallies

log = logging.getLogger(__name__)

REBUILD_EVERY_S = 5.0  # whether somebody has asked for it; costs a look for a file
STATISTICS_EVERY_S = 600.0
CATALOGUE_EVERY_S = 600.0
SAMPLE_EVERY_S = 3600.0

Note = Callable[..., int]  # an entry in the recording


class Keeping:
    """Of one recorder. `figures`: what is stored, as of the last look; None before the first."""

    def __init__(
        self, settings: Settings, journal: Journal, sealer: Sealer, clock: Clock, tallies_: Tallies, note: Note
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._sealer = sealer
        self._clock = clock
        self._tallies = tallies_
        self._note = note
        self.figures: Figures | None = None
        keep_free_bytes = settings.disk.resume_bytes
        self.upkeep = Upkeep(
            settings.data, journal, settings.compact, clock, sealer.show, keep_free_bytes=keep_free_bytes
        )

    def jobs(self) -> list[Job]:
        """One row each; a run that was missed is made up for once."""
        every_s = self._settings.compact.interval_s
        return [
            Job("compact", every_s, self._compact),
            *([Job("retain", every_s, self._retain)] if self._settings.retain.on else []),
            Job("rebuild", REBUILD_EVERY_S, self.upkeep.rebuild),
            Job("verify", SAMPLE_EVERY_S, self._verify),
            Job("statistics", STATISTICS_EVERY_S, self._count),
            Job("catalogue", CATALOGUE_EVERY_S, self._sealer.show),
        ]

    async def _compact(self) -> None:
        done = await self.upkeep.compact()
        tallies.add(self._tallies.compacted, done)
        if done.works or done.deleted_files:
            log.info("parts.compacted", extra={"fields": asdict(done)})

    async def _retain(self) -> None:
        def told(going: LetGo) -> None:
            self._note("parts.let_go", **going.fields)

        await self.upkeep.retain(self._settings.retain, told)

    async def _verify(self) -> None:
        """Raises RecorderError for what is damaged, each time until it is whole again: so it is in the verdict."""
        read = await self.upkeep.look(partial(sample.sample, self._settings.data))
        await self._journal.call(partial(sample.note, read))
        if read.findings:
            found = "; ".join(f"{finding.what}: {finding.where}: {finding.detail}" for finding in read.findings[:3])
            raise RecorderError(f"{found}. Run `recorder verify`, and look at the disk.")

    async def _count(self) -> None:
        self.figures = await self.upkeep.look(partial(stored, self._settings.data, self._clock.now().utc_ns))
