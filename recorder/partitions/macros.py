"""Questions with parameters: table macros in the catalogue, the same in process. Pure.

In: nothing. Out: for each macro its parameters, its columns and one query, understood by every DuckDB from 1.5 on and
kept in the catalogue's storage version. They name the views as they are: who attaches the catalogue under another name
says `USE` first.

What counts once:

- The snapshot at subscription (`initial`) of /quotes is a true price of its moment, and all there is of a channel that
  is polled: prices count it. The second frame at connect (mark `double`) is the same observation again: nobody does.
- The snapshot of a news feed is the newest article again, and what was fetched over REST came when we asked for it:
  neither arrived when it was news, so what asks how prices moved leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Macro:
    """`parameters` are names, with their default where they have one, and what they mean; `columns` in order."""

    name: str
    description: str
    parameters: Mapping[str, str]
    columns: Mapping[str, str]
    query: str

    @property
    def signature(self) -> str:
        return ", ".join(self.parameters)


# Constants are folded before filters are pushed into the scan: with a symbol given, DuckDB reads only what may hold it.
_WANTED = """q.price IS NOT NULL AND coalesce(q.mark NOT LIKE '%double%', true)
        AND (symbol IS NULL OR q.symbol = symbol)
        AND (since IS NULL OR q.received_at >= since::TIMESTAMP_NS)
        AND (until IS NULL OR q.received_at < until::TIMESTAMP_NS)"""


def _truncated(moment: str) -> str:
    """In microseconds, to which an interval can be added: DuckDB 2.0 rounds up, into the next bar."""
    return f"make_timestamp(epoch_ns({moment}) // 1000)"


_SYMBOL = {"symbol": "Yahoo's symbol, as it stands in quotes; NULL for all"}
_RANGE = {
    "since := NULL": "received at this moment or later, UTC; NULL: from the beginning",
    "until := NULL": "received before this moment, UTC; NULL: up to the end",
}

OHLC = Macro(
    "ohlc",
    "Prices of one symbol, or of all, as bars: ohlc('AAPL', '1 minute', since := '2026-11-20')",
    {**_SYMBOL, '"interval"': "length of a bar: '1 minute', INTERVAL 1 HOUR, …", **_RANGE},
    {
        "symbol": "Yahoo's symbol",
        "begin_at": "beginning of the bar, UTC",
        "open": "first price in it",
        "high": "highest",
        "low": "lowest",
        "close": "last price in it",
        "quotes": "prices that came in it; a bar without any is missing",
    },
    f"""
    SELECT q.symbol, time_bucket("interval"::INTERVAL, {_truncated("q.received_at")}) AS begin_at,
        arg_min(q.price, q.position) AS open, max(q.price) AS high, min(q.price) AS low,
        arg_max(q.price, q.position) AS close, count(*) AS quotes
    FROM quotes q
    WHERE {_WANTED}
    GROUP BY 1, 2
    """,  # noqa: S608 - from the lines above
)

LAST_QUOTES = Macro(
    "last_quotes",
    "The last quote of each symbol at a moment: last_quotes('2026-11-20 15:30:00'), last_quotes(NULL) for now",
    {"moment": "received at this moment or before, UTC; NULL: up to the end"},
    {
        "symbol": "Yahoo's symbol",
        "received_at": "when it arrived, UTC",
        "price": "last price",
        "change": "since the previous close",
        "percent_change": "since the previous close, percent",
        "pre_market_price": "price before the open",
        "after_hours_price": "price after the close",
        "feed": "name of the feed",
        "position": "number of the message",
    },
    """
    SELECT symbol, last.received_at, last.price, last.change, last.percent_change, last.pre_market_price,
        last.after_hours_price, last.feed, position
    FROM (
        SELECT q.symbol AS symbol, max(q.position) AS position,
            arg_max({'received_at': q.received_at, 'price': q.price, 'change': q.change,
                'percent_change': q.percent_change, 'pre_market_price': q.pre_market_price,
                'after_hours_price': q.after_hours_price, 'feed': q.feed}, q.position) AS last
        FROM quotes q
        WHERE (moment IS NULL OR q.received_at <= moment::TIMESTAMP_NS) AND coalesce(q.mark NOT LIKE '%double%', true)
        GROUP BY q.symbol
    )
    """,
)

NEWS_WITH_QUOTES = Macro(
    "news_with_quotes",
    "Articles about a symbol, or about any, with the last price before each and the last one within a window after it: "
    "news_with_quotes('NVDA', '5 minutes')",
    {**_SYMBOL, '"window"': "how long after the article: '5 minutes', INTERVAL 1 HOUR, …", **_RANGE},
    {
        "position": "number of the article's message",
        "received_at": "when the article arrived, UTC",
        "symbol": "ticker it is about; an article about several has a row each",
        "title": "headline",
        "link": "URL",
        "sentiment": "positive, neutral or negative",
        "confidence": "of the sentiment, 0 to 1",
        "is_update": "delivered because of a revision",
        "price_before": "last price that came before it; NULL: none yet",
        "before_at": "when that came, UTC",
        "price_after": "last price that came after it and within the window; NULL: none did",
        "after_at": "when that came, UTC",
        "move_percent": "from the one to the other, percent",
    },
    f"""
    WITH mentions AS (
        SELECT a.position, a.received_at, unnest(a.tickers) AS ticker, a.title, a.link, a.sentiment, a.confidence,
            a.is_update
        FROM articles a
        WHERE NOT a.initial AND a.origin = 'wire'
            AND (since IS NULL OR a.received_at >= since::TIMESTAMP_NS)
            AND (until IS NULL OR a.received_at < until::TIMESTAMP_NS)
    ),
    wanted AS (
        SELECT *, epoch_ns({_truncated("received_at")} + "window"::INTERVAL) AS end_ns FROM mentions
        WHERE symbol IS NULL OR ticker = symbol
    ),
    prices AS (
        SELECT q.symbol AS ticker, q.position AS quoted, q.received_at AS quoted_at,
            epoch_ns(q.received_at) AS quoted_ns, q.price AS price
        FROM quotes q
        WHERE q.price IS NOT NULL AND (symbol IS NULL OR q.symbol = symbol)
            AND coalesce(q.mark NOT LIKE '%double%', true)
    ),
    before AS (
        SELECT wanted.*, prices.price AS price_before, prices.quoted_at AS before_at
        FROM wanted ASOF LEFT JOIN prices ON prices.ticker = wanted.ticker AND prices.quoted < wanted.position
    ),
    both_sides AS (
        SELECT before.*, CASE WHEN prices.quoted > before.position THEN prices.price END AS price_after,
            CASE WHEN prices.quoted > before.position THEN prices.quoted_at END AS after_at
        FROM before ASOF LEFT JOIN prices ON prices.ticker = before.ticker AND prices.quoted_ns <= before.end_ns
    )
    SELECT position, received_at, ticker AS symbol, title, link, sentiment, confidence, is_update,
        price_before, before_at, price_after, after_at, (price_after / price_before - 1) * 100 AS move_percent
    FROM both_sides
    """,  # noqa: S608 - from the lines above
)

MACROS = (OHLC, LAST_QUOTES, NEWS_WITH_QUOTES)
