"""`recorder compact`, over fifteen hours of small parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from recorder.cli import main
from recorder.clock import Clock
from recorder.commands.verify import verify
from recorder.journal.lock import DirectoryLock


def compact(data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["compact", "--data", str(data), *options])


def told(data: Path, *options: str) -> Any:
    done = compact(data, *options, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def parts(data: Path) -> int:
    done = CliRunner().invoke(main, ["info", "--data", str(data), "--json"])
    return sum(table["parts"] for table in json.loads(done.stdout)["tables"] if table["table"] == "messages")


def test_hours_and_days_that_are_over_become_few_files(old_recording: Path) -> None:
    assert parts(old_recording) == 30
    done = told(old_recording)
    assert (done["deleted_files"], done["left"]) == (0, [])
    assert done["parts_before"] > done["parts_after"] > 0
    assert parts(old_recording) == 1 + 2 + 2, "a day, the hours of the next, and the hour that is not over"
    assert verify(old_recording).findings == []
    assert "nothing to compact" in compact(old_recording).stdout


def test_a_dry_run_tells_and_changes_nothing(old_recording: Path) -> None:
    planned = told(old_recording, "--dry-run")
    assert [work["what"] for work in planned[:2]] == ["hour 2024013112", "hour 2024013113"]
    assert all((work["parts"], work["become"]) == (2 * work["tables"], work["tables"]) for work in planned)
    assert "hour 2024013112" in compact(old_recording, "--dry-run").stdout
    assert parts(old_recording) == 30


def test_where_somebody_records_it_says_who_and_that_they_do_it(old_recording: Path) -> None:
    lock = DirectoryLock.acquire(old_recording, Clock())
    try:
        refused = compact(old_recording)
        assert refused.exit_code == 1
        assert "is being recorded to by process" in refused.stderr
        assert "It compacts by itself every 600 s" in refused.stderr
        assert compact(old_recording, "--dry-run").exit_code == 0
    finally:
        lock.release()
    assert parts(old_recording) == 30


def test_where_nothing_was_recorded_nothing_is_made(tmp_path: Path) -> None:
    refused = compact(tmp_path / "nowhere")
    assert refused.exit_code == 1
    assert "nothing is recorded there" in refused.stderr
    assert not (tmp_path / "nowhere").exists()
