"""`recorder verify`: read everything there is, and compare it with what it should be.

In: the part registry, the files, the journal. Out: how much was read, and findings: a file that is missing, does not
open or holds other rows than were registered, positions that are nowhere or twice, files nobody registered, groups
whose checksum does not hold. Changes nothing and may run beside a recorder. What was lost before and is on record as
lost is told, and what was let go on purpose; neither is a finding.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from recorder.commands import show
from recorder.errors import Damaged, GroupDamaged
from recorder.journal.store import Loss, Store
from recorder.partitions import layout
from recorder.partitions.inspect import Finding, inspect
from recorder.partitions.schema import MESSAGES
from recorder.partitions.views import STORED

ONE_GROUP_BYTES = 1  # one a time, so that those before a damaged one are known to hold
EXIT_FOUND = 3

Span = tuple[int, int]  # first and last position


@dataclass(slots=True)
class Verified:
    """What was read, and what was found."""

    parts: int = 0
    rows: int = 0
    bytes: int = 0
    groups: int = 0
    unsealed_messages: int = 0
    durable_position: int = 0
    let_go_position: int = 0  # messages up to there were let go on purpose
    lost: list[Loss] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def main(data: Path, *, as_json: bool) -> int:
    """Returns 0 if all is well, 3 with findings. Raises RecorderError where nothing was recorded."""
    verified = verify(data, progress=sys.stderr.isatty())
    if as_json:
        lost = [loss._asdict() for loss in verified.lost]
        show.json(asdict(verified) | {"lost": lost})
    else:
        print(f"{verified.parts} parts with {verified.rows} rows, {show.size(verified.bytes)}")
        print(f"{verified.groups} groups with {verified.unsealed_messages} messages that are not sealed yet")
        for loss in verified.lost:
            print(f"on record as lost: positions {loss.first_position} to {loss.last_position}, {loss.cause}")
        if verified.let_go_position:
            print(f"let go on purpose: messages up to position {verified.let_go_position}")
        for finding in verified.findings:
            print(f"{finding.what}: {finding.where}: {finding.detail}")
        if not verified.findings:
            print(f"all well up to position {verified.durable_position}")
    return EXIT_FOUND if verified.findings else 0


def verify(data: Path, *, progress: bool = False) -> Verified:
    """Read it all. `progress`: with a bar on stderr."""
    verified = Verified()
    # Files, then journal, then registry: what a seal moves on meanwhile is then seen twice rather than never.
    files = set(_files(data))
    with closing(Store.open_readonly(data)) as store:
        unsealed = _journal(store, verified)
        try:
            with store.transaction():
                parts = store.parts()
                known = {part.path for part in parts} | {one.path for one in store.retired()}
                known.update(store.intended_compaction())
                verified.let_go_position = store.let_go_position()
        except (Damaged, sqlite3.DatabaseError) as error:
            verified.findings.append(Finding("registry damaged", str(store.path), str(error)))
            return verified
    sealed_spans = [(part.first_position, part.last_position) for part in parts if part.table_name == MESSAGES]
    reach = max((last for _, last in sealed_spans), default=0)
    spans = sealed_spans + [span for span in unsealed if span[0] > reach]
    away = [*((loss.first_position, loss.last_position) for loss in verified.lost), (1, verified.let_go_position)]
    verified.findings += positions(spans, verified.durable_position, away)
    with Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar:
        task = bar.add_task("reading parts", total=sum(part.byte_count for part in parts))
        for part in parts:
            read = inspect(data, part)
            verified.findings += read.findings
            verified.parts, verified.rows = verified.parts + read.whole, verified.rows + read.rows
            verified.bytes += read.byte_count
            bar.advance(task, part.byte_count)
    for path in sorted(files - known):
        covered = layout.positions_in(path)
        if not (data / path).exists():
            continue  # deleted since
        if covered is None or covered[1] <= reach:  # above it: a seal is under way, or will be finished by the next
            verified.findings.append(Finding("stranger", path, "nobody registered this file, but readers may see it"))
    return verified


def positions(spans: Sequence[Span], durable: int, away: Sequence[Span]) -> Iterator[Finding]:
    """Whether spans and what is known to be gone cover 1 to `durable`, and spans no position twice. Pure."""
    reach = 0
    for first, last in sorted([*spans, (durable + 1, durable)]):
        if first <= reach and (first, last) != (durable + 1, durable):
            yield Finding("doubled", f"positions {first} to {min(reach, last)}", "they are in more than one place")
        for missing in _without((reach + 1, first - 1), away):
            yield Finding(
                "missing", f"positions {missing[0]} to {missing[1]}", "they are nowhere, nor on record as lost"
            )
        reach = max(reach, last)


def _without(span: Span, known: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span, which may be empty, without the known ones."""
    first, last = span
    for begin, end in sorted(known):
        if end < first or begin > last:
            continue
        if begin > first:
            yield first, begin - 1
        first = end + 1
    if first <= last:
        yield first, last


def _journal(store: Store, verified: Verified) -> list[Span]:
    """Reads every group behind the sealed position, which checks it. Returns the spans of those that hold."""
    spans: list[Span] = []
    try:
        verified.lost = store.losses()
        verified.durable_position = store.durable_position()
        after = store.sealed_position()
        while groups := store.groups(after, ONE_GROUP_BYTES):
            (group,) = groups
            spans.append((group.first_position, group.last_position))
            verified.groups += 1
            verified.unsealed_messages += group.count
            after = group.last_position
    except GroupDamaged as error:
        detail = f"{error.reason}; what comes behind it was not read"
        verified.findings.append(Finding("group damaged", f"position {error.first_position}", detail))
    except (Damaged, sqlite3.DatabaseError) as error:
        verified.findings.append(Finding("journal damaged", str(store.path), str(error)))
    return spans


def _files(data: Path) -> Iterator[str]:
    """Every Parquet file a reader could take for a part, relative to the data folder."""
    for stored in STORED:
        for path in (data / stored.name).rglob("*.parquet"):
            name = path.relative_to(data).as_posix()
            if name != layout.seed_path(stored.name) and not any(step.startswith("_") for step in name.split("/")):
                yield name
