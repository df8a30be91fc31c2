"""`recorder retain`: let go of what is too old or too much by [retain], now, where nobody records.

In: the part registry and the settings. Out: what went, or with `--dry-run` what would go, which may be asked at any
time.
"""

from __future__ import annotations

import asyncio

from recorder import lifecycle
from recorder.clock import Clock
from recorder.commands import alone, show
from recorder.message import Kind, Mark, Stream
from recorder.partitions.retain import LetGo
from recorder.partitions.upkeep import to_let_go
from recorder.settings import Settings

COLUMNS = ("feed", "first_position", "last_position", "until", "files", "bytes")
OWN = Stream(lifecycle.RECORDER_FEED, lifecycle.RECORDER_FEED)


def main(settings: Settings, *, dry_run: bool, as_json: bool) -> int:
    """Returns 0. Raises RecorderError where nothing is recorded, or where somebody records and it is no dry run."""
    if dry_run:
        going = to_let_go(settings.data, settings.retain, Clock().now().utc_ns)
    else:
        going = asyncio.run(_retain(settings))
    if as_json:
        show.json([dict(zip(COLUMNS, _row(one), strict=True)) for one in going])
    elif going:
        rows = [(one or "all", *rest, show.size(size)) for one, *rest, size in map(_row, going)]
        show.table(COLUMNS, rows)
        if dry_run:
            print("\nNothing was changed: this is what would go. Where a feed goes, the rest is written anew.")
        else:
            grace = f"After {settings.compact.grace_s / 3600:g} h"
            print(f"\nIt is in no table any more. {grace} the recorder, or `recorder compact`, deletes the files.")
    elif not settings.retain.on:
        print("everything is kept: none of retain.days, retain.bytes_max and retain.feeds is set")
    else:
        print("nothing is too old or too much")
    return 0


async def _retain(settings: Settings) -> list[LetGo]:
    going: list[LetGo] = []
    instead = (
        "It lets go by itself, by the settings it was started with. "
        "See what would go with `recorder retain --dry-run`; nothing was changed."
    )
    async with alone.upkeep(settings, instead) as (journal, upkeep):
        await upkeep.retain(settings.retain, going.append)
        entries = [lifecycle.entry("parts.let_go", **one.fields) for one in going]
        if entries:
            first = journal.append(OWN, Kind.LIFECYCLE, 0, entries, Mark.NONE, Clock().now())
            await journal.wait_durable(first + len(entries) - 1)
    return going


def _row(one: LetGo) -> tuple[str | None, int, int, str | None, int, int]:
    until = show.moment(one.until_ns)
    return one.feed, one.first_position, one.last_position, until, len(one.parts), one.byte_count
