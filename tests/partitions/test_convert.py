from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import convert as convert_module
from recorder.partitions.convert import Typed, convert
from recorder.partitions.tables import TABLES

Arrow = Callable[[Iterable[Message]], pa.Table]
Frame = Callable[[str], bytes]

FEED_KINDS = sorted({kind for table in TABLES for kind in table.feed_kinds})


def messages(feed_kind: str, *payloads: bytes, kind: Kind = Kind.DATA, mark: Mark = Mark.NONE) -> list[Message]:
    stream = Stream("f", feed_kind, "NVDA")
    return [Message(1 + at, stream, kind, mark, 10**18 + at, at, 1, payload) for at, payload in enumerate(payloads)]


def typed(table: str, rows: pa.Table) -> Typed:
    (found,) = (result for result in convert(rows, TABLES) if result.table.name == table)
    return found


def quote(symbol: str, price: Any = "1.00") -> bytes:
    return orjson.dumps([{"symbol": symbol, "name": "N", "price": price, "change": "+0.10", "percentChange": "+1.00%"}])


def test_every_real_frame_is_read_without_a_rest(arrow_of: Arrow, frame: Frame) -> None:
    for beginning in ("hours.1", "hours.2", "hours.3", "market.1", "market.3", "profile.1", "profile.2", "profile.3"):
        kind = "finance_query." + beginning.split(".")[0]
        for result in convert(arrow_of(messages(kind, frame(beginning))), TABLES):
            assert (result.unparsed, +result.unread) == (0, {}), (beginning, result.table.name)
    for beginning in ("profile.4", "profile.5", "quotes.1", "quotes.2", "quotes.3", "quotes.4", "quotes.5"):
        kind = "finance_query." + beginning.split(".")[0]
        for result in convert(arrow_of(messages(kind, frame(beginning))), TABLES):
            assert (result.unparsed, +result.unread) == (0, {}), (beginning, result.table.name)


def test_broken_frames_count_and_leave_their_neighbours_alone(arrow_of: Arrow) -> None:
    payloads = [
        quote("A"),
        b"[1",
        b"2]",
        quote("B"),
        b'{"status":"Open"}',
        b"[null]",
        b'[{"price":"1"}]',
        b"",
        quote("C"),
    ]
    result = typed("quotes", arrow_of(messages("finance_query.quotes", *payloads)))
    assert result.rows["symbol"].to_pylist() == ["A", "B", "C"]
    assert result.rows["position"].to_pylist() == [1, 4, 9]
    assert result.unparsed == 6


@pytest.mark.parametrize("halves", [(b"[1", b"2]"), (b'[{"symbol":"X"},', b'{"symbol":"Y"}]'), (b'["', b'"]')])
def test_frames_that_only_parse_together_are_broken_each(arrow_of: Arrow, halves: tuple[bytes, bytes]) -> None:
    # With a comma between them the third would make up for the one element the two have too few.
    result = typed("quotes", arrow_of(messages("finance_query.quotes", *halves, b"[],[]")))
    assert (result.rows.num_rows, result.unparsed) == (0, 3)


def test_odd_frames_replies_and_binary_trash_are_not_even_tried(arrow_of: Arrow) -> None:
    for rows in (
        messages("finance_query.quotes", quote("A"), mark=Mark.ODD),
        messages("finance_query.quotes", quote("A"), kind=Kind.REPLY),
        messages("finance_query.quotes", b"\xff"),
        messages("unheard.of", quote("A")),
    ):
        result = typed("quotes", arrow_of(rows))
        assert (result.rows.num_rows, result.unparsed) == (0, 0)


def test_a_value_of_another_kind_is_null_and_counted_and_the_row_stays(arrow_of: Arrow) -> None:
    payload = b'[{"symbol":"A","name":5,"price":"N/A","change":null,"percentChange":1.5,"logo":{}}]'
    result = typed("quotes", arrow_of(messages("finance_query.quotes", quote("Z"), payload)))
    row = result.rows.drop_columns(["received_at"]).to_pylist()[1]
    assert (row["symbol"], row["name"], row["price"], row["change"], row["percent_change"]) == (
        "A",
        None,
        None,
        None,
        1.5,
    )
    assert result.unparsed == 0
    assert result.unread == {"name": 1, "price": 1, "logo": 1}


def test_marks_stand_in_every_row(arrow_of: Arrow) -> None:
    result = typed("quotes", arrow_of(messages("finance_query.quotes", quote("A"), mark=Mark.INITIAL | Mark.DOUBLE)))
    assert result.rows.select(["mark", "initial"]).to_pylist() == [{"mark": "initial+double", "initial": True}]


def test_small_slices_give_the_same_rows(arrow_of: Arrow, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "finance_query.market"
    rows = arrow_of(messages(kind, *[frame("market.3"), frame("market.1"), b"nonsense"] * 3))
    whole = convert(rows, TABLES)
    monkeypatch.setattr(convert_module, "SLICE_FRAMES", 2)
    monkeypatch.setattr(convert_module, "SLICE_BYTES", 10)
    for one, other in zip(whole, convert(rows, TABLES), strict=True):
        assert one.rows.equals(other.rows)
        assert one.unparsed == other.unparsed


def test_rows_of_several_feed_kinds_come_in_order_of_position(arrow_of: Arrow, frame: Frame) -> None:
    market, profile = Stream("m", "finance_query.market"), Stream("p", "finance_query.profile", "AAPL")
    rows = [
        Message(1 + at, stream, Kind.DATA, Mark.NONE, 10**18 + at, at, 1, payload)
        for at, (stream, payload) in enumerate([(market, frame("market.3")), (profile, frame("profile.5"))] * 3)
    ]
    headlines = typed("headlines", arrow_of(rows)).rows
    assert headlines["position"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert headlines["symbol"].to_pylist() == [None, "AAPL"] * 3


def test_how_old_a_headline_was_becomes_when_it_was_published(arrow_of: Arrow) -> None:
    ages = ["2 hours ago", "just now", "Aug 12, 2024", None]
    frame = {"headlines": [{"title": "t", "time": age} for age in ages]}
    result = typed("headlines", arrow_of(messages("finance_query.market", orjson.dumps(frame))))
    received_ns = result.rows["received_at"].cast("int64")[0].as_py()
    assert result.rows["published_at"].cast("int64").to_pylist() == [
        received_ns - 7_200 * 10**9,
        received_ns,
        None,
        None,
    ]
    assert result.rows["published_within_s"].to_pylist() == [4_500, 960, None, None]
    assert result.unread == {"published_at": 1, "published_within_s": 1}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = sorted(
    {column.origin for table in TABLES for column in table.own} | {"action", "data", "quote", "news", "similar"}
)
KEYED = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)
SHAPED = st.one_of(
    JSON,
    KEYED,
    st.lists(KEYED, max_size=3),
    st.fixed_dictionaries({"action": st.just("sendArticle"), "data": KEYED}),
    st.fixed_dictionaries(
        {"quote": KEYED, "similar": st.lists(KEYED), "sectorPerformance": KEYED, "news": st.lists(KEYED)}
    ),
    st.fixed_dictionaries(
        {
            key: st.lists(KEYED, max_size=2)
            for key in ("actives", "gainers", "losers", "indices", "sectors", "headlines")
        }
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.lists(SHAPED | st.binary(max_size=9), min_size=1, max_size=4), st.sampled_from(FEED_KINDS), st.sampled_from(Kind)
)
def test_nothing_an_upstream_sends_raises(arrow_of: Arrow, frames: list[Any], feed_kind: str, kind: Kind) -> None:
    payloads = [sent if type(sent) is bytes else orjson.dumps(sent, option=orjson.OPT_NON_STR_KEYS) for sent in frames]
    for result in convert(arrow_of(messages(feed_kind, *payloads, kind=kind)), TABLES):
        assert result.rows.schema.equals(result.table.schema, check_metadata=True)
        assert result.unparsed <= len(payloads)
