"""`recorder status` beside a real lock, as a running recorder holds it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recorder import __version__
from recorder.cli import main
from recorder.commands.status import _span


@pytest.fixture
def running(tmp_path: Path) -> Iterator[None]:
    with (tmp_path / "recorder.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def told(data: Path, *, gap: str | None = None, age_s: float = 0, seal: str = "ok", version: str = __version__) -> None:
    now_ns = time.time_ns() - int(age_s * 1e9)
    status = {
        "written_ns": now_ns,
        "pid": 77,
        "version": version,
        "started_ns": now_ns - 10**12,
        "durable_position": 4711,
        "feeds": {
            "news": {
                "kind": "finlight",
                "state": "receiving",
                "messages": 1234,
                "last_data_ns": now_ns - 10**9,
                "rotations": 3,
                "reconnects": 0,
                "gap": {"since_ns": now_ns - 5 * 10**9, "cause": gap} if gap else None,
            }
        },
        "clock_behind_ns": 0,
        "sealed_position": 4000,
        "journal": {
            "failed": None,
            "failing": "",
            "damage": "",
            "waiting_s": 0.0,
            "commit_interval_ms": 20,
            "under_pressure": False,
            "durable_ms_p50": 20.5,
            "durable_ms_p99": 31.0,
        },
        "seal": {"age_s": 30.0, "interval_s": 60.0},
        "heartbeat": None,
        "jobs": [
            {
                "job": "seal",
                "every_s": 60,
                "missed": "made up for once",
                "runs": 9,
                "last_ns": 7_000_000_000,
                "last_s": 0.2,
                "next": "soon",
                "last_outcome": seal,
            },
        ],
        "disk": {"free_bytes": 10 << 30, "reserve_bytes": 256 << 20, "halted": False},
    }
    (data / "_status.json").write_text(json.dumps(status))


def status(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["status", "--data", str(data), *arguments])


def test_running_and_receiving_is_exit_code_0(tmp_path: Path, running: None) -> None:
    told(tmp_path)
    done = status(tmp_path, "--json")
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert shown["running"] is True
    assert shown["feeds"]["news"]["messages"] == 1234


def test_people_see_each_feed_and_how_far_it_is_durable(tmp_path: Path, running: None) -> None:
    told(tmp_path)
    shown = status(tmp_path).stdout
    for word in (
        "running since",
        "pid 77",
        "4711",
        "news",
        "receiving",
        "1.0 s ago",
        "OK",
        "31.0 ms (99 %)",
        "10240 MB free",
        "seal",
    ):
        assert word in shown


def test_open_gap_is_exit_code_3(tmp_path: Path, running: None) -> None:
    told(tmp_path, gap="connection lost")
    done = status(tmp_path)
    assert done.exit_code == 3
    assert "connection lost, since 5.0 s ago" in done.stdout


def test_a_failed_job_is_exit_code_3_and_said(tmp_path: Path, running: None) -> None:
    told(tmp_path, seal="OSError: full")
    done = status(tmp_path)
    assert done.exit_code == 3
    assert "the job seal failed: OSError: full" in done.stdout


def test_facts_of_another_version_are_an_error_that_says_so(tmp_path: Path, running: None) -> None:
    told(tmp_path, version="0.0.1")
    facts = json.loads((tmp_path / "_status.json").read_text())
    del facts["disk"]
    (tmp_path / "_status.json").write_text(json.dumps(facts))
    done = status(tmp_path)
    assert done.exit_code == 1
    assert "version 0.0.1" in done.stderr


def test_status_that_is_no_longer_written_is_exit_code_3_and_said(tmp_path: Path, running: None) -> None:
    told(tmp_path, age_s=60)
    done = status(tmp_path)
    assert done.exit_code == 3
    assert "60 s old" in done.stdout


def test_recorder_that_just_started_has_nothing_to_show_yet(tmp_path: Path, running: None) -> None:
    done = status(tmp_path)
    assert done.exit_code == 3
    assert "is starting" in done.stdout


def test_a_status_that_a_power_cut_left_empty_is_none(tmp_path: Path, running: None) -> None:
    (tmp_path / "_status.json").touch()
    done = status(tmp_path)
    assert done.exit_code == 3
    assert "is starting" in done.stdout


def test_after_a_stop_it_shows_how_it_was_with_exit_code_1(tmp_path: Path) -> None:
    told(tmp_path)
    (tmp_path / "recorder.lock").touch()
    done = status(tmp_path)
    assert done.exit_code == 1
    assert "not running; this is how it was at" in done.stdout
    assert json.loads(status(tmp_path, "--json").stdout)["running"] is False


def test_folder_nobody_recorded_into_is_exit_code_1(tmp_path: Path) -> None:
    done = status(tmp_path / "none")
    assert done.exit_code == 1
    assert "nothing was recorded" in done.stdout


def test_people_have_it_on_80_columns_with_what_is_long_below(
    tmp_path: Path, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.commands.show.PIPE_COLUMNS", 80)
    told(tmp_path, gap="closed with 1001 Going away", seal="OSError: [Errno 28] No space left on device")
    shown = status(tmp_path).stdout
    assert re.search(r"(?m)^news +receiving +1234 +1\.0 s ago +3 +0 *$", shown)
    assert "news is in a gap: closed with 1001 Going away, since 5.0 s ago\n" in shown
    assert re.search(r"(?m)^seal +60 s .* FAILED *$", shown)
    assert "seal: OSError: [Errno 28] No space left on device\n" in shown


def test_values_that_no_table_could_take_are_told(tmp_path: Path, running: None) -> None:
    told(tmp_path)
    facts = json.loads((tmp_path / "_status.json").read_text())
    facts["totals"] = {"sealed": {"unparsed": {"quotes": 2, "articles": 0}, "unread": {"quotes.price": 5}}}
    (tmp_path / "_status.json").write_text(json.dumps(facts))
    shown = status(tmp_path).stdout
    assert "frames without their feed's shape, kept in messages, since it runs: quotes 2\n" in shown
    assert "values that are NULL for it, kept in messages, since it runs: quotes.price 5\n" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.95, "9.9 s"),
        (59.96, "60 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_spans_are_said_in_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert _span(seconds) == said


def test_watching_and_machines_exclude_each_other(tmp_path: Path) -> None:
    assert status(tmp_path, "--watch", "--json").exit_code == 2


@pytest.mark.slow
def test_watching_without_a_terminal_is_a_line_a_second_until_ctrl_c(tmp_path: Path, running: None) -> None:
    told(tmp_path)
    command = [sys.executable, "-m", "recorder", "status", "--watch", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    for line in lines:
        assert re.fullmatch(r"\S+Z ok 1/1 receiving position 4711\n", line)


@pytest.mark.slow
def test_watching_on_a_terminal_leaves_it_as_it_was_with_the_last_look(tmp_path: Path, running: None) -> None:
    told(tmp_path)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "recorder", "status", "--watch", "--data", str(tmp_path)]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(command, stdout=slave, env=env) as process:
        os.close(slave)
        shown = b""
        while b"4711" not in shown:
            shown += os.read(master, 1 << 16)
        process.send_signal(signal.SIGINT)
        with suppress(OSError):  # the process has gone, and its side of the terminal
            while more := os.read(master, 1 << 16):
                shown += more
    os.close(master)
    assert process.returncode == 0
    begin, end, show_cursor = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
    assert shown.index(begin) < shown.index(b"4711") < shown.index(end)
    assert show_cursor in shown
    assert b"4711" in shown.partition(end)[2]


@pytest.mark.slow
def test_running_recorder_is_told_of_and_stops_with_everything_sealed(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: whoever dials is refused
        config = f'[feeds.hours]\nkind = "finance_query.hours"\nurl = "ws://127.0.0.1:{nobody.getsockname()[1]}"\n'
        (tmp_path / "config.toml").write_text(config)
        command = [sys.executable, "-m", "recorder", "run", "--config", str(tmp_path / "config.toml")]
        recorder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        data = tmp_path / "data"
        try:
            deadline = time.monotonic() + 60
            while not (data / "_status.json").exists() and recorder.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            done = status(data)
            assert done.exit_code == 3  # its feed is in a gap
            assert f"pid {recorder.pid}" in done.stdout
            assert "hours" in done.stdout
        finally:
            recorder.terminate()
            _, log = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, log
    assert status(data).exit_code == 1
    told = json.loads(CliRunner().invoke(main, ["info", "--data", str(data), "--json"]).stdout)
    assert told["sealed_position"] == told["durable_position"] > 0
    assert CliRunner().invoke(main, ["verify", "--data", str(data)]).exit_code == 0
