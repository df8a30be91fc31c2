from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from recorder.commands import drill
from recorder.drill.outcome import Outcome


@pytest.mark.slow
def test_every_promise_holds_here_and_what_is_left_can_be_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    words = [sys.executable, "-m", "recorder", "drill", "--json", "--keep", str(kept)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=110)
    told = orjson.loads(done.stdout)
    assert [outcome for outcome in told["outcomes"] if not outcome["holds"]] == []
    assert (done.returncode, told["holds"], told["data"]) == (0, True, str(kept))
    assert {outcome["drill"] for outcome in told["outcomes"]} == {
        "kill -9",
        "torn tail",
        "full disk",
        "half-open network",
    }
    assert (kept / "kill" / "log").exists()
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_promise_that_does_not_hold_is_exit_code_1(
    holds: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(folder: Path, tell: object) -> list[Outcome]:
        return [Outcome("kill -9", "2 durable", "0 lost", "1 lost", holds)]

    monkeypatch.setattr(drill, "run", run)
    assert drill.main(keep=None, as_json=False) == code
    said = capsys.readouterr().out
    assert ("BROKEN" in said) is not holds
    assert "1 lost" in said


@pytest.mark.slow
async def test_ctrl_c_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "recorder", "drill", "--keep", str(tmp_path / "kept")), stderr=asyncio.subprocess.PIPE
    )
    log = tmp_path / "kept" / "kill" / "log"
    async with asyncio.timeout(60):
        while not (log.exists() and b"recorder.started" in log.read_bytes()):  # noqa: ASYNC110 - another process's file
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, talk = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130, talk
    assert b"Traceback" not in talk
    drilled = [int(line.split(b"pid=")[1]) for line in log.read_bytes().splitlines() if b"recorder.started" in line]
    for pid in drilled:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
