from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder import settings
from recorder.clock import Clock
from recorder.drill import torn
from recorder.drill.lives import payload
from recorder.drill.outcome import DURABLE, NO_SILENT_GAP
from recorder.journal.database import STORE_FILE
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream

GROUPS = 60


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """What a recorder leaves that did not end: everything in the journal's log, nothing sealed."""
    data, clock = tmp_path / "living", Clock()
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), clock)
    for position in range(1, GROUPS + 1):
        journal.append(Stream("quotes", "finance_query.quotes"), Kind.DATA, 1, [payload(1)], Mark.NONE, clock.now())
        await journal.wait_durable(position)
    copy = tmp_path / "killed"
    copy.mkdir()
    for path in data.iterdir():
        if not path.name.endswith("-shm"):
            (copy / path.name).write_bytes(path.read_bytes())
    await journal.close()
    return copy


async def test_a_torn_tail_costs_nothing_and_what_a_lying_disk_costs_is_on_record(killed: Path, tmp_path: Path) -> None:
    outcomes = await torn.drill(killed, tmp_path)
    assert [(outcome.promise, outcome.holds) for outcome in outcomes] == [(DURABLE, True), (NO_SILENT_GAP, True)]
    assert outcomes[0].observed == f"0 lost of {GROUPS}, 0 told as lost"
    assert not outcomes[1].observed.startswith("0 lost"), "nothing was cut off"


async def test_messages_that_were_published_and_are_gone_are_seen(killed: Path, tmp_path: Path) -> None:
    log = killed / f"{STORE_FILE}-wal"
    os.truncate(log, log.stat().st_size // 2)
    durable, _ = await torn.drill(killed, tmp_path)
    assert not durable.holds
    assert not durable.observed.startswith("0 lost")
