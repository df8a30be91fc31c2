from __future__ import annotations

from typing import Any

import orjson
import pytest

from recorder.clock import SECOND_NS
from recorder.player.shown import LINES_MAX, Range, Shown
from recorder.replay.moments import iso
from recorder.replay.playhead import MAX
from recorder.replay.wire import parse_query

NOON_NS = 1_769_860_800 * SECOND_NS
S = SECOND_NS
RECORDED = {
    "first_position": 1,
    "last_position": 100,
    "first_received_ns": NOON_NS,
    "last_received_ns": NOON_NS + 100 * S,
}


def message(position: int, after_s: float, text: str = "x") -> bytes:
    told = {"position": position, "received_at": iso(NOON_NS + int(after_s * S)), "feed": "news", "kind": "data"}
    return orjson.dumps({**told, "channel": "", "connection": 1, "mark": None, "data": text})


def state(**other: Any) -> bytes:
    told = {"status": "playing", "moment": iso(NOON_NS), "position": 0, "speed": 1.0, "speed_reached": 1.0}
    return orjson.dumps({"state": {**told, "lateness_ms": None, "session": None, "listeners": 1, "loops": 0, **other}})


def shown(query: str = "", *, running: bool = False) -> Shown:
    asked = dict(pair.split("=") for pair in query.split("&") if pair)
    return Shown(asked.get("from", "start"), Range.of(parse_query(asked), RECORDED, running=running), 0)


def test_time_goes_on_between_two_states_and_no_further_than_it_may() -> None:
    it = shown()
    assert it.moment_ns(0) is None
    it.take(state(speed=10.0), 0)
    assert it.moment_ns(S // 2) == NOON_NS + 5 * S
    assert it.moment_ns(60 * S) == NOON_NS + 20 * S  # nothing was heard for long
    it.take(state(status="paused", moment=iso(NOON_NS + 7 * S)), 61 * S)
    assert it.moment_ns(62 * S) == NOON_NS + 7 * S


def test_messages_say_where_it_is_at_full_speed() -> None:
    it = shown()
    it.take(state(speed="max", status="buffering"), 0)
    it.take(message(7, 30), 1)
    assert (it.position, it.moment_ns(2), it.status) == (7, NOON_NS + 30 * S, "playing")
    it.take(state(speed="max", position=9, moment=iso(NOON_NS + 40 * S)), 3)
    assert (it.position, it.moment_ns(4)) == (9, NOON_NS + 40 * S)


def test_the_last_lines_are_kept_and_no_more() -> None:
    it = shown()
    for position in range(1, 1001):
        it.take(message(position, position, f"text {position}"), position)
    assert [line.text for line in it.lines(2)] == ['"text 999"', '"text 1000"']
    assert len(it.lines(5000)) == LINES_MAX
    assert it.messages == 1000


def test_gaps_stand_among_the_messages() -> None:
    it = shown()
    it.take(message(1, 1), 0)
    gap = {"feed": "news", "channel": "", "since": iso(NOON_NS), "until": None, "cause": "silence", "position": 2}
    it.take(orjson.dumps({"gap": gap}), 0)
    assert [(line.kind, line.text) for line in it.lines(5)] == [("data", '"x"'), ("gap", "gap begins: silence")]


def test_keys_build_on_each_other_before_the_server_has_answered() -> None:
    it = shown()
    it.take(state(), 0)
    first = orjson.loads(it.asking({"op": "speed", "speed": 2.0}))
    it.asking({"op": "pause"})
    second = orjson.loads(it.asking({"op": "speed", "speed": "max"}))
    assert (it.speed, it.paused, it.status) == (MAX, True, "paused")
    it.take(state(speed=2.0, request_id=first["request_id"]), 1)
    assert (it.speed, it.paused) == (MAX, True)
    it.take(state(speed="max", status="paused", request_id=second["request_id"]), 2)
    assert (it.speed, it.paused) == (MAX, True)
    it.take(state(speed=5.0), 3)  # somebody else in the session
    assert (it.speed, it.paused) == (5.0, False)


def test_what_is_refused_is_said_for_a_while_and_what_was_asked_is_forgotten() -> None:
    it = shown()
    it.take(state(), 0)
    asked = orjson.loads(it.asking({"op": "speed", "speed": 2.0}))
    error = {"message": "no\x1b[2J", "request_id": asked["request_id"]}
    it.take(orjson.dumps({"error": error}), 1)
    assert (it.speed, it.said(S)) == (1.0, "no [2J")
    it.take(message(1, 1), 9 * S)
    assert it.said(10 * S) == ""
    assert "for 5 s" in it.said(14 * S)


@pytest.mark.parametrize(
    ("query", "moment_s", "position", "share"),
    [
        ("", 50, 50, 0.5),
        (f"from={NOON_NS + 20 * S}", 60, 60, 0.5),
        (f"to={NOON_NS + 10 * S}", 5, 5, 0.5),
        ("from=@11&to=@32", 5, 21, 0.5),
        ("from=@51", 75, 75, 0.5),  # from where it begins, as the first state tells
        ("from=live", 75, 75, None),
        ("", 200, 100, 1.0),
    ],
)
def test_the_bar_says_how_much_of_what_was_asked_for_is_played(
    query: str, moment_s: int, position: int, share: float | None
) -> None:
    it = shown(query)
    it.take(state(moment=iso(NOON_NS + 50 * S) if "@51" in query else iso(NOON_NS)), 0)
    it.take(state(moment=iso(NOON_NS + moment_s * S), position=position), 0)
    assert it.share(0, 0) == (share if share is None else pytest.approx(share, abs=0.02))


def test_what_is_being_recorded_ends_now() -> None:
    it = shown(running=True)
    it.take(state(moment=iso(NOON_NS + 100 * S)), 0)
    assert it.share(0, NOON_NS + 400 * S) == pytest.approx(0.25)


def test_at_the_end_one_can_go_back() -> None:
    it = shown("from=@5")
    it.take(state(status="ended", moment=iso(NOON_NS + 100 * S)), 0)
    it.take(b'{"end":{"cause":"all was played","sent":{},"digest":"x"}}', 0)
    assert it.again("0") == "@5"
    assert it.again("left") == iso(NOON_NS + 90 * S)
    assert it.again("n") is None
    assert it.said(0).startswith("all was played")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    it = shown()
    for second in range(10):
        assert it.rate(second * S) == pytest.approx(0 if second == 0 else 5)
        for position in range(5):
            it.take(message(position + 1, second), second * S)
    for second in range(10, 20):
        rate = it.rate(second * S)
    assert rate == 0
