"""What can be seen while the demo runs: a picture that is drawn anew on a terminal, now and then a line elsewhere.

In: the running recorder's own status, and the story. Out: stderr, which is for talk. Drawing takes some 5 ms of the
recorder's event loop four times a second: a part of what the demo's times to durable are made of.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, Literal

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from recorder.daemon import Daemon
from recorder.demo.story import TOGETHER_S, Line, Story

EVERY_S = 0.25
LINE_EVERY_S = 5.0
RATE_OVER = 8  # pictures
STORY_LINES = 7
COLOURS = {"receiving": "green", "rotating": "cyan", "connecting": "yellow", "waiting": "yellow", "stopped": "dim"}

Mode = Literal["live", "lines", "silent"]


class Screen:
    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        self.console = Console(stderr=True, highlight=False)
        self._counts: deque[tuple[float, dict[str, int]]] = deque(maxlen=RATE_OVER)

    @classmethod
    def fitting(cls, *, as_json: bool) -> Screen:
        return cls("silent" if as_json else "live" if sys.stderr.isatty() else "lines")

    def tell(self, story: Story, older_s: float = 0.0) -> None:
        """The lines of the story that were not shown yet and are so old that nothing joins them any more."""
        for line in [line for line in story.lines if not line.was_shown and story.seconds - line.at_s >= older_s]:
            line.was_shown = True
            if self.mode != "silent":
                self.console.print(_styled(line), soft_wrap=self.mode == "lines")

    async def follow(self, daemon: Daemon, for_s: float, story: Story) -> None:
        """Show it until cancelled."""
        if self.mode == "live":
            with Live(console=self.console, auto_refresh=False, transient=True) as live:
                while True:
                    live.update(self._picture(daemon.status(), for_s, story), refresh=True)
                    await asyncio.sleep(EVERY_S)
        due_s = LINE_EVERY_S
        while self.mode == "lines":
            await asyncio.sleep(EVERY_S)
            if story.seconds >= due_s:
                due_s += LINE_EVERY_S
                story.add(_line(daemon.status()))
            self.tell(story, TOGETHER_S)

    def _picture(self, status: dict[str, Any], for_s: float, story: Story) -> Group:
        seconds = story.seconds
        left_s = for_s - seconds
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text("recorder demo", style="bold"),
            ProgressBar(for_s, min(seconds, for_s), width=24),
            f"{left_s:.0f} s left, Ctrl-C ends it" if left_s > 0 else "stopping, sealing",
        )
        journal = status["journal"]
        half_ms, most_ms = journal["durable_ms_p50"], journal["durable_ms_p99"]
        below = Text(
            f"durable up to position {status['durable_position']:,}, "
            f"half of it within {half_ms:.0f} ms of its arrival, 99 % within {most_ms:.0f} ms\n"
            f"in Parquet, open to SQL, up to position {status['sealed_position']:,}\n"
        )
        lines = list(story.lines)[-STORY_LINES:]
        told = [_styled(line) for line in lines]
        for text in told:
            text.no_wrap, text.overflow = True, "ellipsis"
        return Group(head, Text(), self._feeds(status, seconds), Text(), below, *told)

    def _feeds(self, status: dict[str, Any], seconds: float) -> Table:
        counts = {name: feed["messages"] for name, feed in status["feeds"].items()}
        self._counts.append((seconds, counts))
        then_s, then = self._counts[0]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("feed", min_width=14)
        table.add_column("state", min_width=10)
        for column in ("messages", "per s", "rotations", "reconnects"):
            table.add_column(column, justify="right")
        table.add_column("open gap", no_wrap=True, overflow="ellipsis")
        for name, feed in status["feeds"].items():
            rate = (counts[name] - then.get(name, 0)) / (seconds - then_s) if seconds > then_s else 0.0
            table.add_row(
                name,
                Text(feed["state"], style=COLOURS.get(feed["state"], "")),
                str(feed["messages"]),
                f"{rate:.1f}",
                str(feed["rotations"]),
                str(feed["reconnects"]),
                Text(feed["gap"]["cause"] if feed["gap"] else "", style="yellow"),
            )
        return table


def _styled(line: Line) -> Text:
    return Text(str(line), style="red" if line.is_fault else "")


def _line(status: dict[str, Any]) -> str:
    """The same in one line."""
    feeds = status["feeds"].values()
    receiving = sum(feed["gap"] is None for feed in feeds)
    return (
        f"{sum(feed['messages'] for feed in feeds)} messages, {receiving} of {len(feeds)} channels receiving, "
        f"{sum(feed['rotations'] for feed in feeds)} rotations, durable up to position {status['durable_position']} "
        f"(99 % within {status['journal']['durable_ms_p99']:.0f} ms)"
    )
