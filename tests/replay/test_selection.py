from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import lifecycle
from recorder.clock import Moment
from recorder.journal.group import GroupBuilder, unpack
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.messages import table_of
from recorder.replay.batch import Batch, handed_out, messages
from recorder.replay.selection import Selection

Make = Callable[..., Message]

QUOTES = Stream("prices", "finance_query.quotes")
NEWS = Stream("news", "finlight")
RAW = Stream("wire", "finlight.raw")
MARKET = Stream("market", "finance_query.market")
APPLE = Stream("profiles", "finance_query.profile", "AAPL")
ODD_CASE = Stream("profiles", "finance_query.profile", "brk-B")
OWN = Stream("recorder", "recorder")

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"


def article(*tickers: str, listed: str = "") -> bytes:
    companies = [
        {"name": 'a "ticker":"TSLA" in text', "primaryListing": {"ticker": listed}, "ticker": t} for t in tickers
    ]
    data = {"link": "https://a", "title": 'says "ticker":"AMZN"', "companies": companies}
    return orjson.dumps({"action": "sendArticle", "data": data})


ROWS: list[tuple[Stream, Kind, bytes]] = [
    (QUOTES, Kind.DATA, b'[{"symbol":"AAPL","price":"1"},{"symbol":"MSFT","price":"2"}]'),
    (QUOTES, Kind.DATA, b'[{"symbol" : "BRK-B","price":"1"}]'),
    (QUOTES, Kind.DATA, b'[{"metadata":{"reset":1}},{"symbol":"^GSPC"},{"symbol":"BTC-USD"}]'),
    (QUOTES, Kind.DATA, b'[{"symbol":"AAPLX","name":"\\"symbol\\":\\"AAPL\\""}]'),
    (QUOTES, Kind.DATA, b'\xff[{"symbol":"AAPL"}]'),
    (QUOTES, Kind.DATA, b"[]"),
    (NEWS, Kind.DATA, article("AAPL", "MSFT")),
    (NEWS, Kind.DATA, article("XOM", listed="AAPL")),
    (NEWS, Kind.DATA, b'{"data":{"companies":[{"ticker":"AAPL"}'),
    (NEWS, Kind.DATA, b'{"data":{"companies":[{"ticker":"AAPL"},null,7]}}'),
    (NEWS, Kind.DATA, b'{"data":{"companies":null,"ticker":"AAPL"}}'),
    (RAW, Kind.DATA, article()),
    (MARKET, Kind.DATA, b'{"actives":[{"symbol":"AAPL"}]}'),
    (APPLE, Kind.DATA, b'{"quote":null}'),
    (APPLE, Kind.LIFECYCLE, lifecycle.entry("gap.opened")),
    (ODD_CASE, Kind.DATA, b'{"quote":{"symbol":"AAPL"}}'),
    (NEWS, Kind.REPLY, b'{"action":"pong"}'),
    (OWN, Kind.LIFECYCLE, lifecycle.entry("recorder.started")),
    (NEWS, Kind.DATA, b'{"link":"https://a","companies":[{"ticker":"NVDA"}]}'),  # fetched over REST
]


def batch_of(rows: list[tuple[Stream, Kind, bytes]]) -> Batch:
    builder = GroupBuilder(1)

    for number, (stream, kind, payload) in enumerate(rows):
        builder.add(stream, kind, 1, [payload], Mark.NONE, Moment(number, number))
    (read,) = table_of([unpack(builder.pack(), 1)]).to_batches()
    (batch,) = handed_out(read, 0, 1 << 62, Selection(), 1 << 20, 1 << 30)
    return batch


@pytest.fixture(scope="module")
def batch() -> Batch:
    return batch_of(ROWS)


def selected(batch: Batch, **wanted: frozenset[str] | frozenset[Kind]) -> list[int]:
    """Indexes of ROWS."""
    return [message.position - 1 for message in messages(Selection(**wanted).rows(batch))]  # type: ignore[arg-type]


def where(holds: Callable[[Stream, Kind], bool]) -> list[int]:
    return [index for index, (stream, kind, _) in enumerate(ROWS) if holds(stream, kind)]


def test_nothing_asked_selects_everything_without_a_copy(batch: Batch) -> None:
    assert Selection().rows(batch) is batch
    assert selected(batch, feeds=frozenset(), feed_kinds=frozenset(), symbols=frozenset()) == list(range(len(ROWS)))


def test_feeds_kinds_of_feed_and_kinds_of_message_are_exact(batch: Batch) -> None:
    assert selected(batch, feeds=frozenset({"news", "market"})) == where(lambda s, _: s.feed in ("news", "market"))
    assert selected(batch, feed_kinds=frozenset({"finlight"})) == where(lambda s, _: s.feed_kind == "finlight")
    both = frozenset({Kind.REPLY, Kind.LIFECYCLE})
    assert selected(batch, kinds=both) == where(lambda _, kind: kind in both)
    assert selected(batch, feeds=frozenset({"nothing"})) == []


def test_every_combination_is_the_common_part(batch: Batch) -> None:
    options = {
        "feeds": (None, frozenset({"news", "prices"}), frozenset({"profiles"})),
        "feed_kinds": (None, frozenset({"finlight", "finance_query.profile"})),
        "kinds": (None, frozenset({Kind.DATA}), frozenset({Kind.REPLY})),
        "symbols": (None, frozenset({"AAPL"})),
    }
    alone = {
        (name, value): set(selected(batch, **{name: value}))
        for name, values in options.items()
        for value in values
        if value
    }
    for values in itertools.product(*options.values()):
        asked = {name: value for name, value in zip(options, values, strict=True) if value}
        expected = set(range(len(ROWS))).intersection(*(alone[name, value] for name, value in asked.items()))
        assert set(selected(batch, **asked)) == expected


TALK = [16, 17]  # replies and own entries without a channel


@pytest.mark.parametrize(
    ("symbols", "about"),
    [
        ({"AAPL"}, [0, 6, 13, 14]),
        ({"aapl"}, [0, 6, 13, 14]),
        ({"BRK-B"}, [1, 15]),
        ({"^GSPC"}, [2]),
        ({"MSFT", "BTC-USD"}, [0, 2, 6]),
        ({"AAPLX"}, [3]),
        ({"XOM"}, [7]),
        ({"NVDA"}, [18]),
        ({"TSLA", "AMZN"}, []),  # only in the text of articles
        ({"A.PL", "AAP", "", ".*", "(", "\\", '"', "A|B", "[A-Z]+", "é", "\n"}, []),
    ],
)
def test_symbols_select_what_is_about_them(batch: Batch, symbols: set[str], about: list[int]) -> None:
    # An article whose list of companies breaks off is not about anything; one that goes wrong behind the match is.
    also = [9] if "AAPL" in {symbol.upper() for symbol in symbols} else []
    assert selected(batch, symbols=frozenset(symbols)) == sorted([*about, *also, *TALK])


TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


@given(st.lists(TEXT, min_size=1, max_size=5), TEXT)
def test_any_text_may_be_a_symbol_and_means_itself(symbols: list[str], other: str) -> None:
    everyone = [*symbols, other]
    batch = batch_of([(QUOTES, Kind.DATA, orjson.dumps([{"symbol": symbol}])) for symbol in everyone])
    for asked in symbols:
        same = [at for at, symbol in enumerate(everyone) if symbol.encode().upper() == asked.encode().upper()]
        assert selected(batch, symbols=frozenset({asked})) == same
    assert selected(batch, symbols=frozenset(everyone)) == list(range(len(everyone)))


def test_real_frames_of_quotes_are_found_by_each_of_their_symbols() -> None:
    for path in FRAMES.glob("quotes.*.json"):
        frame = path.read_bytes()
        batch = batch_of([(QUOTES, Kind.DATA, frame)])
        symbols = [row["symbol"] for row in orjson.loads(frame) if "symbol" in row]
        assert symbols
        assert all(selected(batch, symbols=frozenset({symbol})) == [0] for symbol in symbols)
        assert selected(batch, symbols=frozenset({"NOTTHERE"})) == []


def test_limits_of_columns_rule_out_only_what_cannot_be_there() -> None:
    def may_be(selection: Selection, **limits: tuple[bytes, bytes]) -> bool:
        return selection.may_be_within(limits.get)

    news = Selection(feeds=frozenset({"news"}))
    assert may_be(news, feed=(b"market", b"prices"))
    assert may_be(news, feed=(b"news", b"news"))
    assert may_be(news)  # nobody knows
    assert not may_be(news, feed=(b"prices", b"prices"))
    assert not may_be(news, feed=(b"a", b"m"))
    assert may_be(Selection(feeds=frozenset({"news", "a"})), feed=(b"a", b"m"))
    assert not may_be(Selection(kinds=frozenset({Kind.REPLY})), kind=(b"data", b"lifecycle"))
    assert may_be(Selection(symbols=frozenset({"A"})), feed=(b"x", b"y"))
