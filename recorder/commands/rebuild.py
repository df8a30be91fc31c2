"""`recorder rebuild`: typed tables are made anew from `messages`, also while a recorder records.

In: names of tables. Out: how far each is. Where somebody records, that recorder is asked by a file and does it; this
command only watches, so it may end at any time. Where nobody does, it is done here: what is in the journal is sealed
first. Whoever dies on the way, the next one goes on where it was.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from recorder.clock import Clock
from recorder.commands import alone, show
from recorder.errors import RecorderError
from recorder.journal.lock import is_held
from recorder.journal.registry import Rebuilding
from recorder.journal.store import Store
from recorder.partitions import layout, rebuild
from recorder.partitions.sealer import Sealer
from recorder.partitions.upkeep import to_rebuild
from recorder.settings import Settings

LOOK_S = 1.0
TAKEN_S = 60.0  # a recorder looks every few seconds; one that is compacting ends a piece of that first
COLUMNS = ("table", "pieces", "of_bytes", "hot_messages")


def main(settings: Settings, tables: Sequence[str], *, dry_run: bool, as_json: bool) -> int:
    """Returns 0. Raises RequestInvalid for a name that is no table's, RecorderError where something was left."""
    names = rebuild.known(tables)
    with closing(Store.open_readonly(settings.data)):
        pass  # something is recorded there
    if not dry_run:
        with _Shown(names) as shown:
            if is_held(settings.data):
                _by_recorder(settings, names, shown)
            else:
                asyncio.run(_here(settings, names, shown))
    left = _left(settings, names, begun=not dry_run)
    if as_json:
        show.json([dict(zip(COLUMNS, row, strict=True)) for row in left])
    elif dry_run:
        show.table(COLUMNS, [(name, pieces, show.size(size), hot) for name, pieces, size, hot in left])
        print("\nNothing was changed. What is hot is compacted first, when its hour is over.")
    else:
        print(f"made anew from messages: {', '.join(names)}")
        if hot := max(row[-1] for row in left):
            print(f"{hot} messages are of an hour that is not over; they follow when it is, by whoever records then")
    return 0


class _Shown:
    """A bar on a terminal, otherwise a line for each tenth of a table."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._tasks: dict[str, TaskID] = {}
        self._tenths = dict.fromkeys(names, 0)

    def __enter__(self) -> _Shown:
        self._bar.start()
        self._tasks = {name: self._bar.add_task(name, total=1.0) for name in self._names}
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, under_way: Mapping[str, Rebuilding]) -> None:
        for name in self._names:
            how = under_way.get(name)
            share = min(1.0, how.done / how.until) if how and how.until else 1.0
            self._bar.update(self._tasks[name], completed=share)
            if self._bar.disable and int(10 * share) > self._tenths[name]:
                self._tenths[name] = int(10 * share)
                print(f"{name}: {100 * share:.0f} %", file=sys.stderr)


async def _here(settings: Settings, names: Sequence[str], shown: _Shown) -> None:
    """Raises DataDirectoryBusy's sentence where a recorder has come meanwhile."""
    async with alone.upkeep(settings, "Run this again: that recorder will be asked.") as (journal, upkeep):
        clock = Clock()
        sealer = Sealer(settings.data, journal, settings.seal.bytes_max, clock)
        try:
            await sealer.seal()
        finally:
            await sealer.close()
        await upkeep.compact(present_hour=layout.hour_of(clock.now().utc_ns))
        await upkeep.begin_rebuild(names)
        await upkeep.rebuild(shown)


def _by_recorder(settings: Settings, names: Sequence[str], shown: _Shown) -> None:
    rebuild.ask(settings.data, names)
    began_s = time.monotonic()
    while True:
        time.sleep(LOOK_S)
        if not is_held(settings.data):
            raise RecorderError("the recorder has stopped. Run this again, or start it: it goes on where it was.")
        if rebuild.asked(settings.data):
            if time.monotonic() - began_s > TAKEN_S:
                raise RecorderError(
                    f"the recorder has not begun within {TAKEN_S:g} s: it is compacting, or older than this command. "
                    "It is on record and will be done when it can; `recorder status` shows the job rebuild."
                )
            continue
        with closing(Store.open_readonly(settings.data)) as store:
            under_way = store.rebuilding()
        shown(under_way)
        if not any(to_rebuild(settings.data, name)[0] for name in names if name in under_way):
            return


def _left(settings: Settings, names: Sequence[str], *, begun: bool) -> list[tuple[str, int, int, int]]:
    """For each table what there is to make, of how many bytes of messages, and how many are hot."""
    with closing(Store.open_readonly(settings.data)) as store, store.transaction():
        parts, let_go, sealed, under_way = store.parts(), store.let_go_position(), store.sealed_position(), {}
        if begun:
            under_way = store.rebuilding()
    rows = []
    for name in names:
        how = under_way.get(name, Rebuilding(sealed if begun else 0, sealed, ""))
        pieces = rebuild.plan(parts, name, how, let_go, ())
        size = sum({part.path: part.byte_count for piece in pieces for part in piece.messages}.values())
        rows.append((name, len(pieces), size, rebuild.hot_messages(parts, how)))
    return rows
