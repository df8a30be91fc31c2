"""`recorder info` over messages that are partly sealed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recorder.cli import main


def info(data: Path) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["info", "--data", str(data), "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_feeds_are_counted_over_sealed_and_unsealed_messages(recording: Path) -> None:
    news, quotes = info(recording)["feeds"]
    assert news == {
        "feed": "news",
        "kind": "finlight",
        "channels": 1,
        "data": 2,
        "replies": 1,
        "entries": 2,
        "first_at": "2026-01-31T12:00:02.000Z",
        "last_at": "2026-01-31T12:00:10.000Z",
    }
    assert (quotes["feed"], quotes["data"], quotes["entries"]) == ("quotes", 4, 1)


def test_sizes_are_those_of_the_files(recording: Path) -> None:
    told = info(recording)
    (messages,) = [table for table in told["tables"] if table["table"] == "messages"]
    on_disk = [path.stat().st_size for path in (recording / "messages").glob("hot/hour=2*/*.parquet")]
    assert (messages["parts"], messages["rows"], messages["bytes"]) == (len(on_disk), 6, sum(on_disk))
    assert (told["durable_position"], told["sealed_position"], told["unsealed"]["messages"]) == (10, 6, 4)
    assert told["lost"] == []


def test_people_see_feeds_tables_and_what_is_not_sealed(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.commands.show.PIPE_COLUMNS", 80)
    shown = CliRunner().invoke(main, ["info", "--data", str(recording)]).stdout
    assert re.search(r"(?m)^quotes +finance_query.quotes +4 +2026-01-31 12:00 +2026-01-31 12:00 *$", shown)
    for words in ("finance_query.quotes", "articles", "not sealed yet: 4 messages", "positions 1 to 10"):
        assert words in shown


def test_folder_without_a_recording_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["info", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "nothing is recorded there" in done.stderr
