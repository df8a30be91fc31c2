from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import pytest

from recorder import lifecycle
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import seal as seal_module
from recorder.partitions.lookup import GapLeft, gaps_left, recorded
from recorder.partitions.seal import plan, seal

Append = Callable[[Path, Iterable[Message], int], None]

SECOND_NS = 10**9
START_NS = 1_795_291_140 * SECOND_NS  # 2026-11-21T19:59:00Z, so that an hour ends within a test
NEWS = Stream("news", "finlight")
OTHER = Stream("other", "finlight")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_module, "HOUR_PAUSE_S", 0.0)


def at(second: int) -> int:
    return START_NS + second * SECOND_NS


def article(link: str, revised: str | None = None) -> bytes:
    return orjson.dumps({"link": link, "title": "t"} | ({"revisedDate": revised} if revised else {}))


def frame(link: str, revised: str | None = None) -> bytes:
    return b'{"action":"sendArticle","data":%s}' % article(link, revised)


def seal_all(data: Path) -> None:
    store = Store.open(data)
    span = plan(data, 1 << 20, store.durable_position())
    assert span is not None
    sealed = seal(data, *span)
    store.register(sealed.parts, sealed.last_position, sealed.standing)
    store.forget_sealed()
    store.close()


@pytest.fixture(params=["unsealed", "sealed", "half"])
def record(request: pytest.FixtureRequest, journal: Append) -> Callable[..., None]:
    """Write messages of (stream, kind, mark, payload), one a second, and seal none, all or half of them."""

    def write(data: Path, rows: list[tuple[Stream, Kind, Mark, bytes]]) -> None:
        messages = [
            Message(1 + n, stream, kind, mark, at(n), n, 0 if mark is Mark.REST else 1, payload)
            for n, (stream, kind, mark, payload) in enumerate(rows)
        ]
        half = len(messages) // 2 if request.param == "half" else len(messages)
        journal(data, messages[:half], 3)
        if request.param != "unsealed":
            seal_all(data)
        if messages[half:]:
            journal(data, messages[half:], 3)

    return write


Record = Callable[[Path, list[tuple[Stream, Kind, Mark, bytes]]], None]


def test_versions_received_in_between_and_all_that_was_fetched_since_are_known(tmp_path: Path, record: Record) -> None:
    record(
        tmp_path,
        [
            (NEWS, Kind.DATA, Mark.NONE, frame("before")),
            (NEWS, Kind.DATA, Mark.NONE, frame("original")),
            (OTHER, Kind.DATA, Mark.NONE, frame("of another feed")),
            (NEWS, Kind.REPLY, Mark.NONE, b'{"action":"pong"}'),
            (NEWS, Kind.DATA, Mark.NONE, frame("original", "2026-11-21T19:00:00.123456789Z")),
            (NEWS, Kind.DATA, Mark.ODD, b"odd"),
            (NEWS, Kind.DATA, Mark.NONE, frame("after")),
            (NEWS, Kind.DATA, Mark.REST, article("fetched")),
        ],
    )
    revised_us = 1_795_287_600_123_456
    assert recorded(tmp_path, "news", at(1), at(5)) == {("original", None), ("original", revised_us), ("fetched", None)}


def closed(second: int, cause: str = "silent") -> bytes:
    return lifecycle.entry("gap.closed", since_ns=at(second), until_ns=at(second + 1), cause=cause)


def repaired(second: int, recovered: int, again_ns: int | None) -> bytes:
    return lifecycle.entry(
        "gap.repaired", since_ns=at(second), until_ns=at(second + 1), recovered=recovered, again_ns=again_ns
    )


def test_gaps_wait_until_an_entry_says_that_nobody_comes_again(tmp_path: Path, record: Record) -> None:
    entries = [
        (NEWS, closed(-9)),
        (NEWS, closed(-8)),
        (NEWS, closed(-7, "start")),
        (OTHER, closed(-6)),
        (NEWS, closed(-5)),
        (NEWS, repaired(-8, 3, at(600))),
        (NEWS, repaired(-5, 1, at(600))),
        (NEWS, repaired(-8, 2, at(900))),
        (NEWS, repaired(-5, 1, None)),
        (Stream("news", "finlight.raw"), closed(-4)),
    ]
    record(tmp_path, [(stream, Kind.LIFECYCLE, Mark.NONE, entry) for stream, entry in entries])
    assert gaps_left(tmp_path, {"news": "finlight"}, at(0), ("start",)) == [
        GapLeft("news", at(-9), at(-8)),
        GapLeft("news", at(-8), at(-7), recovered=5, again_ns=at(900)),
    ]


def test_a_recording_without_any_of_it_has_nothing(tmp_path: Path, record: Record) -> None:
    record(tmp_path, 2 * [(NEWS, Kind.REPLY, Mark.NONE, b'{"action":"pong"}')])
    assert recorded(tmp_path, "news", 0, at(100)) == set()
    assert gaps_left(tmp_path, {"news": "finlight"}, 0, ()) == []
