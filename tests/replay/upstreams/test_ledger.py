from __future__ import annotations

from pathlib import Path

import pytest

from recorder.replay.upstreams.imitation import Send
from recorder.replay.upstreams.ledger import Connection, Ledger, LedgerFull, digest


def test_a_ledger_reads_back_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.knocked(1, "finlight", "/raw", 101)
    ledger.connections[1] = Connection(1, "finlight", "/raw", 1, 9, 1001, "Going away")
    ledger.published(2, "finlight", Send((1, 2), "é".encode(), "raw"), [1])
    ledger.published(3, "finlight", Send((), b"nobody", "enhanced"), [])
    ledger.write(tmp_path / "ledger.ndjson")
    again = Ledger.read(tmp_path / "ledger.ndjson")
    assert (again.entries, again.connections, again.knocks) == (ledger.entries, ledger.connections, ledger.knocks)
    assert [(entry.sequence, entry.to, entry.length) for entry in again.entries] == [(0, (1,), 2), (1, (), 6)]


def test_entries_tell_messages_apart_by_their_bytes() -> None:
    ledger = Ledger()
    for payload in (b"a", b"b", b"a"):
        ledger.published(1, "finlight", Send((1,), payload, "raw"), [1])
    first, second, third = (entry.digest for entry in ledger.entries)
    assert first == third == digest(b"a") != second


def test_a_full_ledger_says_so_instead_of_forgetting() -> None:
    ledger = Ledger(entries_max=2)
    ledger.knocked(1, "finlight", "/", 101)
    ledger.published(1, "finlight", Send((1,), b"x", "raw"), [1])
    with pytest.raises(LedgerFull, match="higher entries_max"):
        ledger.published(1, "finlight", Send((1,), b"x", "raw"), [1])
    with pytest.raises(LedgerFull):
        ledger.knocked(1, "finlight", "/", 101)
