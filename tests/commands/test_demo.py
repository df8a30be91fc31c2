"""The demo as a person has it: a process, its output, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FOR_S = "8"
WAIT_S = 60.0


class Demo:
    """`recorder demo …` with a folder of its own for temporary files, by which its processes are known, too."""

    def __init__(self, temporary: Path) -> None:
        self.temporary = temporary

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "recorder", "demo", *arguments],
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WAIT_S)
        return process.returncode, out, err

    def recording(self) -> bool:
        """Whether the recorder is at work."""
        return any(self.temporary.glob("recorder-demo-*/data/_status.json"))

    def processes(self) -> list[str]:
        marker = f"TMPDIR={self.temporary}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if marker in (process / "environ").read_bytes() and (process / "cmdline").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # it has ended meanwhile, or is somebody else's
        return found

    def until(self, condition: Callable[[], bool]) -> None:
        give_up = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < give_up, (self.processes(), list(self.temporary.iterdir()))
            time.sleep(0.02)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    demo = Demo(temporary)
    yield demo
    demo.until(lambda: not demo.processes())


@pytest.mark.slow
def test_a_short_demo_has_every_fault_and_loses_and_doubles_nothing(demo: Demo) -> None:
    code, out, err = demo.run("--for", FOR_S, "--json")
    told: dict[str, Any] = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["lost"], told["duplicated"], told["altered"]) == (0, 0, 0), told["examples"]
    assert told["sent"] == told["recorded"] + told["lost_in_gaps"]
    assert all(feed["recorded"] > 0 for feed in told["feeds"].values())
    assert min(told["rotations"], told["reconnects"], told["gaps"]) > 0
    assert len(told["faults"]) == 10
    assert told["positions_dense"]
    assert told["other_process_agrees"]
    assert told["durable_ms_p99"] >= told["durable_ms_p50"] > 0
    assert told["data"] is None
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_a_kept_demo_tells_what_happened_and_can_be_asked(demo: Demo, tmp_path: Path) -> None:
    kept = tmp_path / "it's kept"
    code, out, err = demo.run("--for", FOR_S, "--keep", str(kept))
    assert code == 0
    assert "Nothing was lost and nothing doubled" in out
    for title in ("Last prices", "Bars of five seconds", "News, each with the price", "Rotations of", "Gaps"):
        assert title in out
    assert "Finlight closes every connection with 1001" in err
    assert "Traceback" not in err
    assert list(demo.temporary.iterdir()) == []
    for command in (["verify"], ["gaps", "--json"], ["sql", "FROM coverage"]):
        asked = [sys.executable, "-m", "recorder", *command, "--data", str(kept)]
        assert subprocess.run(asked, capture_output=True, check=False).returncode == 0, command


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_early_it_still_checks_and_tidies_up(demo: Demo, number: signal.Signals) -> None:
    process = demo.start("--for", "600", "--json")
    demo.until(demo.recording)
    process.send_signal(number)
    out, err = process.communicate(timeout=WAIT_S)
    told = json.loads(out)
    assert (process.returncode, err) == (0, "")
    assert (told["lost"], told["duplicated"]) == (0, 0)
    assert told["seconds"] < 600
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_at_the_second_signal_it_tidies_up_and_nothing_more(demo: Demo) -> None:
    process = demo.start("--for", "600")
    demo.until(demo.recording)
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)  # two signals at once would be one
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode in (0, 130)  # 0: it was quicker than the second one
    assert "Traceback" not in err
    assert list(demo.temporary.iterdir()) == []


@pytest.mark.slow
def test_killed_it_leaves_no_process(demo: Demo) -> None:
    process = demo.start("--for", "600")
    demo.until(demo.recording)
    assert len(demo.processes()) > 1
    process.kill()
    process.communicate(timeout=WAIT_S)
    demo.until(lambda: not demo.processes())


def test_a_folder_that_is_not_empty_is_refused(demo: Demo, tmp_path: Path) -> None:
    for name in ("file", "folder"):
        path = tmp_path / name
        if name == "folder":
            path.mkdir()
            (path / "mine").touch()
        else:
            path.touch()
        code, out, err = demo.run("--for", "1", "--keep", str(path))
        assert (code, out) == (2, "")
        assert "not an empty folder" in err
