"""A player's picture, drawn anew some times a second. Pure: from what is shown to what rich draws."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from recorder.clock import SECOND_NS
from recorder.player.keys import HELP
from recorder.player.shown import Line, Shown
from recorder.replay.moments import iso
from recorder.replay.playhead import MAX

STATUSES = {
    "playing": ("▶ playing", "bold green"),
    "live": ("● live", "bold red"),
    "paused": ("⏸ paused", "bold yellow"),
    "buffering": ("… buffering", "bold cyan"),
    "ended": ("■ ended", "bold"),
}
KINDS = {"reply": "cyan", "lifecycle": "dim", "gap": "yellow"}
FOOTER = "space pause  ←→ 10 s  +- speed  n step  0 start  ? help  q quit"
FEED_WIDTH_MAX = 20
FRAME_LINES = 5  # around the messages


def picture(shown: Shown, now_ns: int, utc_ns: int, *, height: int, title: str, helping: bool) -> RenderableType:
    """All of it, for a terminal with so many lines."""
    room = max(1, height - FRAME_LINES)
    said = shown.said(now_ns)
    below = _one_line(Text(said, style="bold yellow")) if said else _one_line(Text(FOOTER, style="dim"))
    middle = _help(room) if helping else _messages(shown.lines(room), room, shown.feed_width)
    return Group(
        _head(shown, now_ns, title), _bar(shown, now_ns, utc_ns), _figures(shown, now_ns), Text(), middle, below
    )


def _head(shown: Shown, now_ns: int, title: str) -> Table:
    word, style = STATUSES.get(shown.status, (shown.status, ""))
    moment_ns = shown.moment_ns(now_ns)
    line = Table.grid(expand=True)
    line.add_column(width=13, no_wrap=True)
    line.add_column(width=27, no_wrap=True)
    line.add_column(min_width=12, no_wrap=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis", justify="right", style="dim")
    if name := shown.state.get("session"):
        title = f"session {name}, {shown.state.get('listeners')} listening"
    when = "" if moment_ns is None else iso(moment_ns)[:22].replace("T", "  ") + " UTC"
    line.add_row(Text(word, style=style), Text(when, style="bold"), f"  #{shown.position:,}", title)
    return line


def _bar(shown: Shown, now_ns: int, utc_ns: int) -> RenderableType:
    share = shown.share(now_ns, utc_ns)
    if share is None:
        return Text()
    line = Table.grid(expand=True, padding=(0, 1, 0, 0))
    line.add_column(ratio=1)
    line.add_column(justify="right", no_wrap=True)
    of = shown.range
    left = f"{100 * share:.1f} %"
    if of.begin_ns is not None and (end_ns := utc_ns if of.grows else of.end_ns) is not None:
        played_ns = int(share * (end_ns - of.begin_ns))
        left = f"{_span(played_ns)} of {_span(end_ns - of.begin_ns)}"
    line.add_row(ProgressBar(1.0, share, complete_style="green", finished_style="green"), left)
    return line


def _figures(shown: Shown, now_ns: int) -> Text:
    state = shown.state
    parts = [f"speed {_speed(shown.speed)}"]
    if (
        shown.status in ("playing", "buffering")
        and (reached := state.get("speed_reached"))
        and "request_id" not in state
    ):
        parts[0] += f", reached {_speed(reached)}"
    if late := state.get("lateness_ms"):
        parts.append(f"late {_ms(late['p50'])}, 99 % {_ms(late['p99'])}")
    parts.append(f"{_number(shown.rate(now_ns))} messages/s")
    parts.append(f"{shown.messages:,} so far")
    if state.get("loops"):
        parts.append(f"turn {state['loops'] + 1}")
    return _one_line(Text("  ·  ".join(parts)))


def _messages(lines: list[Line], room: int, feed_width: int) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(no_wrap=True, style="dim", width=12)
    table.add_column(no_wrap=True, overflow="ellipsis", width=min(FEED_WIDTH_MAX, feed_width))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for line in lines:
        text = line.text if line.kind in ("data", "gap") else f"[{line.kind}] {line.text}"
        table.add_row(line.time, Text(line.feed, style="blue"), Text(text, style=KINDS.get(line.kind, "")))
    for _ in range(room - len(lines)):
        table.add_row("", "", "")
    return table


def _help(room: int) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold", width=12)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for key, words in HELP[:room]:
        table.add_row(key, words)
    for _ in range(room - len(HELP)):
        table.add_row("", "")
    return table


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _speed(speed: float) -> str:
    return "max" if speed == MAX else f"{_number(speed)}x"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if value < 10 else f"{value:,.0f} ms"


def _span(ns: int) -> str:
    """`1:02:03`, with days before it if there are any."""
    seconds = ns // SECOND_NS
    days, seconds = divmod(seconds, 86_400)
    clock = f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return f"{days} d {clock}" if days else clock
