from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder import log
from recorder.log import Json, Line
from recorder.message import Stream

NEWS, OWN = Stream("news", "finlight"), Stream("recorder", "recorder")


def record(level: int, event: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("recorder", level, "", 0, event, (), None)
    made.fields = fields
    return made


def line(level: int, event: str, **fields: object) -> str:
    return Line().format(record(level, event, **fields))[13:]


def test_a_line_is_an_event_with_its_fields() -> None:
    assert line(logging.INFO, "connection.closed", feed="news", code=1001) == "connection.closed feed=news code=1001"


def test_a_warning_says_so() -> None:
    assert line(logging.WARNING, "gap.opened", feed="news") == "WARNING gap.opened feed=news"


def test_a_value_cannot_forge_a_second_line() -> None:
    assert line(logging.INFO, "x", error="one\ntwo") == "x error='one\\ntwo'"
    assert "\n" not in Json().format(record(logging.INFO, "x", error="one\ntwo"))


def test_moments_durations_and_numbers_are_shown_as_people_read_them() -> None:
    assert line(logging.INFO, "gap.opened", since_ns=1795358495037228467) == "gap.opened since=2026-11-22T14:41:35.037Z"
    assert line(logging.INFO, "recorder.stalled", stalled_ns=1148346785) == "recorder.stalled stalled_s=1.148"
    assert line(logging.INFO, "connection.proven", after_ms=447.275616, retry_s=2.0) == (
        "connection.proven after_ms=447.276 retry_s=2"
    )


def test_what_says_nothing_is_not_shown_but_nought_is() -> None:
    assert line(logging.INFO, "x", added=[], again_ns=None, reason="", frames=0) == "x frames=0"


def test_for_the_journal_it_is_json_with_the_priority_before_it() -> None:
    said = Json().format(record(logging.WARNING, "gap.opened", feed="news", since_ns=17))
    assert said == '<4>{"event":"gap.opened","feed":"news","since_ns":17}'


def test_a_traceback_stays_within_its_line() -> None:
    made = record(logging.ERROR, "job.failed", job="seal")
    try:
        raise OSError("no room")
    except OSError:
        made.exc_info = sys.exc_info()
    said = Json().format(made)
    assert said.startswith('<3>{"event":"job.failed"')
    assert "\n" not in said
    assert "OSError: no room" in orjson.loads(said.removeprefix("<3>"))["traceback"]


SPEAK = """
import logging, recorder.log
recorder.log.start()
logging.getLogger("recorder").warning("serve.ended", extra={"fields": {"code": -9}})
"""


def spoken(file: Path, journal_stream: str) -> bytes:
    """What a process says on its stderr, which is this file."""
    with file.open("wb") as stderr:
        environ = os.environ | {"JOURNAL_STREAM": journal_stream}
        subprocess.run([sys.executable, "-c", SPEAK], stderr=stderr, env=environ, check=True)
    return file.read_bytes()


def test_json_is_for_the_journal_alone_whatever_the_environment_was_left_with(tmp_path: Path) -> None:
    """A shell within a unit has the variable too, and its stderr may be anything."""
    file = tmp_path / "stderr"
    file.touch()
    told = file.stat()
    assert spoken(file, f"{told.st_dev}:{told.st_ino}") == b'<4>{"event":"serve.ended","code":-9}\n'
    assert spoken(file, f"{told.st_dev}:{told.st_ino + 1}")[13:] == b"WARNING serve.ended code=-9\n"


@pytest.mark.parametrize(
    ("stream", "event", "fields", "level"),
    [
        (NEWS, "gap.opened", {"cause": "silent"}, logging.WARNING),
        (NEWS, "gap.closed", {"cause": "silent"}, logging.INFO),
        (NEWS, "gap.closed", {"cause": "stopped by SIGTERM"}, logging.INFO),
        (NEWS, "feed.odd", {"detail": "x"}, logging.WARNING),
        (OWN, "disk.full", {"reserve_bytes": 1}, logging.WARNING),
        (NEWS, "gap.opened", {"cause": "start"}, None),
        (NEWS, "gap.opened", {"cause": "stopped by SIGTERM"}, None),
        (NEWS, "gap.closed", {"cause": "start"}, None),
        (NEWS, "connection.dialled", {"url": "wss://u"}, None),
    ],
)
def test_of_its_own_entries_a_person_sees_what_may_matter(
    caplog: pytest.LogCaptureFixture, stream: Stream, event: str, fields: dict[str, Any], level: int | None
) -> None:
    with caplog.at_level(logging.DEBUG):
        log.entry(stream, 3, event, fields)
    assert [(each.getMessage(), each.levelno) for each in caplog.records] == ([(event, level)] if level else [])
    for each in caplog.records:
        assert vars(each)["fields"].get("feed") == ("news" if stream is NEWS else None)
