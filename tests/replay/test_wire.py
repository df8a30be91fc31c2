"""What clients may say, and that nothing they say raises anything but a refusal that can be said back."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recorder.clock import MS_NS, SECOND_NS
from recorder.errors import RequestInvalid
from recorder.message import Kind
from recorder.replay import answers
from recorder.replay.moments import INT64_MAX, Point, iso
from recorder.replay.playhead import MAX
from recorder.replay.wire import Operation, Options, parse_operation, parse_query

NOON_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z


def test_nothing_asked_for_is_all_data_from_the_start_as_it_was() -> None:
    assert parse_query({}) == Options()
    assert Options().speed == 1
    assert Options().kinds == {Kind.DATA}


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-01-31T12:00:00", NOON_NS),
        ("2026-01-31 12:00", NOON_NS),
        ("2026-01-31T12:00:00Z", NOON_NS),
        ("2026-01-31T13:00:00+01:00", NOON_NS),
        ("2026-01-31T13:00:00 01:00", NOON_NS),  # a + in a query arrives as a blank
        ("2026-01-31T06:30:00-0530", NOON_NS),
        ("2026-01-31T12:00:00.5", NOON_NS + 500 * MS_NS),
        ("2026-01-31T12:00:00.123456789Z", NOON_NS + 123_456_789),
        ("2026-01-31", NOON_NS - 12 * 3600 * SECOND_NS),
        ("1769860800", NOON_NS),
        ("1769860800.25", NOON_NS + 250 * MS_NS),
        ("1769860800000", NOON_NS),
        ("1769860800000000", NOON_NS),
        ("1769860800000000007", NOON_NS + 7),
    ],
)
def test_moments_are_taken_as_people_write_them(text: str, ns: int) -> None:
    assert parse_query({"from": text}).from_ == Point(ns=ns)


@given(st.integers(0, INT64_MAX))
def test_a_moment_as_it_is_told_is_taken_back(ns: int) -> None:
    assert parse_query({"from": iso(ns)}).from_ == Point(ns=ns)


@pytest.mark.parametrize(
    "text", ["", "@", "@-1", "@1.5", "2026-02-30", "2026-01-31T25:00", "-5", "٣", "1e9", "@" + "9" * 19]
)
def test_what_is_no_place_on_the_timeline_is_refused(text: str) -> None:
    with pytest.raises(RequestInvalid, match="epoch in s, ms or ns"):
        parse_query({"from": text})


def test_every_parameter_is_understood() -> None:
    given = {
        "from": "@7",
        "to": "1769860800",
        "feeds": "a,b",
        "kinds": "data,reply",
        "symbols": "AAPL",
        "speed": "max",
        "max_idle": "1.5m",
        "loop": "true",
        "paused": "1",
        "format": "arrow",
        "session": "demo-1",
        "on_gap": "stop",
        "token": "not ours to read",
    }
    assert parse_query(given) == Options(
        Point(position=7),
        Point(ns=NOON_NS),
        frozenset({"a", "b"}),
        frozenset({Kind.DATA, Kind.REPLY}),
        frozenset({"AAPL"}),
        MAX,
        90 * SECOND_NS,
        loop=True,
        paused=True,
        format="arrow",
        session="demo-1",
        on_gap="stop",
    )


@pytest.mark.parametrize(
    ("text", "operation"),
    [
        ('{"op":"pause"}', Operation("pause")),
        ('{"op":"resume","request_id":7}', Operation("resume", 7)),
        ('{"op":"seek","to":"@5"}', Operation("seek", to=Point(position=5))),
        ('{"op":"seek","to":1769860800}', Operation("seek", to=Point(ns=NOON_NS))),
        ('{"op":"seek","to":"live"}', Operation("seek", to=Point(live=True))),
        ('{"op":"seek","by":-10}', Operation("seek", by_ns=-10 * SECOND_NS)),
        ('{"op":"speed","speed":"max"}', Operation("speed", speed=MAX)),
        ('{"op":"speed","speed":60}', Operation("speed", speed=60)),
        ('{"op":"step"}', Operation("step", messages=1)),
        ('{"op":"step","messages":5}', Operation("step", messages=5)),
        ('{"op":"step","duration":"10s"}', Operation("step", duration_ns=10 * SECOND_NS)),
        ('{"op":"stop"}', Operation("stop")),
        ('{"op":"state","request_id":"a"}', Operation("state", "a")),
    ],
)
def test_operations_are_understood(text: str, operation: Operation) -> None:
    assert parse_operation(text) == operation


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ('{"op":"seek"}', "seek"),
        ('{"op":"seek","to":"@1","by":1}', "seek"),
        ('{"op":"seek","too":"@1"}', "too"),
        ('{"op":"step","messages":true}', "messages"),
        ('{"op":"step","messages":1e3}', "messages"),
        ('{"op":"speed","speed":true}', "speed"),
        ('{"op":"speed","speed":1e999}', "operation"),
        ('{"op":"pause","request_id":{}}', "request_id"),
        ('{"op":["pause"]}', "op"),
        ("[]", "operation"),
    ],
)
def test_what_is_no_operation_is_refused_by_the_name_of_what_is_wrong(text: str, parameter: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_operation(text)
    assert refused.value.parameter == parameter


def test_a_refusal_carries_the_id_of_its_request() -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse_operation('{"op":"speed","speed":0,"request_id":"x"}')
    assert orjson.loads(answers.error_text(refused.value))["error"]["request_id"] == "x"


# --- fuzzed: 3,000 inputs a run, and 10,000 more in test_hostile.py -------------------------------------------------

PARAMETERS = ["from", "to", "feeds", "kinds", "symbols", "speed", "max_idle", "loop", "paused", "format", "session"]
TEXTS = st.one_of(
    st.text(),
    st.from_regex(r"[0-9@.TZ:+ -]{1,40}", fullmatch=True),
    st.sampled_from(["nan", "inf", "-0", "1e400", "9" * 5000, "²", "@" + "9" * 50, "1_000", "0x10", "live", "max"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["op", "request_id", "to", "by", "speed", "messages", "duration"]
OPS = ["pause", "resume", "seek", "speed", "step", "stop", "state"]


def answered(refused: RequestInvalid) -> None:
    error = orjson.loads(answers.error_text(refused))["error"]
    assert error["possible"]
    assert len(error["given"]) <= 101


@settings(max_examples=1_000)
@given(st.dictionaries(st.sampled_from([*PARAMETERS, "on_gap"]) | st.text(), TEXTS, max_size=5))
def test_any_query_is_options_or_a_refusal(query: dict[str, str]) -> None:
    try:
        options = parse_query(query)
    except RequestInvalid as refused:
        answered(refused)
    else:
        assert 0.01 <= options.speed <= 1e6 or options.speed == MAX


@settings(max_examples=1_000)
@given(st.text() | st.binary() | st.from_regex(r'[\[\]{}":,opsekt0-9]{1,50}', fullmatch=True))
@example("[" * 1_000_000)
@example('{"op":' * 500 + "1" + "}" * 500)
@example('{"op":"seek","to":' + "[" * 900 + "]" * 900 + "}")
@example('{"op":"\\ud800"}')
@example('{"request_id":"\\ud800"}')
@example('{"op":"seek","to":' + "9" * 400 + "}")
def test_any_frame_is_an_operation_or_a_refusal(frame: str | bytes) -> None:
    try:
        parse_operation(frame)
    except RequestInvalid as refused:
        answered(refused)


@settings(max_examples=1_000)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), st.sampled_from(OPS))
def test_any_object_is_an_operation_or_a_refusal(fields: dict[str, Any], op: str) -> None:
    try:
        operation = parse_operation(json.dumps({"op": op, **fields}))
    except RequestInvalid as refused:
        answered(refused)
    else:
        assert operation.speed is None or math.isfinite(operation.speed) or operation.speed == MAX
