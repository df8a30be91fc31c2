"""`recorder retain`, over fifteen hours that were compacted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recorder.cli import main
from recorder.clock import Clock
from recorder.commands.verify import verify
from recorder.journal.lock import DirectoryLock
from recorder.partitions.catalog import connect


def invoke(command: str, data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, [command, "--data", str(data), *options])


@pytest.fixture
def compacted(old_recording: Path) -> Path:
    assert invoke("compact", old_recording).exit_code == 0
    return old_recording


def ask(data: Path, statement: str) -> Any:
    with connect(data) as connection:
        return connection.sql(statement).fetchall()


COUNTS = "SELECT count(*), min(position) FROM messages WHERE feed <> 'recorder'"


def test_everything_is_kept_unless_it_was_asked_for(compacted: Path) -> None:
    for options in ((), ("--dry-run",)):
        done = invoke("retain", compacted, *options)
        assert (done.exit_code, done.stdout) == (
            0,
            "everything is kept: none of retain.days, retain.bytes_max and retain.feeds is set\n",
        )


def test_a_dry_run_says_what_would_go_also_while_somebody_records(
    compacted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDER_RETAIN__DAYS", "1")
    lock = DirectoryLock.acquire(compacted, Clock())
    try:
        done = invoke("retain", compacted, "--dry-run", "--json")
        (going,) = json.loads(done.stdout)
        assert (going["feed"], going["first_position"], going["last_position"]) == (None, 1, 56)
        assert (going["until"], going["bytes"] > 0) == ("2024-02-01T01:30:00.000Z", True)
        assert "Nothing was changed" in invoke("retain", compacted, "--dry-run").stdout
        refused = invoke("retain", compacted)
        assert refused.exit_code == 1
        assert "It lets go by itself" in refused.stderr
    finally:
        lock.release()
    assert ask(compacted, COUNTS) == [(60, 1)]


def test_what_is_too_old_goes_and_the_recording_says_so(compacted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_RETAIN__DAYS", "1")
    done = invoke("retain", compacted)
    assert done.exit_code == 0, done.output
    assert "After 24 h the recorder, or `recorder compact`, deletes the files" in done.stdout
    assert ask(compacted, COUNTS) == [(4, 57)]
    ((entry,),) = ask(compacted, "SELECT text FROM messages WHERE feed = 'recorder'")
    assert json.loads(entry)["event"] == "parts.let_go"
    assert json.loads(entry)["last_position"] == 56
    assert verify(compacted).findings == []
    assert "let go on purpose: messages up to position 56" in invoke("verify", compacted).stdout
    assert invoke("retain", compacted).stdout == "nothing is too old or too much\n"


def test_a_single_feed_goes_by_its_own_days(compacted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDER_RETAIN__FEEDS__QUOTES", "1")
    assert invoke("retain", compacted).exit_code == 0
    counts = "SELECT feed, count(*) FROM messages WHERE feed <> 'recorder' GROUP BY feed ORDER BY feed"
    assert ask(compacted, counts) == [("news", 30), ("quotes", 2)]
    assert verify(compacted).findings == []
