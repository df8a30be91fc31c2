from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from recorder.commands import drill
from recorder.drill import kill
from recorder.drill.outcome import Outcome
from recorder.drill.rig import DrillFailed, Rig


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


# Of a recorder that alters one message in ten before it writes it down.
UNFAITHFUL = """
from recorder.journal.writer import Journal
append, count = Journal.append, 0
def altering(self, stream, kind, connection, payloads, *rest):
    global count
    count += kind.name == "DATA"
    if kind.name == "DATA" and count % 10 == 0:
        payloads = [payload.replace(b":", b" :", 1) for payload in payloads]
    return append(self, stream, kind, connection, payloads, *rest)
Journal.append = altering
"""


@pytest.mark.slow
def test_a_promise_that_is_broken_for_real_is_exit_code_1_and_what_shows_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def one_kill(folder: Path, _: object) -> list[Outcome]:
        async with Rig(folder / "kill") as rig:
            return await kill.drill(rig, 1, random.Random(1))

    (tmp_path / "sitecustomize.py").write_text(UNFAITHFUL)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(drill, "ASIDE", tmp_path)
    monkeypatch.setattr(drill, "run", one_kill)
    assert drill.main(keep=None, as_json=True) == 1
    told = orjson.loads(capsys.readouterr().out)
    broken = {outcome["promise"]: outcome["observed"] for outcome in told["outcomes"] if not outcome["holds"]}
    assert not told["holds"]
    assert not broken["1 verbatim"].startswith("0 altered")
    assert "2 durable" not in broken, "that one it keeps"
    assert Path(told["data"]).parent == tmp_path
    assert (Path(told["data"]) / "kill" / "log").exists()


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_it_says_which_promise_does_not_hold_and_where_to_look(
    holds: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(folder: Path, _: object) -> list[Outcome]:
        return [Outcome("kill -9", "2 durable", "0 lost", "1 lost", holds)]

    monkeypatch.setattr(drill, "ASIDE", tmp_path)
    monkeypatch.setattr(drill, "run", run)
    assert drill.main(keep=None, as_json=False) == code
    said = capsys.readouterr().out
    left = list(tmp_path.iterdir())
    assert ("BROKEN" in said) is not holds
    assert "1 lost" in said
    assert [str(folder) in said for folder in left] == ([] if holds else [True])


def test_a_drill_that_could_not_be_carried_out_leaves_the_log_it_speaks_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(folder: Path, _: object) -> list[Outcome]:
        (folder / "log").touch()
        raise DrillFailed(f"its log is {folder / 'log'}")

    monkeypatch.setattr(drill, "ASIDE", tmp_path)
    monkeypatch.setattr(drill, "run", run)
    with pytest.raises(DrillFailed) as failed:
        drill.main(keep=None, as_json=False)
    assert Path(str(failed.value).removeprefix("its log is ")).exists()


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
