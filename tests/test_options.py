"""Whoever only reads a recording is not kept from it by a mistake in the settings of who records it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from recorder.cli import main
from recorder.errors import ConfigInvalid
from recorder.options import load, load_for_reading, recording

FOLDER_ENOUGH = (
    ["info"],
    ["gaps"],
    ["sql", "SELECT 1"],
    ["verify"],
    ["export", "gaps", "--out", "gaps.csv"],
    ["tail", "-n", "0"],
    ["status"],
)
BROKEN_FEED = '[feeds.prices]\nkind = "finance_query.quotes"\nsymbol = ["AAPL"]\n'


@pytest.mark.parametrize("command", FOLDER_ENOUGH, ids=lambda command: command[0])
@pytest.mark.parametrize("broken", [BROKEN_FEED, "[journal]\ncommit_interval_ms = 0\n", "this is no TOML"])
def test_a_folder_that_is_named_is_read_whatever_the_settings_are(
    command: list[str], broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(broken)
    done = CliRunner().invoke(main, [*command, "--data", "nothing-here"])
    assert "is not usable" not in done.output, "the settings were read"
    assert "nothing-here/recorder.sqlite does not exist" in done.output or "nothing was recorded here" in done.output


@pytest.mark.parametrize("command", [["compact", "--dry-run"], ["retain", "--dry-run"], ["play", "--speed", "max"]])
def test_a_broken_feed_keeps_nobody_from_what_is_recorded(command: list[str], tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"{BROKEN_FEED}[retain]\ndays = 9\n")
    with pytest.raises(ConfigInvalid):
        load(config, None)
    assert load_for_reading(config, None).retain.days == 9
    assert recording(config, None) == tmp_path / "data"
    done = CliRunner().invoke(main, [*command, "--config", str(config)])
    assert "is not usable" not in done.output


def test_who_records_is_told_of_every_mistake_all_the_same(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(BROKEN_FEED)
    assert "RECORDER_DEBUG" not in os.environ
    done = CliRunner().invoke(main, ["check", "--config", str(config), "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "feeds.prices.symbol is not a setting; the nearest is symbols" in done.stderr
    assert done.stdout == ""
