"""`recorder play` as a process: on a terminal of its own, and without one."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.message import Kind, Stream

TOKEN = {"RECORDER_SECRET_REPLAY": "0123456789abcdef"}
PLAIN = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONUTF8": "1"}
PATIENCE_S = 30


def command(name: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "recorder", name, *options]


def play(*options: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command("play", *options),
        env={**PLAIN, "RECORDER_REPLAY__PORT": "0", **environ},
        capture_output=True,
        timeout=60,
    )


def serving(data: Path) -> list[int]:
    """The processes that serve this recording."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"\0serve\0" in line and str(data).encode() in line:
            found.append(int(folder.name))
    return found


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


class Terminal:
    """A player on a terminal of its own."""

    def __init__(self, *options: str) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 100))
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen(
            command("play", *options),
            env={**PLAIN, "RECORDER_REPLAY__PORT": "0"},
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
        )  # fmt: skip

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def sees(self, words: str) -> None:
        """Waits until the words were written, and forgets what was before."""
        end_s = time.monotonic() + PATIENCE_S
        while (found := re.search(words, self.text)) is None:
            assert time.monotonic() < end_s, self.text[-2000:]
            self.read()
        self.text = self.text[found.end() :]

    def read(self) -> None:
        if select.select([self.master], [], [], 0.1)[0]:
            self.text += os.read(self.master, 1 << 16).decode(errors="replace")

    def end(self) -> int:
        end_s = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:  # what it writes has to be taken, or it waits for that
            assert time.monotonic() < end_s
            self.read()
        while select.select([self.master], [], [], 0)[0]:
            self.read()
        return self.process.returncode

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before


@contextmanager
def terminal(*options: str) -> Iterator[Terminal]:
    it = Terminal(*options)
    try:
        yield it
    finally:
        it.process.kill()
        it.process.wait()
        os.close(it.master)
        os.close(it.slave)


@pytest.mark.slow
def test_not_on_a_terminal_each_message_is_a_line(recording: Path) -> None:
    done = play("--data", str(recording), "--speed", "max")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    assert lines[0] == "2026-01-31T12:00:01.000Z 1 quotes data AAPL 100.00 +1.00%  MSFT 200.00 +1.00%"
    assert "gap has ended, 12:00:01 to 12:00:03: connection lost" in lines[3]
    assert len(lines) == 6 + 3
    assert b"6 messages, digest " in done.stderr
    assert serving(recording) == []


@pytest.mark.slow
def test_json_is_the_frames_as_they_come_a_line_each(tmp_path: Path, record: Callable[..., None]) -> None:
    quotes = Stream("quotes", "finance_query.quotes")
    record(tmp_path / "data", [(quotes, Kind.DATA, b'{"a":\r\n 1.10}'), (quotes, Kind.DATA, b'"x"')])
    done = play("--data", str(tmp_path / "data"), "--speed", "max", "--json")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [line for line in done.stdout.splitlines() if line.startswith(b'{"position"')]
    assert b'"data":{"a":   1.10}}' in messages[0]
    assert told[-1]["end"]["sent"]["messages"] == len(messages) == 2
    as_sent = b"".join(messages).replace(b":   1.10", b":\r\n 1.10")
    assert told[-1]["end"]["digest"] == hashlib.blake2b(as_sent, digest_size=16).hexdigest()


@pytest.mark.slow
def test_nobody_reading_on_is_no_error(recording: Path) -> None:
    process = subprocess.Popen(
        command("play", "--data", str(recording), "--loop", "--speed", "max", "--json"),
        env={**PLAIN, "RECORDER_REPLAY__PORT": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    until(lambda: serving(recording) == [])


@pytest.mark.slow
def test_ctrl_c_and_kill_leave_no_server_behind(recording: Path) -> None:
    for number, codes in ((signal.SIGINT, (0,)), (signal.SIGTERM, (-15,)), (signal.SIGKILL, (-9,))):
        with subprocess.Popen(
            command("play", "--data", str(recording), "--paused", "--json"),
            env={**PLAIN, "RECORDER_REPLAY__PORT": "0"}, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout
            process.stdout.readline()
            assert len(serving(recording)) == 1
            process.send_signal(number)
            assert process.wait(PATIENCE_S) in codes
        until(lambda: serving(recording) == [])


@pytest.mark.slow
def test_keys_steer_it_and_q_leaves_the_terminal_as_it_was(recording: Path) -> None:
    with terminal("--data", str(recording), "--paused") as it:
        it.sees("paused")
        assert not it.is_as_before
        it.press("n")
        it.sees("AAPL 100.00")
        it.press("?")
        it.sees("faster, slower")
        it.press("?+")
        it.sees("speed 2x")
        it.press("\x1b[C")  # 10 s ahead: to the last message, a gap's end is before
        it.press(".")
        it.sees("Täst")
        it.press("0")
        it.sees("12:00:01.00 UTC")
        it.press("q")
        assert it.end() == 0
        assert "To go on from here" in it.text
        assert it.is_as_before
    assert serving(recording) == []


@pytest.mark.slow
def test_at_its_end_it_stays_and_can_be_played_again(recording: Path) -> None:
    with terminal("--data", str(recording), "--speed", "1000") as it:
        it.sees("all was played")
        it.press("n")  # nothing is left to step to, and no shell gets it
        it.press("0")
        it.sees("\x1b\\[\\?1049h")
        it.sees("all was played")
        it.press("q")
        assert it.end() == 0
        assert "6 messages, digest " in it.text


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_and_the_terminal_is_as_it_was(recording: Path, number: signal.Signals) -> None:
    with terminal("--data", str(recording), "--paused") as it:
        it.sees("paused")
        it.process.send_signal(number)
        assert it.end() == 0
        assert it.is_as_before
        assert "\x1b[?1049l" in it.text  # back from the alternate screen
        assert "\x1b[?25h" in it.text  # with its cursor
    assert serving(recording) == []


@pytest.mark.slow
def test_a_server_that_dies_is_a_sentence_on_a_terminal_that_is_as_it_was(recording: Path) -> None:
    with terminal("--data", str(recording), "--paused") as it:
        it.sees("paused")
        for process in serving(recording):
            os.kill(process, signal.SIGKILL)
        assert it.end() == 1
        assert "is lost" in it.text
        assert "Traceback" not in it.text
        assert it.is_as_before


@pytest.mark.slow
def test_ctrl_z_gives_the_terminal_back_until_it_is_let_go_on(recording: Path) -> None:
    with terminal("--data", str(recording), "--speed", "0.01") as it:
        it.sees("playing")
        it.process.send_signal(signal.SIGTSTP)
        until(lambda: Path(f"/proc/{it.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        assert it.is_as_before
        it.process.send_signal(signal.SIGCONT)
        it.sees("\x1b\\[\\?1049h")
        it.sees("playing")
        assert not it.is_as_before
        it.press("q")
        assert it.end() == 0
        assert it.is_as_before


@pytest.mark.slow
def test_what_already_serves_this_recording_is_listened_to_with_its_token(recording: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        command("serve", "--port", "0", "--json", "--data", str(recording)),
        env={**PLAIN, **TOKEN, "RECORDER_REPLAY__TOKEN": "replay"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            assert server.stdout
            told: dict[str, Any] = json.loads(server.stdout.readline())
            url, port = told["url"], {"RECORDER_REPLAY__PORT": str(told["port"])}
            options = ("--speed", "max", "--session", "ours", "--json")
            done = play("--data", str(recording), *options, **port, **TOKEN)
            assert b'"session":"ours"' in done.stdout
            assert b"0123456789abcdef" not in done.stdout + done.stderr
            assert serving(recording) == [server.pid]
            done = play(url, "--speed", "max", "--feeds", "news", **TOKEN)
            assert done.stdout.count(b"\n") == 2 + 2
            assert play(f"{url}/session/a/replay?token=0123456789abcdef&speed=max&to=@2").stdout.count(b"\n") == 1

            done = play(url)
            assert done.returncode == 1
            assert b"RECORDER_SECRET_REPLAY" in done.stderr
            done = play(url, "--feeds", "nwes", **TOKEN)
            assert (done.returncode, b"possible: news, quotes" in done.stderr) == (2, True)
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["ws://127.0.0.1:1"], "does not answer"),
        (["http://127.0.0.1:8765"], "ws://host:port"),
        (["ws://user:secret@127.0.0.1"], "ws://host:port"),
        (["--speed", "fast"], "0.01 to 1000000, or max"),
        (["--data", "nowhere"], "nothing is recorded"),
        (["ws://127.0.0.1:1", "--data", "x"], "exclude each other"),
    ],
)
def test_what_cannot_be_is_a_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    done = play(*options)
    assert done.returncode in (1, 2)
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
    assert "secret" not in done.stderr.decode()
