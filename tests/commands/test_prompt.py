"""`recorder sql` at a terminal: what is typed, what is shown, what is left."""

from __future__ import annotations

import fcntl
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
from functools import partial
from pathlib import Path

import pytest

PATIENCE_S = 30


class Terminal:
    """A process at a terminal of 24 lines, and all that it has shown."""

    def __init__(self, *command: str, **environ: str) -> None:
        self._master, slave = pty.openpty()
        env = {"PATH": os.environ["PATH"], "TERM": "dumb", "LINES": "24", "COLUMNS": "100", **environ}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, slave, termios.TIOCSCTTY, 0),  # or Ctrl-C would be a letter
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """Read until something new matches; answers what is new up to and with it."""
        began = time.monotonic()
        while not (found := re.search(pattern, self.shown, re.DOTALL)):
            assert time.monotonic() - began < PATIENCE_S, self.shown
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._master, 1 << 16).decode().replace("\r\n", "\n")
                except OSError:  # the process has gone, and its side of the terminal
                    assert re.search(pattern, self.shown, re.DOTALL), self.shown
        new, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return new

    def busy(self) -> None:
        """Wait until it has computed for half a second more."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        before, began = None, time.monotonic()
        while (ticks := sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))) < (before or ticks) + 50:
            before = before or ticks
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.05)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


Start = Callable[[], Terminal]


@pytest.fixture
def start(recording: Path, tmp_path: Path) -> Iterator[Start]:
    begun: list[Terminal] = []

    def start() -> Terminal:
        command = (sys.executable, "-m", "recorder", "sql", "--data", str(recording))
        begun.append(Terminal(*command, HOME=str(tmp_path), PAGER="cat > paged"))
        begun[-1].until("sql> ")
        return begun[-1]

    yield start
    for terminal in begun:
        terminal.close()


pytestmark = pytest.mark.slow


def test_a_statement_may_have_several_lines_and_a_wrong_one_ends_nothing(start: Start) -> None:
    terminal = start()
    terminal.type("SELECT count(*) AS n\n")
    terminal.until(r"\.\.\.> ")
    terminal.type("FROM messages WHERE feed <> ';\n")  # a semicolon within quotes is none
    terminal.until(r"\.\.\.> ")
    terminal.type("';\n")
    assert re.search(r"n\n\s*10\n", terminal.until("sql> "))
    terminal.type("SELECT nonsense;\n")
    assert "nonsense" in terminal.until("Error.*sql> ")
    terminal.type("\x04")
    assert terminal.process.wait(PATIENCE_S) == 0


def test_dot_commands_show_tables_columns_and_change_how_answers_look(start: Start) -> None:
    terminal = start()
    terminal.type(".schema gaps\n")
    assert "length; NULL while it is open" in terminal.until("sql> ")
    terminal.type(".schema nowhere\n")
    assert "no table nowhere" in terminal.until("sql> ")
    terminal.type(".format json\n.timing on\nSELECT 7 AS x;\n")
    assert re.search(r'\[\{"x":7\}\]\n\d+\.\d{3} s\n', terminal.until(r" s\n"))
    terminal.type(".nothing\n")
    terminal.until("a question; it ends with a semicolon")
    terminal.type(".quit\n")
    assert terminal.process.wait(PATIENCE_S) == 0


def test_long_answers_go_through_the_pager_and_short_ones_do_not(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.type("SELECT i FROM range(5) t(i);\n")
    terminal.until("4\n.*sql> ")
    terminal.type("SELECT i AS many FROM range(50) t(i);\n")
    assert "49" not in terminal.until("sql> ").removeprefix("SELECT i AS many FROM range(50) t(i);")


def test_ctrl_c_lets_a_line_and_a_running_question_go(start: Start) -> None:
    terminal = start()
    terminal.type("SELECT half of a\n")
    terminal.until(r"\.\.\.> ")
    terminal.type("\x03")
    terminal.until("sql> ")
    terminal.type("SELECT count(*) FROM range(100000000000) a(x) WHERE sin(x) > 2;\n")
    terminal.until(r"> 2;\n")
    terminal.busy()  # before it begins, the line would be let go
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.until("let go.*sql> ")
    terminal.type("SELECT 'still there';\n")
    terminal.until("still there.*still there.*sql> ")


def test_history_is_there_the_next_time_and_only_its_owner_reads_it(start: Start, tmp_path: Path) -> None:
    first = start()
    first.type("SELECT 'to be\nremembered';\n")
    first.until("sql> ")
    first.type(".quit\n")
    assert first.process.wait(PATIENCE_S) == 0
    history = tmp_path / ".local" / "state" / "recorder" / "sql_history"
    assert history.read_text().splitlines() == ["SELECT 'to be remembered';", ".quit"]
    assert history.stat().st_mode & 0o077 == 0
    second = start()
    second.type("\x1b[A\x1b[A\n")  # twice up
    second.until(r"\nto be remembered *\nsql> ")


def test_names_are_completed(start: Start) -> None:
    terminal = start()
    terminal.type("SELECT count(*) AS n FROM similar_s\t;\n")
    assert "similar_symbols" in terminal.until("n\n.*sql> ")


def test_what_was_recorded_since_is_seen_after_a_refresh(start: Start, recording: Path) -> None:
    terminal = start()
    terminal.type(".refresh\nSELECT max(position) AS last FROM messages;\n")
    terminal.until(r"last\n\s*10\n")
