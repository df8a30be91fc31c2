from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.replay.upstreams.finlight_query import DEPTH_MAX, LENGTH_MAX, RAW_FIELDS, QueryInvalid, parse

ARTICLE: dict[str, Any] = {
    "title": "Nvidia's new chip: “Blackwell” ships",
    "summary": "Elon Musk ordered 100,000 of them",
    "content": None,
    "source": "www.reuters.com",
    "language": "en",
    "sentiment": "positive",
    "categories": ["technology", "markets"],
    "countries": ["US"],
    "companies": [
        {
            "name": "NVIDIA Corp",
            "ticker": "NVDA",
            "exchange": "NASDAQ",
            "isin": "US67066G1040",
            "otherListings": [{"ticker": "NVD"}],
        }
    ],
}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "nvidia",
        "NVIDIA",
        '"elon musk"',
        "elon musk",  # neighbours are both wanted
        "blackwell AND musk",
        "apple OR nvidia",
        "NOT apple",
        "nvidia NOT apple",
        "(apple OR nvidia) AND (musk OR cook)",
        "apple OR nvidia AND musk",  # AND binds tighter
        "ticker:NVDA",
        "ticker:nvda",
        "ticker:NVD",  # another listing
        '(ticker:AAPL OR ticker:NVDA) AND NOT source:www.bloomberg.com AND "Elon Musk"',
        "ticker:(AAPL OR NVDA)",
        "source:reuters.com",
        "source:www.Reuters.com",
        'title:"new chip"',
        "summary:ordered",
        'company:"nvidia corp"',
        "country:us category:markets exchange:nasdaq isin:US67066G1040 language:en sentiment:positive",
        "NOT NOT nvidia",
    ],
)
def test_a_query_finds_what_it_describes(query: str) -> None:
    assert parse(query)(ARTICLE)


@pytest.mark.parametrize(
    "query",
    [
        "apple",
        "nvid",  # whole words only
        '"musk elon"',
        "nvidia AND apple",
        "NOT nvidia",
        "apple OR nvidia AND cook",
        "ticker:AAPL",
        "ticker:(AAPL OR MSFT)",
        "NOT ticker:(AAPL OR NVDA)",
        "source:bloomberg.com",
        "title:musk",  # that is in the summary
        "content:nvidia",
        "category:energy",
        "nvidia and musk",  # small letters are a word
    ],
)
def test_a_query_leaves_out_what_it_does_not_describe(query: str) -> None:
    assert not parse(query)(ARTICLE)


@pytest.mark.parametrize("field", ["ticker", "company", "country", "category", "exchange", "isin", "source", "title"])
def test_an_article_without_the_field_is_not_found_by_it(field: str) -> None:
    assert not parse(f"{field}:x")({})
    assert not parse(f"{field}:x")({"companies": None, "countries": None, "categories": None, "title": None})


@pytest.mark.parametrize(
    ("query", "at", "reason"),
    [
        ('"never closed', 0, "never closed"),
        ("(nvidia", 7, ") is missing"),
        ("nvidia)", 6, "without its ("),
        ("AND nvidia", 0, "missing"),
        ("nvidia OR", 9, "missing"),
        ("NOT", 3, "missing"),
        ("()", 1, "missing"),
        ("colour:red", 0, "unknown field colour"),
        ("ticker: AND x", 8, "wants a value"),
    ],
)
def test_a_broken_query_says_where_and_why(query: str, at: int, reason: str) -> None:
    with pytest.raises(QueryInvalid) as invalid:
        parse(query)
    assert invalid.value.at == at
    assert reason in invalid.value.reason


def test_the_raw_stream_knows_fewer_fields() -> None:
    assert parse("title:nvidia source:reuters.com", RAW_FIELDS)(ARTICLE)
    with pytest.raises(QueryInvalid, match="known are source, summary, title"):
        parse("ticker:NVDA", RAW_FIELDS)


@pytest.mark.parametrize("query", ["(" * 5000, "NOT " * 900 + "x", "x " * LENGTH_MAX, "(" * (DEPTH_MAX + 2) + "x"])
def test_a_hostile_query_is_refused_not_obeyed(query: str) -> None:
    with pytest.raises(QueryInvalid):
        parse(query)


@given(st.text(max_size=60) | st.text(alphabet='ab "():ANDORT', max_size=40))
def test_any_text_is_a_query_or_invalid(query: str) -> None:
    try:
        found = parse(query)(ARTICLE)
    except QueryInvalid as invalid:
        assert invalid.reason
    else:
        assert found in (True, False)
