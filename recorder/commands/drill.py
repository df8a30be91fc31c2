"""`recorder drill`: break a recorder on purpose, on this machine, and compare what it costs with what is promised.

In: where to keep what the drills leave, if at all. Out: a line a promise on stdout, talk on stderr. Touches no
recording and no recorder of yours: all of it happens in a folder of its own, on ports that nobody else has.
"""

from __future__ import annotations

import asyncio
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
COLUMNS = ("drill", "promise", "promised", "observed", "")


def main(*, keep: Path | None, as_json: bool) -> int:
    """Returns 1 where a promise does not hold. Raises DrillFailed where that could not be found out."""
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise click.UsageError(f"{keep} is there already and not an empty folder. Name another one with --keep.")
    clock = Clock()
    began_ns = clock.monotonic_ns()
    where = ASIDE if ASIDE.is_dir() else None
    try:
        with Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="recorder-drill-", dir=where) as aside:
            folder = keep.absolute() if keep else Path(aside)
            outcomes = asyncio.run(_drill(folder, interrupts))
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("recorder: stopped at once, nothing was compared.", err=True)
        return INTERRUPTED
    seconds = (clock.monotonic_ns() - began_ns) / SECOND_NS
    if as_json:
        show.json(
            {
                "holds": all(outcome.holds for outcome in outcomes),
                "seconds": round(seconds, 1),
                "data": str(keep) if keep else None,
                "outcomes": [asdict(outcome) for outcome in outcomes],
            }
        )
    else:
        _show(outcomes, seconds, keep)
    return 0 if all(outcome.holds for outcome in outcomes) else 1


async def _drill(folder: Path, interrupts: Interrupts) -> list[Outcome]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    interrupts.ask = interrupts.insist = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        return await run(folder, lambda text: click.echo(text, err=True))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        interrupts.ask = interrupts.insist = None


def _show(outcomes: list[Outcome], seconds: float, keep: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else show.PIPE_COLUMNS)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    before = ""
    for outcome in outcomes:
        verdict = Text("holds", style="green") if outcome.holds else Text("BROKEN", style="bold red")
        name = outcome.drill if outcome.drill != before else ""
        before = outcome.drill
        table.add_row(Text(name, style="bold"), outcome.promise, outcome.promised, outcome.observed, verdict)
    console.print(table)
    if not all(outcome.holds for outcome in outcomes):
        console.print(Text("\nNot every promise holds on this machine: do not trust it.", style="bold red"))
        console.print("Run it again with --keep DIR and look at the logs in there; please report it.")
    else:
        console.print(Text(f"\nEverything held, in {seconds:.0f} s.", style="bold green"))
    if keep:
        console.print(f"What is left of the drills is in {keep}; each folder has a config.toml, a log and its data.")
