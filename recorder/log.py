"""Logs: few, dotted names with fields. A sentence only at start and stop.

In: `log.info("connection.closed", extra={"fields": {"feed": "news", "code": 1001}})`. Out: one line on stderr.
"""

from __future__ import annotations

import logging
import sys
import time


class Line(logging.Formatter):
    """`14:03:07.123 connection.closed feed=news code=1001`, UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, object] = getattr(record, "fields", {})
        words = [f"{moment}.{int(record.msecs):03d}"]
        if record.levelno >= logging.WARNING:
            words.append(record.levelname)
        words.append(record.getMessage())
        words += [f"{name}={_plain(value)}" for name, value in fields.items()]
        if record.exc_info:
            words.append("\n" + self.formatException(record.exc_info))
        return " ".join(words)


def _plain(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() or not c.isprintable() for c in text) else text


def start(level: int = logging.INFO) -> None:
    """Log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("apscheduler", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
