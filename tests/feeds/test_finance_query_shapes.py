"""Which frames are of which endpoint, on frames of the real server and on everything else."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.feeds.feed import Frame
from recorder.feeds.finance_query_shapes import (
    HOURS,
    MARKET,
    PROFILE,
    QUOTES,
    ConnectLimit,
    Shape,
    connect_limit,
    without_metadata,
)

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
SHAPES = {"quotes": QUOTES, "profile": PROFILE, "market": MARKET, "hours": HOURS}
SAMPLES = sorted(FRAMES.glob("*.json"))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["symbol", "quote", "actives", "status", "metadata", "x"]), inner, max_size=3)
    ),
)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_every_real_frame_is_of_its_own_endpoint_and_of_no_other(path: Path) -> None:
    frame = Frame(path.read_bytes())
    assert [name for name, shape in SHAPES.items() if shape.holds(frame)] == [path.name.split(".")[0]]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_first_bytes_alone_tell_a_real_frame_without_metadata(path: Path) -> None:
    frame = Frame(without_metadata(path.read_bytes()))
    usual = [name for name, shape in SHAPES.items() if shape.are_usual([frame])]
    assert usual == ([] if "all-failed" in path.name else [path.name.split(".")[0]])


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (QUOTES, "[]"),  # no symbol known
        (QUOTES, '[{"metadata":{"rate_limit":4,"remaining_requests":3,"reset":9}}]'),
        (QUOTES, '[{"name":"Apple Inc.","symbol":"AAPL"}]'),
        (QUOTES, ' [ {"symbol": "AAPL"} ] '),
        (PROFILE, '{"quote":null,"similar":[],"sectorPerformance":null,"news":[]}'),
        (PROFILE, '{"news":[],"quote":{}}'),
        (MARKET, '{"actives":[],"gainers":[],"losers":[],"indices":[],"headlines":[],"sectors":[]}'),
        (HOURS, '{"reason":"Weekend","status":"Closed"}'),
    ],
)
def test_unusual_spelling_of_the_right_shape_is_right(shape: Shape, text: str) -> None:
    assert shape.holds(Frame(text.encode()))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "payload",
    [
        b'{"injected":true}',
        b"not json",
        b"",
        b"null",
        b"3",
        b'"symbol"',
        b'["symbol"]',
        b'{"message":"Internal server error"}',
        b"\xff\xfe\x00",
        b"[" * 5000,
    ],
)
def test_anything_else_is_odd(shape: Shape, payload: bytes) -> None:
    assert not shape.holds(Frame(payload))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_binary_frame_is_odd_whatever_it_holds(path: Path) -> None:
    frame = Frame(path.read_bytes(), is_text=False)
    assert not any(shape.holds(frame) or shape.are_usual([frame]) for shape in SHAPES.values())


def test_bare_nan_in_the_only_endpoint_with_floats_is_odd() -> None:
    whole = (FRAMES / "market.3.values-from-docs.json").read_bytes()
    at = whole.index(b'"value":') + len(b'"value":')
    broken = whole[:at] + b"NaN" + whole[whole.index(b",", at) :]
    assert MARKET.holds(Frame(whole))
    assert not MARKET.holds(Frame(broken))
    assert not MARKET.are_usual([Frame(broken)])


def test_nan_inside_a_text_is_no_number() -> None:
    assert MARKET.holds(Frame(b'{"actives":[],"headlines":[{"title":"why:NaN"}]}'))


@pytest.mark.parametrize("name", ["hours", "quotes", "profile", "market"])
def test_metadata_is_taken_off_byte_for_byte(name: str) -> None:
    initial = (FRAMES / f"{name}.1.initial-with-security.real.json").read_bytes()
    bare = without_metadata(initial)
    document = orjson.loads(initial)
    if isinstance(document, list):
        document = document[1:]
    else:
        del document["metadata"]
    assert bare == orjson.dumps(document)
    assert initial.endswith(bare[1:])
    assert without_metadata(bare) is bare


def test_metadata_tells_the_connects_that_are_left() -> None:
    initial = (FRAMES / "hours.1.initial-with-security.real.json").read_bytes()
    assert connect_limit(initial) == ConnectLimit(remaining=7999, reset_s=86399)
    assert connect_limit(b'[{"metadata":{"rate_limit":4,"remaining_requests":0,"reset":12}}]') == ConnectLimit(0, 12)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"status":"Open"}',
        b'{"metadata":{},"status":"Open"}',
        b'{"metadata":{"remaining_requests":"0","reset":1},"status":"Open"}',
        b'{"metadata":{not json},"status":"Open"}',
        b'{"metadata":null,"status":"Open"}',
    ],
)
def test_metadata_that_says_nothing_is_no_limit(payload: bytes) -> None:
    assert connect_limit(payload) is None


@given(ANY_JSON)
def test_shape_is_what_a_parser_finds(document: object) -> None:
    payload = orjson.dumps(document)
    frame = Frame(payload)
    bare = orjson.loads(without_metadata(payload))
    rows = isinstance(bare, list) and all(isinstance(row, dict) and "symbol" in row for row in bare)
    assert QUOTES.holds(frame) == (rows or payload.startswith(QUOTES.usual))
    for shape in (PROFILE, MARKET, HOURS):
        assert shape.holds(frame) == (isinstance(bare, dict) and shape.key in bare)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b'{"metadata":', b'[{"metadata":{', b'[{"symbol":', b'{"quote":'])
)
def test_no_bytes_raise(noise: bytes, head: bytes) -> None:
    payload = head + noise
    connect_limit(payload)
    without_metadata(payload)
    for shape in SHAPES.values():
        shape.holds(Frame(payload))
