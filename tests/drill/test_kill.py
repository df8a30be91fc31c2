"""A whole recorder, killed while it starts, records and seals; benchmarks/kills.py does it more often."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from recorder.drill.kill import kill_often
from recorder.drill.rig import Rig


@pytest.mark.slow
async def test_kill_9_of_a_whole_recorder_takes_nothing_that_was_published_and_leaves_only_gaps(tmp_path: Path) -> None:
    async with Rig(tmp_path, {"compact": {"interval_s": 0.3, "grace_s": 0}}) as rig:
        done = await kill_often(rig, 6, random.Random(3), young=0.5)
        assert (done.kills, done.lost, done.findings) == (6, 0, 0)
        await rig.start()
        await rig.receiving()
        assert await rig.stop() == 0
        proof = rig.proof()
    assert proof.fine, (proof.findings, proof.verdict.examples)
    assert proof.verdict.recorded > 50
