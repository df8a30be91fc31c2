"""`recorder tail`, from sealed parts over the journal into what is being written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recorder.commands.tail import pieces
from recorder.replay.timeline import Timeline

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def tail() -> Iterator[Start]:
    """A real `recorder tail`."""
    started: list[subprocess.Popen[str]] = []

    def start(data: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "recorder", "tail", "--data", str(data), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline() for _ in range(count)]


def positions(process: subprocess.Popen[str], count: int) -> list[int]:
    return [json.loads(line)["position"] for line in lines(process, count)]


def test_tail_goes_from_parts_over_the_journal_into_what_comes(
    recording: Path, tail: Start, record: Callable[..., None], entries: list[Any]
) -> None:
    process = tail(recording, "--from", "1", "--json")
    assert positions(process, 10) == list(range(1, 11))
    record(recording, entries[:3])
    assert positions(process, 3) == [11, 12, 13]
    record(recording, entries[:2], seal=True)  # it may look before or after the seal
    assert positions(process, 2) == [14, 15]


@pytest.mark.parametrize(
    ("options", "first"),
    [(["-n", "3"], 8), (["-n", "9"], 2), (["-n", "99"], 1), (["--from", "7"], 7), (["-n", "2", "--feed", "news"], 5)],
)
def test_tail_begins_where_it_is_told(options: list[str], first: int, recording: Path, tail: Start) -> None:
    assert positions(tail(recording, "--json", *options), 1) == [first]


def test_tail_of_a_feed_shows_nothing_else(recording: Path, tail: Start) -> None:
    found = [json.loads(line) for line in lines(tail(recording, "--json", "--from", "0", "--feed", "news"), 5)]
    assert [row["position"] for row in found] == [2, 3, 4, 5, 10]


def test_people_see_a_line_a_message_whatever_is_in_it(recording: Path, tail: Start) -> None:
    shown = lines(tail(recording, "--from", "3"), 5)
    assert shown[0].startswith("2026-01-31T12:00:03.000Z 3 news data {")
    assert "Täst" in shown[0]
    assert shown[4].startswith("2026-01-31T12:00:07.000Z 7 quotes data b'not\\x00json\\xff'")


def test_ctrl_c_is_how_tail_ends(recording: Path, tail: Start) -> None:
    process = tail(recording)
    lines(process, 10)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=30)
    assert (process.returncode, complaint) == (0, "")


def test_tail_ends_when_nobody_reads_on(
    recording: Path, tail: Start, record: Callable[..., None], entries: list[Any]
) -> None:
    process = tail(recording, "--json")
    lines(process, 10)
    assert process.stdout and process.stderr
    process.stdout.close()
    record(recording, entries)
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stdout = None


def test_folder_without_a_recording_says_so(tmp_path: Path, tail: Start) -> None:
    process = tail(tmp_path)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "nothing is recorded there" in complaint


@pytest.mark.parametrize("first", range(1, 12))
def test_each_message_from_a_position_on_comes_once(first: int, recording: Path) -> None:
    found: list[int] = []
    for piece in pieces(Timeline(recording), first):
        if piece is None:
            break
        found += piece["position"].to_pylist()
    assert found == list(range(first, 11))
