"""`recorder drill`: break a recorder on purpose, on this machine, and compare what it costs with what is promised.

In: where to keep what the drills leave, if at all. Out: a line a promise on stdout, talk on stderr. Touches no
recording and no recorder of yours: all of it happens in a folder of its own, on ports that nobody else has.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from recorder.clock import SECOND_NS, Clock
from recorder.commands import show
from recorder.demo.interrupts import Interrupts
from recorder.drill.outcome import Outcome
from recorder.drill.run import run

ASIDE = Path("/var/tmp")  # noqa: S108 - unlike /tmp on a disk, on which fsync means something; a folder of our own in it
INTERRUPTED = 130  # as a shell has it after Ctrl-C
COLUMNS = {"promise": None, "promised": 1, "observed": 1, "": None}  # the ratio in which they share what room there is


def main(*, keep: Path | None, as_json: bool) -> int:
    """Returns 1 where a promise does not hold. Raises DrillFailed where that could not be found out."""
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise click.UsageError(f"{keep} is there already and not an empty folder. Name another one with --keep.")
    clock = Clock()
    began_ns = clock.monotonic_ns()
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="recorder-drill-", dir=_aside()))
    over = False  # there is nothing in there to be looked at
    try:
        with Interrupts() as interrupts:
            outcomes = asyncio.run(_drill(folder, interrupts))
        over = all(outcome.holds for outcome in outcomes)
    except (KeyboardInterrupt, asyncio.CancelledError):
        over = True
        click.echo("recorder: stopped at once, nothing was compared.", err=True)
        return INTERRUPTED
    finally:
        kept = folder if keep or not over else None
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = (clock.monotonic_ns() - began_ns) / SECOND_NS
    if as_json:
        show.json(
            {
                "holds": over,
                "seconds": round(seconds, 1),
                "data": str(kept) if kept else None,
                "outcomes": [asdict(outcome) for outcome in outcomes],
            }
        )
    else:
        _show(outcomes, seconds, kept)
    return 0 if over else 1


def _aside() -> Path | None:
    return ASIDE if os.access(ASIDE, os.W_OK) else None


async def _drill(folder: Path, interrupts: Interrupts) -> list[Outcome]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    interrupts.ask = interrupts.insist = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        click.echo(f"in {folder}; --keep DIR for another disk", err=True)
        return await run(folder, lambda text: click.echo(text, err=True))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        interrupts.ask = interrupts.insist = None


def _show(outcomes: list[Outcome], seconds: float, kept: Path | None) -> None:
    """Every promise on one line where there is room; at 80 columns on two."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else show.PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column, ratio in COLUMNS.items():
        table.add_column(column, overflow="fold", no_wrap=ratio is None, ratio=ratio)
    before = ""
    for outcome in outcomes:
        if outcome.drill != before:
            table.add_row(Text(outcome.drill, style="bold"))
            before = outcome.drill
        verdict = Text("holds", style="green") if outcome.holds else Text("BROKEN", style="bold red")
        table.add_row(f"  {outcome.promise}", outcome.promised, outcome.observed, verdict)
    console.print(table)
    if all(outcome.holds for outcome in outcomes):
        console.print(Text(f"\nEverything held, in {seconds:.0f} s.", style="bold green"))
    else:
        console.print(Text("\nNot every promise holds on this machine: do not trust it.", style="bold red"))
        console.print("Look at the logs, and please report it.")
    if kept:
        console.print(f"What is left of the drills is in {kept}; each folder has a config.toml, a log and its data.")
