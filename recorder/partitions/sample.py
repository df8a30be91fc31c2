"""Old parts are read again, some each hour, so that a disk that forgets is noticed while there is a backup.

In: the part registry, and how far the last sample came. Out: what was found, and how far this one came: every part has
its turn, and one that was damaged is looked at each time until it is whole or gone. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions import layout
from recorder.partitions.inspect import Finding, inspect

FACT = "sample"
SAMPLE_BYTES = 64 << 20  # a few seconds of a core; an hour each, that is 1.6 GB a day
DAMAGED_MAX = 16  # of those that are looked at each time


@dataclass(frozen=True, slots=True)
class Sample:
    """Parts that were read, up to and with `behind`, a path."""

    behind: str
    parts: int
    byte_count: int
    findings: tuple[Finding, ...]


def choose(parts: Sequence[Part], behind: str, bytes_max: int) -> list[Part]:
    """The parts that come next by their path, one at least, from the beginning again at the end. Pure."""
    cold = sorted((part for part in parts if not layout.is_hot(part.path)), key=lambda part: part.path)
    chosen: list[Part] = []
    for part in [part for part in cold if part.path > behind] + [part for part in cold if part.path <= behind]:
        if chosen and bytes_max < sum(each.byte_count for each in (*chosen, part)):
            break
        chosen.append(part)
    return chosen


def sample(data: Path, bytes_max: int = SAMPLE_BYTES) -> Sample:
    """Read what was damaged the last time, and what comes next. What is replaced meanwhile has its grace."""
    with closing(Store.open_readonly(data)) as store, store.transaction():
        behind, damaged = store.fact(FACT) or ("", [])
        parts = store.parts()
    chosen = choose(parts, behind, bytes_max)
    again = [part for part in parts if part.path in damaged and part not in chosen]
    findings, read_bytes = [], 0
    for part in (*again, *chosen):
        read = inspect(data, part)
        findings += read.findings
        read_bytes += read.byte_count
    return Sample(chosen[-1].path if chosen else behind, len(again) + len(chosen), read_bytes, tuple(findings))


def note(of: Sample, store: Store) -> None:
    """Remember how far it came, and what to look at again."""
    store.set_fact(FACT, [of.behind, sorted({finding.where for finding in of.findings})[:DAMAGED_MAX]])
