"""What the demo found, as one object for machines and as tables for people.

In: the run, the verdicts, the recording. Out: a dict, or text on stdout. Decides nothing but the exit code.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.text import Text

from recorder.commands import show
from recorder.demo import evidence
from recorder.demo.check import COUNTS, Channel, Verdict
from recorder.demo.questions import QUESTIONS
from recorder.demo.run import Run
from recorder.partitions.catalog import CATALOG


@dataclass(frozen=True, slots=True)
class Report:
    verdicts: Mapping[Channel, Verdict]
    figures: Mapping[str, Any]
    faults: Sequence[str]
    kept: Path | None

    @property
    def exit_code(self) -> int:
        """1 if anything was lost or doubled outside a recorded gap, or is not what it should be."""
        figures = self.figures
        return 0 if self.total.fine and figures["positions_dense"] and figures["other_process_agrees"] else 1

    @property
    def total(self) -> Verdict:
        total = Verdict()
        for verdict in self.verdicts.values():
            total.add(verdict)
        return total

    def as_json(self) -> dict[str, Any]:
        total = self.total
        return {
            **_counts(total),
            **self.figures,
            "faults": list(self.faults),
            "feeds": {_name(channel): _counts(verdict) for channel, verdict in self.verdicts.items()},
            "examples": total.examples,
            "data": None if self.kept is None else str(self.kept),
        }


def report(
    run: Run, verdicts: Mapping[Channel, Verdict], connection: duckdb.DuckDBPyConnection, data: Path, kept: Path | None
) -> Report:
    """All figures of a run."""
    here, there = evidence.fingerprint(connection), evidence.elsewhere(data)
    keepers = [keeper.channel for keeper in run.daemon.roster.keepers]
    journal = run.daemon.journal.figures
    recorded = sum(verdict.recorded for verdict in verdicts.values())
    figures = {
        "rotations": sum(channel.rotations for channel in keepers),
        "reconnects": sum(channel.reconnects for channel in keepers),
        **evidence.counted(connection),
        "repeats": sum(channel.repeats for channel in keepers),
        "durable_ms_p50": journal.received_to_durable.quantile_ms(0.5),
        "durable_ms_p99": journal.received_to_durable.quantile_ms(0.99),
        "commits": journal.groups,
        "seconds": round(run.seconds, 3),
        "messages_per_s": round(recorded / run.seconds, 1) if run.seconds else 0.0,
        "positions": here.last,
        "positions_dense": here.dense,
        "other_process_agrees": here == there,
        "bytes_on_disk": evidence.size_on_disk(data),
    }
    return Report(verdicts, figures, run.faults, kept)


def show_answers(connection: duckdb.DuckDBPyConnection) -> None:
    """Each question with its answer."""
    console = _console()
    for question in QUESTIONS:
        console.print(Text(f"\n{question.title}", style="bold"))
        console.print(Text(question.sql.strip(), style="dim"))
        answer = connection.execute(question.sql)
        columns = [column[0] for column in answer.description or ()]
        show.table(columns, answer.fetchall())


def show_report(told: Report) -> None:
    """The check, the figures, the verdict and what to try next."""
    console = _console()
    console.print(Text("\nWhat was sent and what was recorded, message by message", style="bold"))
    rows = [[_name(channel), *_counts(verdict).values()] for channel, verdict in told.verdicts.items()]
    show.table(["feed", *COUNTS], [*rows, ["all", *_counts(told.total).values()]])
    console.print(Text("lost_in_gaps: published while the upstream had cut us off, and a gap says so", style="dim"))
    for example in told.total.examples:
        console.print(Text(f"  {example}", style="red"))
    figures = told.figures
    lines = [
        f"\n{figures['rotations']} rotations, new before old: {figures['rotation_both']} messages seen on both sides, "
        f"{figures['rotation_only_old']} only on the old, {figures['rotation_only_new']} only on the new",
        f"{figures['reconnects']} reconnects after {len(told.faults)} faults, "
        f"{figures['gaps']} gaps on record with their causes, {figures['gap_s']:.1f} s in all channels together",
        f"{figures['messages_per_s']} messages/s, durable {figures['durable_ms_p50']:.0f} ms (median) and "
        f"{figures['durable_ms_p99']:.0f} ms (99 %) after they came",
        f"{show.size(figures['bytes_on_disk'])} on disk; positions 1 to {figures['positions']} "
        f"{'without a hole' if figures['positions_dense'] else 'HAVE HOLES OR DOUBLES'}, and plain DuckDB in another "
        f"process sees {'the same' if figures['other_process_agrees'] else 'SOMETHING ELSE'}",
    ]
    if figures["recovered"]:
        lines.insert(2, f"{figures['recovered']} of the articles missed were fetched from the REST API afterwards")
    console.print("\n".join(lines))
    if told.exit_code == 0:
        console.print(Text("\nNothing was lost and nothing doubled outside the recorded gaps.", style="bold green"))
    else:
        console.print(Text("\nThe recording is not what was sent. This is a bug; please report it.", style="bold red"))
    console.print(_next(told.kept), markup=False, soft_wrap=True)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else show.PIPE_COLUMNS)


def _next(kept: Path | None) -> str:
    if kept is None:
        lines = ["\nThis recording is gone now. To keep one and ask it yourself:", "  recorder demo --keep demo-data"]
    else:
        data = shlex.quote(str(kept))
        lines = [
            "\nThe recording is kept. Try",
            f'  recorder sql --data {data} "FROM coverage"',
            f"  recorder tail --data {data} --feed news -n 3",
            f"  recorder gaps --data {data}",
            f"  recorder verify --data {data}",
            f"  duckdb -readonly {shlex.quote(str(kept / CATALOG))}",
        ]
    return "\n".join(
        [*lines, "To record for real, name your feeds in config.toml, then", "  recorder check && recorder run"]
    )


def _counts(verdict: Verdict) -> dict[str, int]:
    return {name: getattr(verdict, name) for name in COUNTS}


def _name(channel: Channel) -> str:
    return "/".join(filter(None, channel))
