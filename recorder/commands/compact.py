"""`recorder compact`: make few files of many, now, where nobody records; a recorder does it by itself.

In: the part registry. Out: what was done, or with `--dry-run` what there is to do.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from dataclasses import asdict

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from recorder.commands import alone, show
from recorder.journal.store import Store
from recorder.partitions import compact
from recorder.partitions.compact import Work
from recorder.partitions.upkeep import Compacted
from recorder.settings import Settings

COLUMNS = ("what", "tables", "parts", "become", "bytes")


def main(settings: Settings, *, dry_run: bool, as_json: bool) -> int:
    """Returns 0. Raises RecorderError where nothing or somebody records, or something could not be compacted."""
    if dry_run:
        with closing(Store.open_readonly(settings.data)) as store:
            works = compact.plan(store.parts())
        _show_plan(works, as_json=as_json)
        return 0
    done = asyncio.run(_compact(settings))
    if as_json:
        show.json(asdict(done))
    elif not done.works and not done.deleted_files:
        print("nothing to compact: all hours that are over are few files already")
    else:
        before, after = show.size(done.bytes_before), show.size(done.bytes_after)
        print(f"{done.parts_before} parts with {before} became {done.parts_after} with {after}")
        print(
            f"{done.deleted_files} replaced files with {show.size(done.deleted_bytes)} were deleted after their grace"
        )
    return 0


async def _compact(settings: Settings) -> Compacted:
    every = f"every {settings.compact.interval_s:g} s"
    instead = f"It compacts by itself {every}; `recorder status` shows when it last did. Nothing was changed."
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    async with alone.upkeep(settings, instead) as (_, upkeep):
        with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("compacting", total=None)
            worked = 0

            def told(work: Work, left_bytes: int) -> None:
                nonlocal worked
                worked += work.byte_count
                progress.update(task, description=work.what, completed=worked, total=worked + left_bytes)

            return await upkeep.compact(told)


def _show_plan(works: list[Work], *, as_json: bool) -> None:
    rows = [
        (
            work.what,
            len({output.table for output in work.outputs}),
            len(work.inputs),
            len(work.outputs),
            work.byte_count,
        )
        for work in works
    ]
    if as_json:
        show.json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        show.table(COLUMNS, [(*row[:-1], show.size(row[-1])) for row in rows])
    else:
        print("nothing to compact: all hours that are over are few files already")
