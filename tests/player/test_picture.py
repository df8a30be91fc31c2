from __future__ import annotations

import io

import orjson
import pytest
from rich.console import Console

from recorder.clock import SECOND_NS
from recorder.player.picture import picture
from recorder.player.shown import Range, Shown
from recorder.replay.moments import iso

NOON_NS = 1_769_860_800 * SECOND_NS


def some() -> Shown:
    shown = Shown("start", Range(NOON_NS, NOON_NS + 100 * SECOND_NS), 0)
    state = {"status": "playing", "moment": iso(NOON_NS + 50 * SECOND_NS), "position": 1234, "speed": 60.0, "loops": 1}
    more = {"speed_reached": 59.9, "lateness_ms": {"p50": 0.01, "p99": 0.2}, "session": "demo", "listeners": 3}
    shown.take(orjson.dumps({"state": {**state, **more}}), 0)
    for position in range(30):
        told = {"position": position + 1, "received_at": iso(NOON_NS), "feed": "news", "kind": "data", "channel": ""}
        shown.take(orjson.dumps({**told, "connection": 1, "mark": None, "data": "日本語 " * 40}), 0)
    return shown


def drawn(shown: Shown, width: int, height: int, *, helping: bool = False) -> list[str]:
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as caught:
        console.print(picture(shown, 0, NOON_NS, height=height, title="data", helping=helping), end="")
    return caught.get().splitlines()


def test_it_shows_where_it_is_how_fast_and_what_came() -> None:
    lines = drawn(some(), 120, 24)
    whole = "\n".join(lines)
    assert "playing" in lines[0]
    assert "2026-01-31  12:00:50.00 UTC" in lines[0]
    assert "0:00:50 of 0:01:40" in lines[1]
    for words in ("speed 60x, reached 59.9x", "late 0.01 ms", "session demo, 3 listening", "turn 2"):
        assert words in whole
    assert "q quit" in lines[-1]


def test_help_names_every_key() -> None:
    whole = "\n".join(drawn(some(), 100, 24, helping=True))
    for word in ("pause", "faster, slower", "back, ahead", "next message", "quit"):
        assert word in whole


@pytest.mark.parametrize("width", [1, 8, 20, 40, 80, 300])
@pytest.mark.parametrize("height", [1, 2, 5, 24, 100])
def test_no_terminal_is_too_small_and_no_line_too_long(width: int, height: int) -> None:
    for shown in (some(), Shown("start", Range(), 0)):
        for helping in (True, False):
            assert max(map(len, drawn(shown, width, height, helping=helping))) <= width


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_is_exactly_as_high_as_the_terminal(width: int) -> None:
    assert len(drawn(some(), width, 24)) == 24
    assert len(drawn(Shown("start", Range(), 0), width, 24)) == 24
