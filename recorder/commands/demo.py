"""`recorder demo`: record from imitations of both upstreams, with faults, and prove that nothing is lost.

In: how long, and where to keep the recording if at all. Out: what happened on stderr, the proof on stdout. The
recording goes to a temporary folder that is gone afterwards, whatever happens short of `kill -9`; so are all
processes, even then.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from recorder.clock import Clock
from recorder.commands import show
from recorder.demo import evidence, plan, report
from recorder.demo.check import check
from recorder.demo.interrupts import Interrupts
from recorder.demo.run import run
from recorder.demo.screen import Screen
from recorder.demo.story import Story
from recorder.partitions.catalog import connect

LEDGER_FILE = "sent.ndjson"
INTERRUPTED = 130  # as a shell has it after Ctrl-C


def main(*, for_s: float, keep: Path | None, as_json: bool) -> int:
    """Returns 1 if anything was lost or doubled outside a recorded gap. Raises RecorderError where a part failed."""
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise click.UsageError(f"{keep} is there already and not an empty folder. Name another one with --keep.")
    try:
        with Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="recorder-demo-") as aside:
            return _demo(for_s, Path(aside), keep, as_json, interrupts)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("recorder: stopped at once, nothing was checked.", err=True)
        return INTERRUPTED


def _demo(for_s: float, aside: Path, keep: Path | None, as_json: bool, interrupts: Interrupts) -> int:
    data = keep or aside / "data"
    screen = Screen.fitting(as_json=as_json)
    story = Story(Clock())
    with _logs_to(story):
        done = asyncio.run(run(for_s, data, aside / LEDGER_FILE, story, screen, interrupts))
    with connect(data) as connection:
        verdicts = check(done.ledger, plan.CHANNELS, evidence.rows(connection), evidence.gaps(connection), done.span)
        told = report.report(done, verdicts, connection, data, keep)
        if as_json:
            show.json(told.as_json())
        else:
            screen.tell(story)
            report.show_answers(connection)
            report.show_report(told)
    return told.exit_code


@contextmanager
def _logs_to(story: Story) -> Iterator[None]:
    """The recorder's notes and everybody's errors become part of the story instead of lines on the terminal."""
    root, ours = logging.getLogger(), logging.getLogger("recorder")
    before = root.handlers, root.level, ours.level
    root.handlers = [story]
    root.setLevel(logging.ERROR)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])
