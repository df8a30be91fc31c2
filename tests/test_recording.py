from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

import recorder
from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.errors import RecorderError, RequestInvalid
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.seal import seal
from recorder.recording import Recording, When

START_NS = 1_795_291_200 * SECOND_NS  # 2026-11-21T20:00:00Z
QUOTES = Stream("prices", "finance_query.quotes")
NEWS = Stream("news", "finlight")


def message(n: int) -> Message:
    """One a second from 20:00:01 on; every tenth is news, every 25th the recorder's own."""
    at_ns = START_NS + n * SECOND_NS
    if n % 25 == 0:
        return Message(n, QUOTES, Kind.LIFECYCLE, Mark.NONE, at_ns, n, 0, b'{"event":"feed.note","detail":"x"}')
    if n % 10 == 0:
        text = b'{"action":"sendArticle","data":{"link":"https://a/%d","companies":[{"ticker":"AAPL"}]}}' % n
        return Message(n, NEWS, Kind.DATA, Mark.NONE, at_ns, n, 1, text)
    return Message(
        n, QUOTES, Kind.DATA, Mark.NONE, at_ns, n, 2, b'[{"symbol":"%s","price":"%d"}]' % (b"AM"[n % 2 :][:1], n)
    )


MESSAGES = [message(n) for n in range(1, 121)]
DATA = [m for m in MESSAGES if m.kind == Kind.DATA]


async def _made(data: Path) -> None:
    """120 messages through the real journal, 70 of them sealed."""
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    for m in MESSAGES:
        journal.append(m.stream, m.kind, m.connection, [m.payload], m.mark, Moment(m.received_ns, m.monotonic_ns))
        if m.position % 10 == 0:
            await journal.wait_durable(m.position)
    made = await asyncio.to_thread(seal, data, 1, 70)
    parts = [replace(part, registered_ns=1) for part in made.parts]
    await journal.call(lambda store: store.register(parts, 70, made.standing))
    await journal.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    asyncio.run(_made(folder))
    return folder


@pytest.fixture
def recording(data: Path) -> Recording:
    return recorder.open(data)


def test_importing_recorder_imports_nothing_heavy() -> None:
    heavy = "import sys, recorder; print({'pyarrow', 'duckdb', 'recorder.recording'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_data_comes_in_order_sealed_or_not(recording: Recording) -> None:
    assert list(recording.messages()) == DATA
    assert list(recording.messages(kinds=None)) == MESSAGES
    assert list(recording.messages(kinds="lifecycle")) == [m for m in MESSAGES if m.kind == Kind.LIFECYCLE]
    assert [n for b in recording.batches() for n in b["position"].to_pylist()] == [m.position for m in DATA]


def test_feeds_and_symbols_are_one_or_many(recording: Recording) -> None:
    news = [m for m in DATA if m.stream is NEWS]
    assert list(recording.messages(feeds="news")) == news
    assert list(recording.messages(feeds=["news", "prices"])) == DATA
    assert list(recording.messages(symbols={"aapl"})) == news
    of_m = [m for m in DATA if b'"symbol":"M"' in m.payload]
    assert list(recording.messages(symbols="M")) == of_m
    assert list(recording.messages(symbols=("AAPL", "M"))) == sorted([*news, *of_m], key=lambda m: m.position)
    assert recording.feeds == ["news", "prices"]


AT_30 = "2026-11-21T20:00:30Z"


@pytest.mark.parametrize(
    "moment",
    [
        AT_30,
        "2026-11-21 20:00:30",
        "2026-11-21T21:00:30+01:00",
        "2026-11-21T20:00:30.000000000Z",
        datetime(2026, 11, 21, 20, 0, 30, tzinfo=UTC),
        datetime(2026, 11, 21, 20, 0, 30),  # a naive one is UTC
        datetime(2026, 11, 21, 15, 0, 30, tzinfo=timezone(timedelta(hours=-5))),
        START_NS + 30 * SECOND_NS,
    ],
)
def test_any_way_to_say_a_moment_means_the_same(recording: Recording, moment: When) -> None:
    assert list(recording.messages(moment)) == [m for m in DATA if m.position >= 30]
    assert list(recording.messages(to=moment)) == [m for m in DATA if m.position < 30]  # up to it, not with it


def test_moments_are_exact_to_the_nanosecond(recording: Recording) -> None:
    a_ns_later = next(recording.messages("2026-11-21T20:00:31.000000001Z"))
    assert a_ns_later.position == 32
    assert next(recording.messages("2026-11-21T20:00:31.000000000Z")).position == 31


def test_a_date_is_its_midnight(recording: Recording) -> None:
    assert list(recording.messages(date(2026, 11, 21), date(2026, 11, 22))) == DATA
    assert list(recording.messages("2026-11-21", "2026-11-22")) == DATA


def test_ranges_that_join_hold_each_message_once(recording: Recording) -> None:
    cuts = [START_NS + n * SECOND_NS + off for n, off in ((0, 0), (9, 1), (70, 0), (71, -1), (119, 5), (121, 0))]
    found = [m for since, until in pairwise(cuts) for m in recording.messages(since, until)]
    assert found == DATA
    assert list(recording.messages(cuts[0], cuts[1], kinds=None)) == MESSAGES[:9]


def test_a_range_between_two_messages_is_empty(recording: Recording) -> None:
    assert list(recording.messages(START_NS + 5 * SECOND_NS + 1, START_NS + 6 * SECOND_NS)) == []


RECORDED = r"2026-11-21T20:00:01.000000000Z to 2026-11-21T20:02:00.000000000Z, positions 1 to 120"


@pytest.mark.parametrize(
    ("given", "parameter", "said"),
    [
        ({"from_": "yesterday"}, "from_", rf"from_ is 'yesterday', .*ISO 8601.*recorded is {RECORDED}"),
        ({"from_": 1_795_291_200}, "from_", r"from_ is '1795291200', .*nanoseconds since 1970"),
        ({"from_": 1.5e18}, "from_", "nanoseconds since 1970"),
        ({"from_": True}, "from_", "nanoseconds since 1970"),
        ({"from_": "2027-01-01"}, "from_", rf"from_ is '2027-01-01'.*recorded is {RECORDED}"),
        ({"to": "2026-11-21T20:00:01Z"}, "to", rf"to is .*later than from_; recorded is {RECORDED}"),
        ({"from_": AT_30, "to": AT_30}, "to", "later than from_"),
        ({"from_": AT_30, "to": "2026-11-21T20:00:10"}, "to", "later than from_"),
        ({"feeds": "prise"}, "feeds", "feeds is 'prise', .*recorded are news, prices"),
        ({"feeds": ["news", "x", "a"]}, "feeds", "feeds is 'a, x'"),
        ({"feeds": []}, "feeds", "None for all"),
        ({"feeds": [b"news"]}, "feeds", "None for all"),
        ({"kinds": ["data", "gaps"]}, "kinds", "kinds is 'gaps', .*data, reply, lifecycle"),
        ({"symbols": [""]}, "symbols", "None for all"),
        ({"symbols": "\ud800"}, "symbols", "None for all"),
    ],
)
def test_what_is_not_possible_is_said_at_once_with_what_is(
    recording: Recording, given: dict[str, Any], parameter: str, said: str
) -> None:
    ways: list[Callable[..., object]] = [recording.messages, recording.batches, recording.replay]
    for ask in ways:
        with pytest.raises(RequestInvalid, match=said) as caught:
            ask(**given)
        assert caught.value.parameter == parameter
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("speed", [0, -1, 1e9, float("nan"), "fast", None])
def test_a_speed_that_cannot_be_played_is_refused(recording: Recording, speed: Any) -> None:
    with pytest.raises(RequestInvalid, match=r"speed is .*0.01 to 1000000"):
        recording.replay(speed=speed)


def test_where_nothing_is_recorded_opening_fails(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="nothing is recorded"):
        recorder.open(tmp_path)


def test_a_recording_without_messages_yet_is_empty(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with recorder.open(tmp_path) as recording:
        assert recording.bounds is None
        assert list(recording.messages(AT_30, "2027-01-01")) == []
        assert recording.sql("SELECT count(*) FROM messages").fetchall() == [(0,)]
        with pytest.raises(RequestInvalid, match="recorded are none yet"):
            recording.messages(feeds="news")


def test_replay_at_max_is_the_same_messages(recording: Recording) -> None:
    assert list(recording.replay()) == DATA
    assert list(recording.replay(AT_30, speed="max", feeds="news")) == [
        m for m in DATA if m.stream is NEWS and m.position >= 30
    ]


def test_replay_gives_every_message_and_none_before_it_is_due(recording: Recording) -> None:
    began_ns = time.monotonic_ns()  # 119 seconds at 200 x
    played = [(m, time.monotonic_ns() - began_ns) for m in recording.replay(kinds=None, speed=200)]
    assert [m for m, _ in played] == MESSAGES
    assert all(after_ns * 200 >= m.received_ns - MESSAGES[0].received_ns for m, after_ns in played)


def test_a_replay_begins_with_its_first_message_whatever_lies_before(recording: Recording) -> None:
    first = next(recording.replay("2026-11-01", speed=0.01))  # 20 days before: nobody waits for these
    assert first.position == 1


def test_sql_sees_everything_durable_and_takes_values(recording: Recording) -> None:
    assert recording.sql("SELECT count(*), count(DISTINCT position) FROM messages").fetchall() == [(120, 120)]
    asked = recording.sql("SELECT position FROM messages WHERE feed = $feed ORDER BY 1", {"feed": "news"})
    assert [position for (position,) in asked.fetchall()] == [m.position for m in DATA if m.stream is NEWS]
    assert recording.sql("SELECT count(*) FROM articles WHERE list_contains(tickers, ?)", ["AAPL"]).fetchall() == [
        (sum(m.stream is NEWS for m in DATA),)
    ]


def test_relations_of_one_state_can_be_used_with_each_other(recording: Recording) -> None:
    quotes = recording.sql("SELECT position FROM quotes")
    articles = recording.sql("SELECT position FROM articles")
    assert quotes.union(articles).aggregate("count(*)").fetchall() == [(len(DATA),)]


def test_sql_shows_what_came_since_and_older_relations_go_on(tmp_path: Path) -> None:
    asyncio.run(_made(tmp_path))
    with recorder.open(tmp_path) as recording:
        before = recording.sql("SELECT count(*) FROM messages")
        asyncio.run(_appended(tmp_path, 5))
        assert recording.sql("SELECT count(*) FROM messages").fetchall() == [(125,)]
        assert before.fetchall() == [(120,)]
        assert recording.bounds is not None
        assert recording.bounds.last_position == 125


async def _appended(data: Path, count: int) -> None:
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    first = journal.append(QUOTES, Kind.DATA, 1, [b"[]"] * count, Mark.NONE, Clock().now())
    await journal.wait_durable(first + count - 1)
    await journal.close()


def test_a_name_in_sql_is_not_a_variable(recording: Recording) -> None:
    with pytest.raises(duckdb.CatalogException, match="statement"):
        recording.sql("SELECT * FROM statement")


def test_many_threads_may_read_one_recording(recording: Recording) -> None:
    found: list[bool] = []

    def read() -> None:
        found.extend(list(recording.messages()) == DATA and recording.bounds is not None for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


def test_a_recording_says_what_it_is(recording: Recording, data: Path) -> None:
    assert repr(recording) == f"<Recording {data}>"


def test_a_relative_path_means_where_it_was_opened(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    recording = recorder.open(data.name)
    monkeypatch.chdir(tmp_path)
    assert list(recording.messages()) == DATA
