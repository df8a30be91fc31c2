from __future__ import annotations

import logging

from recorder.log import Line


def line(level: int, event: str, **fields: object) -> str:
    record = logging.LogRecord("recorder", level, "", 0, event, (), None)
    record.fields = fields
    return Line().format(record)[13:]


def test_a_line_is_an_event_with_its_fields() -> None:
    assert line(logging.INFO, "connection.closed", feed="news", code=1001) == "connection.closed feed=news code=1001"


def test_a_warning_says_so() -> None:
    assert line(logging.WARNING, "gap.opened", feed="news") == "WARNING gap.opened feed=news"


def test_a_value_cannot_forge_a_second_line() -> None:
    assert line(logging.INFO, "x", error="one\ntwo") == "x error='one\\ntwo'"


def test_a_moment_is_shown_as_one() -> None:
    assert line(logging.INFO, "gap.opened", since_ns=1795358495037228467) == (
        "gap.opened since_ns=2026-11-22T14:41:35.037+00:00"
    )
