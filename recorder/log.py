"""Logs: few events with dotted names and fields, one line each on stderr: for a person, or JSON for systemd's journal.

In: `log.info("serve.ended", extra={"fields": {"code": -9}})`, and the recorder's own entries as they are journalled.
Out: `14:03:07.123 WARNING serve.ended code=-9`; or, where stderr is the journal of systemd,
`<4>{"event":"serve.ended","code":-9}` with the priority that `journalctl -p` selects by. Nothing here is durable: what
happened to connections and gaps is in the recording, and the log shows the part that a person may want to see.
docs/monitoring.md has the table of all events.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from recorder import lifecycle
from recorder.clock import SECOND_NS
from recorder.message import Stream

log = logging.getLogger(__name__)

YEAR_2000_NS = 946_684_800 * SECOND_NS  # above it a number of nanoseconds is a moment, not a duration
PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}  # syslog's
COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}
PLAIN = "\x1b[0m"
WARNINGS = (
    "gap.opened",
    "rotation.failed",
    "connection.refused",
    "connection.failed",
    "feed.",
    "journal.",
    "clock.",
    "recorder.stalled",
    "disk.full",
)
# Each is followed by what became of it: proven, refused, failed or closed.
UNTOLD = ("connection.dialled", "connection.opened")
# Gaps that belong to every life of a recorder: before the first proof of life, and from an orderly end on.
EXPECTED = ("start", "stopped", "removed")


class Line(logging.Formatter):
    """`14:03:07.123 connection.closed feed=news code=1001`, UTC."""

    def __init__(self, *, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        fields: Mapping[str, object] = getattr(record, "fields", {})
        words = [f"{time.strftime('%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}"]
        if record.levelno >= logging.WARNING:
            colour = COLOURS.get(record.levelno, "") if self._coloured else ""
            words.append(f"{colour}{record.levelname}{PLAIN}" if colour else record.levelname)
        words.append(record.getMessage())
        words += [_plain(name, value) for name, value in fields.items() if value not in (None, "", [])]
        if record.exc_info:
            words.append("\n" + self.formatException(record.exc_info))
        return " ".join(words)


class Json(logging.Formatter):
    """One JSON object after a priority in angle brackets, which systemd takes off. Fields as they are recorded."""

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {"event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return f"<{PRIORITIES.get(record.levelno, 6)}>{orjson.dumps(told, default=str).decode()}"


def _plain(name: str, value: object) -> str:
    if name.endswith("_ns") and isinstance(value, int):
        name = name.removesuffix("_ns")
        if value < YEAR_2000_NS:
            return f"{name}_s={value / SECOND_NS:.3f}"
        return f"{name}={datetime.fromtimestamp(value / SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    text = f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f"{name}={repr(text) if any(c.isspace() or not c.isprintable() for c in text) else text}"


def entry(stream: Stream, connection: int, event: str, fields: Mapping[str, Any]) -> None:
    """Tell of an entry of the recorder's own, if a person may want to see it."""
    expected = event in ("gap.opened", "gap.closed") and fields["cause"].startswith(EXPECTED)
    if event in UNTOLD or (expected and (event == "gap.opened" or fields["cause"] == "start")):
        return
    level = logging.WARNING if event.startswith(WARNINGS) else logging.INFO
    feed = "" if stream.feed == lifecycle.RECORDER_FEED else stream.feed
    where = {"feed": feed, "channel": stream.channel, "connection": connection}
    log.log(level, event, extra={"fields": {**{name: value for name, value in where.items() if value}, **fields}})


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd reads this stream, as systemd.exec(5) says: $JOURNAL_STREAM has its device and inode."""
    try:
        told = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{told.st_dev}:{told.st_ino}"


def start(level: int = logging.INFO) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    handler.setFormatter(Json() if is_journal(sys.stderr, os.environ) else Line(coloured=coloured))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a slow run skips the next one, the table shows
    for noisy in ("asyncio", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
