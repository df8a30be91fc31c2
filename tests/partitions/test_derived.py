from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import orjson

from recorder import lifecycle
from recorder.clock import SECOND_NS
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.catalog import connect

Append = Callable[[Path, Iterable[Message], int], None]

NOON_NS = 1_795_262_400 * SECOND_NS  # 2026-11-21T12:00:00Z
NEWS, HOURS = Stream("news", "finlight"), Stream("hours", "finance_query.hours")


def entry(position: int, event: str, **fields: object) -> Message:
    at_ns = NOON_NS + position * SECOND_NS
    return Message(position, NEWS, Kind.LIFECYCLE, Mark.NONE, at_ns, 0, 0, lifecycle.entry(event, **fields))


def test_rotations_are_one_row_each_whatever_became_of_them(tmp_path: Path, journal: Append) -> None:
    tally = {"proof": "overlap", "both": 5, "only_old": 0, "only_new": 1, "variants": 0, "overlap_ms": 1500.0}
    messages = [
        entry(1, "rotation.started", old=1, new=2, cause="age"),
        entry(2, "rotation.failed", old=1, new=2, cause="refused"),
        entry(3, "rotation.started", old=1, new=3, cause="age"),
        entry(4, "rotation.done", old=1, new=3, cause="age", **tally),
        entry(5, "rotation.started", old=3, new=4, cause="reload"),
    ]
    journal(tmp_path, messages, 2)
    rows = connect(tmp_path).sql(
        "SELECT old, new, outcome, cause, epoch(ended_at) - epoch(started_at), proof, on_both, only_new, overlap_ms"
        " FROM rotations ORDER BY started_at"
    )
    assert rows.fetchall() == [
        (1, 2, "failed", "refused", 1.0, None, None, None, None),
        (1, 3, "done", "age", 1.0, "overlap", 5, 1, 1500.0),
        (3, 4, "started", "reload", None, None, None, None, None),
    ]


def test_lateness_is_of_what_was_sent_when_it_happened(tmp_path: Path, journal: Append) -> None:
    article = {
        "link": "u",
        "publishDate": "2026-11-21T11:59:00Z",
        "createdAt": "2026-11-21T11:59:58.5Z",
        "revisedDate": "2026-11-21T12:00:01Z",
    }
    sent = {"action": "sendArticle", "data": article}
    revised = {"action": "sendArticle", "data": article | {"isUpdate": True}}
    clock = {"status": "Open", "reason": "r", "timestamp": "2026-11-21T12:00:04.250000+00:00"}
    came = [
        (NEWS, sent, Mark.INITIAL),
        (NEWS, sent, Mark.NONE),
        (NEWS, revised, Mark.NONE),
        (NEWS, article, Mark.REST),
        (HOURS, clock, Mark.NONE),
    ]
    messages = [
        Message(n, stream, Kind.DATA, mark, NOON_NS + n * SECOND_NS, 0, 1, orjson.dumps(frame))
        for n, (stream, frame, mark) in enumerate(came, 1)
    ]
    journal(tmp_path, messages, 5)
    rows = connect(tmp_path).sql("SELECT feed, position, moment, stated_at, late_s FROM lateness ORDER BY ALL")
    assert rows.fetchall() == [
        ("hours", 5, "clock", datetime(2026, 11, 21, 12, 0, 4, 250000), 0.75),
        ("news", 2, "indexed", datetime(2026, 11, 21, 11, 59, 58, 500000), 3.5),
        ("news", 2, "published", datetime(2026, 11, 21, 11, 59), 62.0),
        ("news", 3, "revised", datetime(2026, 11, 21, 12, 0, 1), 2.0),
    ]
