"""Faults of processes, not of disk or network. Kills are in tests/drill and tests/journal."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from recorder.drill.rig import Rig


@pytest.mark.slow
async def test_a_second_recorder_on_the_same_data_refuses_says_who_holds_it_and_does_not_disturb(
    tmp_path: Path,
) -> None:
    async with Rig(tmp_path) as rig:
        await rig.start()
        before = await rig.receiving()
        second = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder", "run", "--no-serve", "--config", str(tmp_path / "config.toml")),
            env=os.environ | {"RECORDER_SECRET_FINLIGHT": "drill"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, talk = await asyncio.wait_for(second.communicate(), 60)
        assert second.returncode == 1
        assert f"{rig.data} is being recorded to by process {before['pid']} since ".encode() in talk
        assert b"Stop that recorder first" in talk
        assert b"Traceback" not in talk
        after = await rig.until(lambda told: bool(told["durable_position"] > before["durable_position"]))
        assert after["pid"] == before["pid"]
        assert {feed["reconnects"] for feed in after["feeds"].values()} == {0}
        assert await rig.stop() == 0
        assert rig.proof().fine
