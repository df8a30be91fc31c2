"""`recorder repair`: what is damaged is set aside, so that the rest can be read again.

In: a recording that nobody records to. Out: the journal put in order as at every start, and every damaged or missing
part out of the registry: its file in `_quarantine/`, what of it can still be read in files of its own, and what is
gone on record as lost. Nothing is deleted. Whoever dies on the way, the next one does the rest.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from recorder.clock import SECOND_NS, Clock
from recorder.commands import show
from recorder.errors import DataDirectoryBusy, RecorderError
from recorder.journal.database import STORE_FILE
from recorder.journal.recover import part_files
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.partitions import catalog
from recorder.partitions.mend import Mended, mend
from recorder.settings import Settings

EXIT_FOUND = 3


def main(settings: Settings, *, as_json: bool) -> int:
    """Returns 0 if all was well, 3 where something was set aside or lost."""
    journal, mended = asyncio.run(_repair(settings))
    aside = [path.relative_to(settings.data).as_posix() for path in journal.opening.set_aside]
    lost = [loss._asdict() for loss in journal.opening.lost]
    if as_json:
        parts = [asdict(one) | {"lost": [loss._asdict() for loss in one.lost]} for one in mended]
        told = {"cause": journal.opening.cause, "set_aside": aside, "lost": lost}
        show.json({"journal": told, "parts": parts})
    else:
        _show(journal, aside, mended)
    return EXIT_FOUND if mended or journal.opening.cause else 0


def _show(journal: Journal, aside: list[str], mended: list[Mended]) -> None:
    if journal.opening.cause:
        print(f"the journal was damaged and made anew: {journal.opening.cause}")
        print("".join(f"  set aside: {path}\n" for path in aside), end="")
    for loss in journal.opening.lost:
        print(f"  lost: positions {loss.first_position} to {loss.last_position}")
    for one in mended:
        print(f"{one.part}: {one.cause}")
        print(f"  set aside: {one.aside}" if one.aside else "  no file to set aside")
        if one.saved_rows:
            print(f"  saved: {one.saved_rows} messages, in files of their own")
        for loss in one.lost:
            print(f"  lost: positions {loss.first_position} to {loss.last_position}")
    if tables := sorted({one.rebuild for one in mended if one.rebuild}):
        print(f"Their rows are in messages still: recorder rebuild {' '.join(tables)}")
    if not mended and not journal.opening.cause:
        print(f"all well up to position {journal.durable}")


async def _repair(settings: Settings) -> tuple[Journal, list[Mended]]:
    data, clock = settings.data, Clock()
    if not (data / STORE_FILE).exists() and not part_files(data):
        raise RecorderError(f"nothing is recorded in {data}. Name another directory with --data.")
    stamp = f"{datetime.fromtimestamp(clock.now().utc_ns // SECOND_NS, UTC):%Y%m%dT%H%M%SZ}"
    mended = []
    try:
        journal = Journal.open(data, settings.journal, clock)
    except DataDirectoryBusy as busy:
        raise RecorderError(
            f"{data} is being recorded to by {busy.holder}. Stop it first; what is damaged gets no worse meanwhile."
        ) from None
    try:
        parts = await journal.call(lambda store: store.parts())
        with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("reading parts", total=sum(part.byte_count for part in parts))
            for part in parts:
                done = await journal.call(partial(_mend, data, part, stamp))
                mended += [done] if done else []
                progress.advance(task, part.byte_count)
        if mended or journal.opening.cause:
            await asyncio.to_thread(catalog.refresh, data, "")
    finally:
        await journal.close()
    return journal, mended


def _mend(data: Path, part: Part, stamp: str, store: Store) -> Mended | None:
    return mend(data, store, part, stamp)
