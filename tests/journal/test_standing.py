from __future__ import annotations

from collections.abc import Sequence

import orjson

from recorder import lifecycle
from recorder.clock import Moment
from recorder.journal.group import Group, GroupBuilder, unpack
from recorder.journal.standing import Gap, Standing, StreamStanding
from recorder.message import Kind, Mark, Stream

QUOTES = Stream("quotes", "finance_query.quotes")
NEWS = Stream("news", "finlight")
OWN = Stream("recorder", "recorder")


def group(first: int, messages: Sequence[tuple[Stream, Kind, int, bytes]]) -> Group:
    """A group whose messages arrive at 10 times their position."""
    builder = GroupBuilder(first)
    for position, (stream, kind, connection, payload) in enumerate(messages, first):
        builder.add(stream, kind, connection, [payload], Mark.NONE, Moment(position * 10, position))
    return unpack(builder.pack(), first)


def entry(stream: Stream, event: str, **fields: object) -> tuple[Stream, Kind, int, bytes]:
    return stream, Kind.LIFECYCLE, 0, lifecycle.entry(event, **fields)


def test_nothing_recorded_is_nothing_left_running() -> None:
    assert Standing() == Standing(position=0, last_received_ns=0, stopped=True, streams={})


def test_frames_and_entries_are_told_apart() -> None:
    standing = Standing()
    standing.fold(
        group(
            1,
            [
                entry(OWN, "recorder.started", version="1", pid=1),
                (QUOTES, Kind.DATA, 3, b"[]"),
                (NEWS, Kind.REPLY, 5, b'{"action":"pong"}'),
                (QUOTES, Kind.LIFECYCLE, 4, lifecycle.entry("connection.opened", handshake_ms=1)),
            ],
        )
    )
    assert standing.streams == {
        OWN: StreamStanding(0, 0),
        QUOTES: StreamStanding(20, 4),
        NEWS: StreamStanding(30, 5),
    }
    assert (standing.position, standing.last_received_ns, standing.stopped) == (4, 40, False)


def test_a_gap_is_open_until_it_is_closed() -> None:
    standing = Standing()
    standing.fold(group(1, [entry(NEWS, "gap.opened", since_ns=7, cause="closed"), (QUOTES, Kind.DATA, 1, b"[]")]))
    assert standing.streams[NEWS].gap == Gap(7, "closed")
    assert standing.streams[QUOTES].gap is None
    standing.fold(group(3, [entry(NEWS, "gap.closed", since_ns=7, until_ns=9, cause="closed")]))
    assert standing.streams[NEWS].gap is None


def test_a_recorder_that_stopped_and_one_that_did_not() -> None:
    standing = Standing()
    standing.fold(group(1, [entry(OWN, "recorder.started"), entry(OWN, "recorder.stopped", cause="SIGTERM")]))
    assert standing.stopped
    standing.fold(group(3, [entry(OWN, "recorder.started")]))
    assert not standing.stopped


def test_losses_that_were_told_are_known() -> None:
    standing = Standing()
    standing.fold(group(1, [entry(OWN, "journal.lost", first_position=5, last_position=9, cause="x")]))
    assert standing.told == {(5, 9)}


def test_a_group_counts_once() -> None:
    standing = Standing()
    opened = group(1, [entry(NEWS, "gap.opened", since_ns=7, cause="closed")])
    standing.fold(opened)
    standing.fold(group(2, [entry(NEWS, "gap.closed", since_ns=7, until_ns=9, cause="closed")]))
    standing.fold(opened)
    assert standing.streams[NEWS].gap is None


def test_entries_of_another_version_change_nothing() -> None:
    for payload in (b"", b"{", b"[]", b'"x"', b"{}", b'{"event":"gap.opened"}', b'{"event":5,"since_ns":[]}'):
        standing = Standing()
        standing.fold(group(1, [(NEWS, Kind.LIFECYCLE, 0, payload)]))
        assert standing.streams == {NEWS: StreamStanding()}


def test_it_survives_json() -> None:
    standing = Standing()
    standing.fold(
        group(
            1,
            [
                (Stream("p", "finance_query.profile", "AAPL"), Kind.DATA, 2, b"{}"),
                entry(NEWS, "gap.opened", since_ns=7, cause="closed"),
                entry(OWN, "journal.lost", first_position=5, last_position=9, cause="x"),
            ],
        )
    )
    assert Standing.from_json(orjson.loads(orjson.dumps(standing.to_json()))) == standing


def test_what_came_over_no_connection_proves_none() -> None:
    standing = Standing()
    standing.fold(group(1, [(NEWS, Kind.DATA, 4, b"{}"), (NEWS, Kind.DATA, 0, b'{"link":"fetched"}')]))
    assert standing.streams[NEWS] == StreamStanding(10, 4)
    assert standing.last_received_ns == 20


def test_a_stream_is_removed_until_it_is_in_a_gap_again() -> None:
    standing = Standing()
    standing.fold(group(1, [entry(NEWS, "channel.removed", since_ns=5)]))
    assert standing.streams[NEWS].removed_ns == 5
    assert Standing.from_json(standing.to_json()) == standing
    standing.fold(group(2, [entry(NEWS, "gap.opened", since_ns=5, cause="removed")]))
    assert standing.streams[NEWS].removed_ns == 0
