"""Logs: few, dotted names with fields. A sentence only at start and stop.

In: `log.info("connection.closed", extra={"fields": {"feed": "news", "code": 1001}})`. Out: one line on stderr.
"""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime

from recorder.clock import SECOND_NS

YEAR_2000_NS = 946_684_800 * SECOND_NS  # above it a number of nanoseconds is a moment, not a duration


class Line(logging.Formatter):
    """`14:03:07.123 connection.closed feed=news code=1001`, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = getattr(record, "fields", {})
        words = [f"{moment}.{int(record.msecs):03d}"]
        if record.levelno >= logging.WARNING:
            words.append(record.levelname)
        words.append(record.getMessage())
        words += [f"{name}={_plain(name, value)}" for name, value in fields.items()]
        if record.exc_info:
            words.append("\n" + self.formatException(record.exc_info))
        return " ".join(words)


def _plain(name: str, value: object) -> str:
    if name.endswith("_ns") and isinstance(value, int) and value > YEAR_2000_NS:
        return datetime.fromtimestamp(value / SECOND_NS, UTC).isoformat(timespec="milliseconds")
    text = str(value)
    return repr(text) if not text or any(c.isspace() or not c.isprintable() for c in text) else text


def start(level: int = logging.INFO) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("apscheduler").setLevel(logging.ERROR)  # that a slow run skips the next one, the table shows
    for noisy in ("asyncio", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
