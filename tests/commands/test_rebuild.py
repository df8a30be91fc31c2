"""`recorder rebuild`, over fifteen hours that nobody records to any more."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recorder.cli import main
from recorder.commands.verify import verify
from recorder.journal.store import Store


def rebuild(data: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["rebuild", "--data", str(data), *options])


def paths(data: Path, table: str) -> list[str]:
    with closing(Store.open_readonly(data)) as store:
        return [part.path for part in store.parts(table)]


def quotes(data: Path) -> Any:
    statement = "SELECT count(*), count(DISTINCT position), min(position), max(position) FROM quotes"
    return json.loads(CliRunner().invoke(main, ["sql", "--data", str(data), "--json", statement]).stdout)


def test_a_table_is_made_anew_and_each_row_is_there_once(old_recording: Path) -> None:
    before = quotes(old_recording)
    done = rebuild(old_recording, "quotes", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == [{"table": "quotes", "pieces": 0, "of_bytes": 0, "hot_messages": 0}]
    assert "quotes: 100 %" in done.stderr
    assert [path.split("/")[3] for path in paths(old_recording, "quotes")] == ["kept=1", "kept=1"]
    assert quotes(old_recording) == before
    assert verify(old_recording).findings == []


def test_a_dry_run_tells_and_changes_nothing(old_recording: Path) -> None:
    before = paths(old_recording, "quotes")
    done = rebuild(old_recording, "quotes", "articles", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Nothing was changed" in done.stdout
    assert paths(old_recording, "quotes") == before


def test_a_name_that_is_no_table_is_a_mistake_of_who_typed_it(old_recording: Path) -> None:
    done = rebuild(old_recording, "messages")
    assert done.exit_code == 2
    assert "made of messages are articles, quotes" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("new_files", [1, 3])
def test_who_is_killed_on_the_way_is_gone_on_from(old_recording: Path, new_files: int) -> None:
    before = quotes(old_recording)
    command = [
        sys.executable,
        "-m",
        "recorder",
        "rebuild",
        "--data",
        str(old_recording),
        "quotes",
        "articles",
        "traffic",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as begun:
        while begun.poll() is None and len(list(old_recording.glob("*/cold/*/kept=1/*"))) < new_files:
            time.sleep(0.001)
        begun.kill()
    assert begun.returncode == -signal.SIGKILL, "it was done before it could be killed"
    subprocess.run(command, check=True, timeout=100, capture_output=True)
    assert quotes(old_recording) == before
    assert verify(old_recording).findings == []
