"""What Finance Query's frames become. Pure.

Keys and number formats: Finance Query's PROTOCOL, sections 3 to 6. Every number there is text but `volume`, `avgVolume`
and an index's `value`; percentages stay percentages (1.82 for `+1.82%`), `3.460T` is 3.46e12.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from recorder.partitions import numbers
from recorder.partitions.schema import CHANNEL, MOMENT, Column, Row, Table, an_object, objects

QUOTES_KIND = "finance_query.quotes"
PROFILE_KIND = "finance_query.profile"
MARKET_KIND = "finance_query.market"
HOURS_KIND = "finance_query.hours"

_NUMBER = pa.float64()
_TEXT = pa.string()
_PRICE = "in the currency it trades in"
_RETURNS = {
    "day": "dayReturn",
    "five_days": "fiveDaysReturn",
    "one_month": "oneMonthReturn",
    "three_month": "threeMonthReturn",
    "six_month": "sixMonthReturn",
    "ytd": "ytdReturn",
    "year": "yearReturn",
    "three_year": "threeYearReturn",
    "five_year": "fiveYearReturn",
    "ten_year": "tenYearReturn",
    "max": "maxReturn",
}


def _returns(*spans: str) -> tuple[Column, ...]:
    return tuple(
        Column(f"{s}_return", _NUMBER, f"return over {s.replace('_', ' ')}, percent", _RETURNS[s]) for s in spans
    )


_LONG_RETURNS = _returns(*(span for span in _RETURNS if span != "day"))


def _known(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """The rows, each of which must say what it is about."""
    if any(type(row.get(key)) is not str for row in rows):
        raise TypeError(f"a row without {key}")
    return rows


_SYMBOL = Column("symbol", _TEXT, "Yahoo's symbol", "symbol")
_NAME = Column("name", _TEXT, "name", "name")
_MOVE = (
    Column("price", _NUMBER, f"last price, {_PRICE}", "price"),
    Column("change", _NUMBER, f"since the previous close, {_PRICE}", "change"),
    Column("percent_change", _NUMBER, "since the previous close, percent", "percentChange"),
)
_EXTENDED = (
    Column("pre_market_price", _NUMBER, f"price before the open, {_PRICE}", "preMarketPrice"),
    Column("after_hours_price", _NUMBER, f"price after the close, {_PRICE}", "afterHoursPrice"),
)
_LOGO = Column("logo", _TEXT, "URL of the logo", "logo")


# --- quotes -----------------------------------------------------------------------------------------------------


def _quotes(frame: Any, _channel: str) -> Iterable[Row]:
    rows = objects(frame)
    return _known([row for row in rows if "metadata" not in row or "symbol" in row], "symbol")


QUOTES = Table(
    "quotes",
    "Quotes, one row a symbol and frame; the frame comes about every 5 s whether or not anything changed",
    (QUOTES_KIND,),
    (_SYMBOL, _NAME, *_MOVE, *_EXTENDED, _LOGO),
    _quotes,
    clustered_by=("symbol",),
)


# --- hours ------------------------------------------------------------------------------------------------------


def _hours(frame: Any, _channel: str) -> Iterable[Row]:
    if type(an_object(frame).get("status")) is not str:
        raise TypeError("no status")
    return (frame,)


MARKET_HOURS = Table(
    "market_hours",
    "Whether the market is open, by the server's calendar of New York",
    (HOURS_KIND,),
    (
        Column("status", _TEXT, "Open, Closed or Early Close", "status"),
        Column(
            "reason",
            _TEXT,
            "Regular trading hours, Pre-market, Weekend, Holiday: …, …",
            "reason",
        ),
        Column("server_time", MOMENT, "the server's clock, UTC", "timestamp", encoding="delta"),
    ),
    _hours,
)


# --- profile ----------------------------------------------------------------------------------------------------


def _profile(frame: Any, _channel: str) -> Iterable[Row]:
    quote = frame["quote"]
    return () if quote is None else _known([an_object(quote)], "symbol")


def _similar(frame: Any, _channel: str) -> Iterable[Row]:
    return _known(objects(frame["similar"]), "symbol")


PROFILES = Table(
    "profiles",
    "Profile and fundamentals, one row a frame; a part that the server could not fetch has no row",
    (PROFILE_KIND,),
    (
        _SYMBOL,
        _NAME,
        *_MOVE,
        *_EXTENDED,
        Column("open", _NUMBER, f"first price of the day, {_PRICE}", "open"),
        Column("high", _NUMBER, f"highest price of the day, {_PRICE}", "high"),
        Column("low", _NUMBER, f"lowest price of the day, {_PRICE}", "low"),
        Column("year_high", _NUMBER, f"highest price of 52 weeks, {_PRICE}", "yearHigh"),
        Column("year_low", _NUMBER, f"lowest price of 52 weeks, {_PRICE}", "yearLow"),
        Column("volume", pa.int64(), "shares traded today", "volume"),
        Column("avg_volume", pa.int64(), "shares traded on an average day", "avgVolume"),
        Column("market_cap", _NUMBER, f"market value, {_PRICE}", "marketCap"),
        Column("beta", _NUMBER, "beta against the market", "beta"),
        Column("pe", _NUMBER, "price over earnings", "pe"),
        Column("eps", _NUMBER, "earnings per share; in effect always NULL", "eps"),
        Column("dividend", _NUMBER, f"dividend a year, {_PRICE}", "dividend"),
        Column("dividend_yield", _NUMBER, "dividend over price, percent", "yield"),
        Column("ex_dividend", pa.date32(), "ex-dividend date", "exDividend"),
        Column("net_assets", _NUMBER, f"net assets of a fund, {_PRICE}", "netAssets"),
        Column("nav", _NUMBER, f"net asset value of a fund's share, {_PRICE}", "nav"),
        Column("expense_ratio", _NUMBER, "costs of a fund, percent", "expenseRatio"),
        Column("category", _TEXT, "category of a fund", "category"),
        Column("last_capital_gain", _NUMBER, f"last capital gain paid, {_PRICE}", "lastCapitalGain"),
        Column("morningstar_rating", pa.int32(), "stars, 1 to 5", "morningstarRating", numbers.stars),
        Column(
            "morningstar_risk_rating",
            _TEXT,
            "Low, Average, High, …",
            "morningstarRiskRating",
        ),
        Column("holdings_turnover", _NUMBER, "turnover of a fund, percent", "holdingsTurnover"),
        Column("earnings_from", pa.date32(), "next earnings, first possible date", "earningsDate", numbers.first_day),
        Column("earnings_to", pa.date32(), "next earnings, last possible date", "earningsDate", numbers.last_day),
        Column("last_dividend", _NUMBER, f"last dividend paid, {_PRICE}", "lastDividend"),
        Column("inception", pa.date32(), "first day of a fund", "inceptionDate"),
        Column("sector", _TEXT, "sector", "sector"),
        Column("industry", _TEXT, "industry", "industry"),
        Column("about", _TEXT, "what the company does", "about"),
        Column("employees", pa.int64(), "full-time employees", "employees"),
        *_returns(
            "five_days",
            "one_month",
            "three_month",
            "six_month",
            "ytd",
            "year",
            "three_year",
            "five_year",
            "ten_year",
            "max",
        ),
        _LOGO,
    ),
    _profile,
)

SIMILAR = Table(
    "similar_symbols",
    "Symbols the server holds for similar to the profile's; one row each and frame",
    (PROFILE_KIND,),
    (_SYMBOL, _NAME, *_MOVE, *_EXTENDED, _LOGO),
    _similar,
    carried=(CHANNEL,),
    clustered_by=("symbol",),
)


# --- market -----------------------------------------------------------------------------------------------------


def _movers(frame: Any, _channel: str) -> Iterable[Row]:
    return [
        {**row, "list": board, "rank": rank}
        for board in ("actives", "gainers", "losers")
        for rank, row in enumerate(_known(objects(frame[board]), "symbol"), 1)
    ]


def _indices(frame: Any, _channel: str) -> Iterable[Row]:
    return _known(objects(frame["indices"]), "name")


def _sectors(frame: Any, channel: str) -> Iterable[Row]:
    """From the market eleven, from a profile its own or none."""
    if "sectors" in frame:
        return _known(objects(frame["sectors"]), "sector")
    own = frame["sectorPerformance"]
    return () if own is None else _known([{**an_object(own), "symbol": channel}], "sector")


def _headlines(frame: Any, channel: str) -> Iterable[Row]:
    """From the market the general page, from a profile what concerns it."""
    if "headlines" in frame:
        return objects(frame["headlines"])
    return [{**row, "symbol": channel} for row in objects(frame["news"])]


_ABOUT = Column("symbol", _TEXT, "the profile it came with; NULL from the market", "symbol")

MOVERS = Table(
    "movers",
    "Most active, most gaining and most losing symbols, up to 50 each and frame",
    (MARKET_KIND,),
    (
        Column("list", _TEXT, "actives, gainers or losers", "list"),
        Column("rank", pa.int32(), "place on the list, from 1", "rank"),
        _SYMBOL,
        _NAME,
        *_MOVE,
    ),
    _movers,
    clustered_by=("list", "symbol"),
)
INDICES = Table(
    "indices",
    "Stock indices, one row each and frame; known by name, there is no symbol",
    (MARKET_KIND,),
    (
        _NAME,
        Column("value", _NUMBER, "points", "value"),
        Column("change", _NUMBER, "since the previous close, points", "change"),
        Column("percent_change", _NUMBER, "since the previous close, percent", "percentChange"),
        *_returns(
            "five_days",
            "one_month",
            "three_month",
            "six_month",
            "ytd",
            "year",
            "three_year",
            "five_year",
            "ten_year",
            "max",
        ),
    ),
    _indices,
    clustered_by=("name",),
)
SECTORS = Table(
    "sectors",
    "Performance of the sectors, one row each and frame",
    (MARKET_KIND, PROFILE_KIND),
    (
        _ABOUT,
        Column("sector", _TEXT, "sector", "sector"),
        *_returns("day", "ytd", "year", "three_year", "five_year"),
    ),
    _sectors,
)
HEADLINES = Table(
    "headlines",
    "Headlines of the market page and of profiles, one row each and frame: the same one comes again and again",
    (MARKET_KIND, PROFILE_KIND),
    (
        _ABOUT,
        Column("title", _TEXT, "headline", "title"),
        Column("link", _TEXT, "URL", "link"),
        Column("source", _TEXT, "publisher", "source"),
        Column("image", _TEXT, "URL of an image", "img"),
        Column("age", _TEXT, "how old it was at received_at, in the upstream's words: 2 hours ago", "time"),
        Column("published_at", MOMENT, "so much before received_at, UTC", "time", numbers.ago_ns, "delta", ago=True),
        Column(
            "published_within_s",
            pa.int32(),
            "by how many seconds at most published_at is wrong",
            "time",
            numbers.ago_within_s,
        ),
    ),
    _headlines,
)

FINANCE_QUERY_TABLES = (QUOTES, MARKET_HOURS, PROFILES, SIMILAR, MOVERS, INDICES, SECTORS, HEADLINES)
