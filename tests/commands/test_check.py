"""`recorder check` on real folders."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recorder.cli import main

CONFIG = """
[feeds.news]
kind = "finlight"
[feeds.prices]
kind = "finance_query.profile"
symbols = ["AAPL", "MSFT"]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("RECORDER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECORDER_SECRET_FINLIGHT", "hunter2")
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def test_check_tells_what_would_be_recorded_and_leaves_nothing_behind(place: Path) -> None:
    done = check("--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(feed["feed"], feed["connections"], feed["secret"]) for feed in told["feeds"]] == [
        ("news", 1, "finlight"),
        ("prices", 2, None),
    ]
    assert told["config"] == "config.toml"
    assert told["disk"]["path"] == "data"
    assert 0 < told["disk"]["fsync_ms_p50"] <= told["disk"]["fsync_ms_p99"]
    assert sorted(path.name for path in place.iterdir()) == ["config.toml"]


def test_check_for_people_names_feeds_and_never_shows_a_key(place: Path) -> None:
    done = check()
    assert done.exit_code == 0
    for word in ("news", "prices", "finance_query.profile", "fsync", "data (will be made)"):
        assert word in done.output
    assert "hunter2" not in done.output


def test_check_refuses_a_feed_without_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECORDER_SECRET_FINLIGHT")
    done = check()
    assert done.exit_code == 2
    assert "set RECORDER_SECRET_FINLIGHT" in done.stderr


def test_check_refuses_to_record_nothing(place: Path) -> None:
    (place / "config.toml").write_text("")
    assert check().exit_code == 2


def test_check_refuses_a_data_path_that_is_no_folder(place: Path) -> None:
    (place / "data").write_text("a file")
    done = check()
    assert done.exit_code == 1
    assert "data" in done.stderr


def test_check_warns_of_a_key_sent_in_clear_text(place: Path) -> None:
    (place / "config.toml").write_text('[feeds.news]\nkind = "finlight"\nurl = "ws://news.example.com"')
    done = check()
    assert done.exit_code == 0
    assert "use wss://" in done.stderr
