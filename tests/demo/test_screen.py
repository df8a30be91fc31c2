from __future__ import annotations

import asyncio
import io
from typing import Any, cast

import pytest
from rich.console import Console

from recorder.clock import Clock
from recorder.daemon import Daemon
from recorder.demo.screen import Mode, Screen
from recorder.demo.story import Story

FEED = {"state": "receiving", "messages": 41, "rotations": 2, "reconnects": 1, "gap": None}
STATUS = {
    "durable_position": 12345,
    "sealed_position": 12000,
    "journal": {"durable_ms_p50": 20.0, "durable_ms_p99": 24.919},
    "feeds": {
        "news": FEED,
        "profiles/NVDA": FEED | {"state": "waiting", "gap": {"since_ns": 1, "cause": "silent"}},
    },
}


class Recorder:
    """All that a screen looks at."""

    def status(self) -> dict[str, Any]:
        return STATUS


def screen(mode: Mode, *, width: int = 100) -> tuple[Screen, io.StringIO]:
    shown = Screen(mode)
    file = io.StringIO()
    shown.console = Console(file=file, width=width, force_terminal=mode == "live", color_system=None)
    return shown, file


async def follow(shown: Screen, story: Story, until: str, file: io.StringIO) -> str:
    following = asyncio.create_task(shown.follow(cast(Daemon, Recorder()), 30, story))
    async with asyncio.timeout(20):
        while until not in file.getvalue():  # noqa: ASYNC110 - a terminal tells nobody what it shows
            await asyncio.sleep(0.01)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    return file.getvalue()


async def test_the_picture_has_every_feed_its_gap_the_durable_position_and_the_story() -> None:
    shown, file = screen("live")
    story = Story(Clock())
    story.add("the plug is pulled", is_fault=True)
    picture = await follow(shown, story, "the plug is pulled", file)
    for part in ("profiles/NVDA", "waiting", "silent", "12,345", "25 ms", "12,000", "30 s left"):
        assert part in picture


async def test_a_narrow_terminal_cuts_lines_instead_of_folding_them() -> None:
    shown, file = screen("live", width=60)
    story = Story(Clock())
    story.add("x" * 200)
    assert "x" * 60 not in await follow(shown, story, "xx…", file)


def test_lines_are_shown_once_and_only_when_nothing_joins_them_any_more() -> None:
    shown, file = screen("lines")
    story = Story(Clock())
    story.add("the plug is pulled")
    shown.tell(story, older_s=3600)
    assert file.getvalue() == ""
    shown.tell(story)
    shown.tell(story)
    assert file.getvalue().count("the plug is pulled") == 1


async def test_silence_is_silent() -> None:
    shown, file = screen("silent")
    story = Story(Clock())
    story.add("the plug is pulled")
    await shown.follow(cast(Daemon, Recorder()), 30, story)
    shown.tell(story)
    assert file.getvalue() == ""
