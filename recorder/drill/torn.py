"""A torn tail: what a power cut leaves of the journal's log, and what a disk that lied about fsync leaves of it.

In: the data directory of a recorder that was killed. Out: what opening a copy of it finds. The first is promised to
cost nothing that was published. The second cannot be prevented by anybody; what is promised is that every position it
cost is on record as lost, is given to nothing else, and that the rest is served.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import closing
from pathlib import Path

from recorder.clock import Clock
from recorder.commands.verify import verify
from recorder.drill.outcome import DURABLE, NO_SILENT_GAP, Outcome
from recorder.journal import lock
from recorder.journal.database import STORE_FILE
from recorder.journal.writer import Journal
from recorder.partitions.catalog import connect
from recorder.settings import Journal as Limits

NAME = "torn tail"
TORN_BYTES = 5000  # more than half a page, less than a frame of the log
LIED_SHARE = 0.5  # of the log, that the disk has said to hold


async def drill(killed: Path, folder: Path) -> list[Outcome]:
    """`killed`: left alone. `folder`: for the copies."""
    torn, lied = folder / "torn", folder / "lied"
    for copy in (torn, lied):
        await asyncio.to_thread(shutil.copytree, killed, copy)
    published = lock.published(killed)
    with (torn / f"{STORE_FILE}-wal").open("ab") as log:
        log.write(os.urandom(TORN_BYTES))
    log_bytes = (lied / f"{STORE_FILE}-wal").stat().st_size
    os.truncate(lied / f"{STORE_FILE}-wal", int(log_bytes * LIED_SHARE))
    _, told, there, findings = await _open(torn)
    lost = max(0, published - there)
    outcomes = [
        Outcome(
            NAME,
            DURABLE,
            "0 lost of what was published",
            f"{lost} lost of {published}, {told} told as lost",
            lost == told == 0 and not findings,
        )
    ]
    durable, told, there, findings = await _open(lied)
    return [
        *outcomes,
        Outcome(
            NAME,
            NO_SILENT_GAP,
            "what a lying disk loses is on record",
            f"{durable - there} lost of {published}, {told} on record as lost",
            durable - there == told and durable >= published and not findings,
        ),
    ]


async def _open(data: Path) -> tuple[int, int, int, int]:
    """As the next recorder does: its durable position, positions told as lost, messages there, findings of `verify`."""
    clock = Clock()
    journal = await asyncio.to_thread(Journal.open, data, Limits(), clock)
    durable, lost = journal.durable, journal.opening.lost
    await journal.close()
    with closing(connect(data)) as connection:
        ((there,),) = connection.sql("SELECT count(DISTINCT position) FROM messages").fetchall()
    findings = await asyncio.to_thread(verify, data)
    return durable, sum(last - first + 1 for first, last, _ in lost), there, len(findings.findings)
