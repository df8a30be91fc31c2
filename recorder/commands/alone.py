"""For commands that change a recording: alone with it, or not at all.

In: settings. Out: the journal, whose lock keeps a recorder from starting meanwhile, and what keeps the parts in order.
Ctrl-C ends whatever is under way at once; it is done again by whoever comes next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from recorder.clock import Clock
from recorder.errors import DataDirectoryBusy, RecorderError
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.partitions import catalog
from recorder.partitions.upkeep import Upkeep
from recorder.settings import Settings


@asynccontextmanager
async def upkeep(settings: Settings, instead: str) -> AsyncIterator[tuple[Journal, Upkeep]]:
    """Raises RecorderError where nothing is recorded, or where somebody records: with what to do `instead`."""
    Store.open_readonly(settings.data).close()
    clock = Clock()
    try:
        journal = Journal.open(settings.data, settings.journal, clock)
    except DataDirectoryBusy as busy:
        raise RecorderError(f"{busy.path} is being recorded to by {busy.holder}. {instead}") from None
    show = partial(asyncio.to_thread, catalog.refresh, settings.data, "")
    made = Upkeep(settings.data, journal, settings.compact, clock, show, keep_free_bytes=settings.disk.resume_bytes)
    try:
        yield journal, made
    finally:
        await made.close()
        await journal.close()
