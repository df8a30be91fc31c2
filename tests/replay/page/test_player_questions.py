"""What the player is told of a recording of known content, sealed and not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS
from recorder.errors import RequestInvalid
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.page import player_questions
from recorder.replay.page.questions import Asked
from recorder.replay.timeline import Timeline

Record = Callable[..., None]
Ask = Callable[..., dict[str, Any]]

START_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
START_MS = START_NS / MS_NS
QUOTES = Stream("prices", "finance_query.quotes")
NEWS = Stream("news", "finlight")
ANSWERS = {question.name: question.answer for question in player_questions.QUESTIONS}


def quotes(**prices: str) -> bytes:
    return orjson.dumps([{"symbol": symbol, "name": symbol, "price": price} for symbol, price in prices.items()])


def article(link: str, *tickers: str, **other: Any) -> bytes:
    data = {"link": link, "source": "example.com", "title": f"About {link}", "publishDate": "2026-01-31T11:59:00.000Z"}
    companies = [{"companyId": 1, "name": ticker, "ticker": ticker} for ticker in tickers]
    return orjson.dumps({"action": "sendArticle", "data": {**data, "language": "en", "companies": companies, **other}})


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


# (second, stream, kind, mark, payload): 60 quotes frames a second apart, three articles, a gap of ten seconds.
_ROWS: list[tuple[float, Stream, Kind, Mark, bytes]] = [
    *((n, QUOTES, Kind.DATA, Mark.NONE, quotes(AAPL=str(100 + n), NVDA="5.5")) for n in range(20)),
    (0.5, QUOTES, Kind.DATA, Mark.DOUBLE, quotes(AAPL="1.00")),
    (19.5, QUOTES, Kind.LIFECYCLE, Mark.NONE, lifecycle.entry("gap.opened", since_ns=at(19), cause="silence")),
    (
        29.9,
        QUOTES,
        Kind.LIFECYCLE,
        Mark.NONE,
        lifecycle.entry("gap.closed", since_ns=at(19), until_ns=at(29), cause="silence"),
    ),
    *((n, QUOTES, Kind.DATA, Mark.NONE, quotes(AAPL=str(200 - n), NVDA="")) for n in range(30, 60)),
    (5.1, NEWS, Kind.DATA, Mark.NONE, article("https://one.example/1", "AAPL", sentiment="positive", confidence="0.9")),
    (35.1, NEWS, Kind.DATA, Mark.NONE, article("https://two.example/2", "NVDA", "AAPL")),
    (35.2, NEWS, Kind.DATA, Mark.NONE, article("https://two.example/2", "NVDA", "AAPL")),  # again, as another feed does
    (50.1, NEWS, Kind.DATA, Mark.NONE, article("javascript:alert(1)", "NVDA", title="<img src=x onerror=alert(1)>")),
]


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    rows = sorted(_ROWS, key=lambda row: row[0])
    messages = [
        Message(position, stream, kind, mark, at(second), position, 1, payload)
        for position, (second, stream, kind, mark, payload) in enumerate(rows, 1)
    ]
    record(tmp_path / "data", messages, seals=(20, 40))
    return tmp_path / "data"


@pytest.fixture
def ask(data: Path) -> Ask:
    def answer(name: str, **parameters: str) -> dict[str, Any]:
        given: Mapping[str, str] = {key.rstrip("_"): text for key, text in parameters.items()}
        with closing(Asked(Timeline(data), given)) as asked:
            told: dict[str, Any] = orjson.loads(orjson.dumps(ANSWERS[name](asked)))
            return told

    return answer


def test_the_range_is_the_first_and_the_last_message_with_feeds_and_symbols(ask: Ask) -> None:
    told = ask("range.json")
    assert told["from_ms"] == START_MS
    assert told["to_ms"] == pytest.approx(START_MS + 59_000, abs=0.001)
    assert told["feeds"] == [
        {"feed": "news", "kind": "finlight", "messages": 4},
        {"feed": "prices", "kind": "finance_query.quotes", "messages": 51},
    ]
    assert told["symbols"] == ["AAPL", "NVDA"]


def test_every_message_is_in_one_bucket_and_none_is_left_out(ask: Ask) -> None:
    told = ask("density.json", buckets="7")
    assert {kind: sum(counts) for kind, counts in told["kinds"].items()} == {
        "finlight": 4,
        "finance_query.quotes": 51,
    }
    assert {len(counts) for counts in told["kinds"].values()} == {7}
    silent = ask("density.json", from_=str(int(START_MS) + 20_000), to=str(int(START_MS) + 29_000), buckets="9")
    assert silent["kinds"] == {}


def test_sums_give_the_density_of_long_ranges_and_are_spread_over_what_they_cover(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = ask("density.json", buckets="6")["kinds"]
    monkeypatch.setattr(player_questions, "COUNTED_NS", 0)
    summed = ask("density.json", buckets="6")["kinds"]
    for kind, counts in counted.items():
        assert sum(summed[kind]) == pytest.approx(sum(counts), abs=3)  # each bucket is rounded
    # The first part ends after 19 s, so of the first bucket of ten seconds its sums know nearly all.
    assert summed["finance_query.quotes"][0] == pytest.approx(counted["finance_query.quotes"][0], abs=1)


def test_gaps_come_with_their_causes_where_they_touch_the_range(ask: Ask) -> None:
    (gap,) = ask("density.json")["gaps"]
    assert gap == {
        "feed": "prices",
        "channel": "",
        "since_ms": START_MS + 19_000,
        "until_ms": START_MS + 29_000,
        "cause": "silence",
    }
    assert ask("density.json", from_="2026-01-31T12:00:29")["gaps"] == []
    inside = ask("density.json", from_="2026-01-31T12:00:22", to="2026-01-31T12:00:24")
    assert inside["gaps_total"] == 1


def test_prices_are_as_many_points_as_were_asked_for_with_the_extremes_of_each(ask: Ask) -> None:
    told = ask("prices.json", symbol="AAPL", points="2")
    assert told["at_ms"] == [START_MS + 19_000, START_MS + 59_000]
    assert told["low"] == [100, 141]
    assert told["high"] == [119, 170]
    assert told["last"] == [119, 141]


def test_the_doubled_frame_at_connect_and_prices_that_are_missing_are_no_points(ask: Ask) -> None:
    assert min(ask("prices.json", symbol="AAPL")["low"]) == 100
    assert set(ask("prices.json", symbol="NVDA")["last"]) == {5.5}
    assert ask("prices.json", symbol="nobody's")["at_ms"] == []


def test_articles_come_newest_first_each_once_and_only_about_the_symbol(ask: Ask) -> None:
    links = [each["link"] for each in ask("articles.json")["articles"]]
    assert links == ["javascript:alert(1)", "https://two.example/2", "https://one.example/1"]
    about = ask("articles.json", symbol="aapl")["articles"]
    assert [each["at_ms"] for each in about] == [START_MS + 35_100, START_MS + 5_100]
    assert about[1]["sentiment"] == "positive"
    assert about[1]["tickers"] == ["AAPL"]
    assert [each["link"] for each in ask("articles.json", to="2026-01-31T12:00:10")["articles"]] == links[2:]
    assert len(ask("articles.json", count="1")["articles"]) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "parameter", "possible"),
    [
        ("range.json", {"from_": "1"}, "parameter", "none is needed"),
        ("density.json", {"bucket": "1"}, "parameter", "from, to, buckets"),
        ("density.json", {"buckets": "0"}, "buckets", "1 to 2000"),
        ("density.json", {"buckets": "²"}, "buckets", "1 to 2000"),
        ("density.json", {"from_": "yesterday"}, "from", "2026-01-31T12:00"),
        ("density.json", {"from_": "@5"}, "from", "an epoch"),
        ("density.json", {"to": "live"}, "to", "an epoch"),
        ("density.json", {"from_": "2026-01-31T13:00", "to": "2026-01-31T12:00"}, "to", "behind `from`"),
        ("prices.json", {}, "symbol", "range.json has them"),
        ("prices.json", {"symbol": ""}, "symbol", "1 to 64 characters"),
        ("prices.json", {"symbol": "A" * 65}, "symbol", "1 to 64 characters"),
        ("prices.json", {"symbol": "AAPL", "points": "5001"}, "points", "1 to 5000"),
        ("articles.json", {"count": "-1"}, "count", "1 to 500"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(
    tmp_path: Path, name: str, parameters: dict[str, str], parameter: str, possible: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        ANSWERS[name](Asked(Timeline(tmp_path), {key.rstrip("_"): text for key, text in parameters.items()}))
    assert refused.value.parameter == parameter
    assert possible in refused.value.possible


def test_a_symbol_never_becomes_sql(ask: Ask) -> None:
    for symbol in ("' OR 1=1 --", "AAPL'; DROP VIEW quotes; --", "$since", "?", "\N{SNOWMAN}"):
        assert ask("prices.json", symbol=symbol)["at_ms"] == []
        assert ask("articles.json", symbol=symbol)["articles"] == []


def test_where_nothing_is_recorded_there_is_nothing_and_no_error(tmp_path: Path) -> None:
    for name, given in (
        ("range.json", {}),
        ("density.json", {}),
        ("prices.json", {"symbol": "A"}),
        ("articles.json", {}),
    ):
        told = ANSWERS[name](Asked(Timeline(tmp_path), given))
        assert not any(value for key, value in told.items() if key != "symbol")  # type: ignore[attr-defined]
