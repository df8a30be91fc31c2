from __future__ import annotations

import random
from pathlib import Path

import pytest

from recorder.drill.steps import GROUPS_AT_RANDOM, Steps

pytestmark = pytest.mark.slow


def test_a_recorder_killed_at_a_step_loses_nothing_doubles_nothing_and_its_heir_goes_on(tmp_path: Path) -> None:
    with Steps(tmp_path) as steps:
        killed = list(steps.all(every=97))
    assert [each.wrong for each in killed] == [()] * len(killed)
    assert len(killed) >= 4
    assert len({each.stage for each in killed} & {"opening", "sealing", "publishing", "catalogue", "compacting"}) >= 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("killed")]


def test_a_recorder_killed_again_and_again_wherever_it_is_leaves_what_it_had_published(tmp_path: Path) -> None:
    with Steps(tmp_path, GROUPS_AT_RANDOM) as steps:
        killed = list(steps.at_random(6, random.Random(5)))
    assert [each.wrong for each in killed] == [()] * 6


def test_what_is_lost_at_a_step_is_found(tmp_path: Path) -> None:
    with Steps(tmp_path) as steps:
        part = next((tmp_path / "before").rglob("messages/hot/hour=2*/*.parquet"))
        part.unlink()
        killed = steps.kill(1)
    assert any("cannot be read" in wrong for wrong in killed.wrong)
    assert any("part missing" in wrong for wrong in killed.wrong)
    assert (tmp_path / "killed-1").exists(), "kept, to be looked at"
