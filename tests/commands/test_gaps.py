"""`recorder gaps` over one gap that ended and one that did not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recorder.cli import main

CLOSED = {
    "feed": "news",
    "channel": "",
    "since": "2026-01-31T12:00:01.000Z",
    "until": "2026-01-31T12:00:03.000Z",
    "seconds": 2.0,
    "cause": "connection lost",
    "recovered": None,
    "repair": None,
}
OPEN = {
    "feed": "quotes",
    "channel": "",
    "since": "2026-01-31T12:00:03.000Z",
    "until": None,
    "seconds": None,
    "cause": "silence",
    "recovered": None,
    "repair": None,
}


def gaps(data: Path, *options: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(main, ["gaps", "--data", str(data), "--json", *options])
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_gaps_have_bounds_and_cause_and_an_open_one_has_no_end(recording: Path) -> None:
    assert gaps(recording) == [CLOSED, OPEN]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--feed", "news"], [CLOSED]),
        (["--feed", "nobody"], []),
        (["--since", "2026-01-31T12:00:02"], [CLOSED, OPEN]),
        (["--since", "2026-01-31T12:00:03"], [OPEN]),
        (["--since", "2027-01-01"], [OPEN]),
    ],
)
def test_gaps_are_chosen_by_feed_and_by_what_they_reach_into(
    options: list[str], found: list[dict[str, Any]], recording: Path
) -> None:
    assert gaps(recording, *options) == found


def test_people_see_a_line_a_gap_or_that_there_is_none(recording: Path) -> None:
    shown = CliRunner().invoke(main, ["gaps", "--data", str(recording)]).stdout
    assert len(shown.splitlines()) == 3
    assert re.search(r"(?m)^news +2026-01-31 12:00:01 +2 +connection lost *$", shown)
    assert re.search(r"(?m)^quotes +2026-01-31 12:00:03 +open +silence *$", shown)
    none = CliRunner().invoke(main, ["gaps", "--data", str(recording), "--feed", "nobody"])
    assert none.stdout == "no gaps\n"
