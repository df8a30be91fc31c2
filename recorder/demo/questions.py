"""What one would ask a recording: a few statements that show what is in it. Text only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    title: str
    sql: str


QUESTIONS = (
    Question(
        "Last prices",
        """
SELECT symbol, arg_max(price, position) AS price, min(price) AS low,
    max(price) AS high, arg_max(percent_change, position) AS percent,
    count(*) AS quotes
FROM quotes GROUP BY symbol ORDER BY symbol""",
    ),
    Question(
        "Bars of five seconds; for hours say INTERVAL 1 HOUR",
        """
SELECT time_bucket(INTERVAL 5 SECOND, received_at) AS bar,
    arg_min(price, position) AS open, max(price) AS high, min(price) AS low,
    arg_max(price, position) AS close, count(*) AS quotes
FROM quotes WHERE symbol = 'NVDA' GROUP BY bar ORDER BY bar DESC LIMIT 5""",
    ),
    Question(
        "News, each with the price its company had at that moment",
        """
SELECT strftime(a.received_at, '%H:%M:%S.%g') AS at, a.ticker, q.price,
    a.sentiment, left(a.title, 36) AS title
FROM (FROM articles SELECT *, unnest(tickers) AS ticker) a
ASOF JOIN quotes q ON a.ticker = q.symbol AND a.received_at >= q.received_at
WHERE a.feed = 'news' ORDER BY a.position DESC LIMIT 5""",
    ),
    Question(
        "Rotations of the news: messages both connections brought, and only one",
        """
SELECT strftime(received_at, '%H:%M:%S.%g') AS at, feed, old, new,
    proof, "both", only_old, only_new, round(overlap_ms) AS overlap_ms
FROM lifecycle WHERE event = 'rotation.done' AND feed IN ('news', 'wire')
ORDER BY position DESC LIMIT 5""",
    ),
    Question(
        "Gaps, each with its cause",
        """
SELECT strftime(since_at, '%H:%M:%S.%g') AS since, feed, channel,
    round(seconds, 3) AS seconds, left(cause, 40) AS cause
FROM gaps WHERE cause <> 'start' AND until_at IS NOT NULL
ORDER BY gaps.seconds DESC LIMIT 8""",
    ),
)
