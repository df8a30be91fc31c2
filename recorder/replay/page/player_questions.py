"""What the page's player asks of a recording: its bounds, how dense it is, prices, articles.

In: a question with its parameters. Out: plain values, each bounded however much is recorded: prices as so many buckets,
articles as the newest ones, gaps as the longest ones. What cannot be asked is RequestInvalid, with what can.
Moments are milliseconds since 1970 UTC, as JavaScript has them. Only reads; asking off the event loop, and how much at
once, is questions.py's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from recorder.clock import MS_NS
from recorder.errors import RequestInvalid
from recorder.journal.lock import is_held
from recorder.partitions.layout import HOUR_NS
from recorder.replay.moments import point
from recorder.replay.page.questions import Asked, Question

BUCKETS_MAX, BUCKETS = 2_000, 400
POINTS_MAX, POINTS = 5_000, 1_000
ARTICLES_MAX, ARTICLES = 500, 50
GAPS_MAX = 500
SYMBOLS_MAX = 1_000
SYMBOL_CHARACTERS_MAX = 64
# Up to here messages are counted one by one: 10 million of them in some 0.1 s, of a day at 100/s. What is longer is
# made of the sums that sealing leaves, of an hour at most each: 7,000 rows a month of ten streams.
COUNTED_NS = 24 * HOUR_NS
# Of so much at either end the symbols are looked for: whoever asks for quotes asks for all of them at every frame.
SYMBOLS_WITHIN_NS = 6 * HOUR_NS
FRESH_S = 2.0  # a page in live asks again and again


@dataclass(frozen=True, slots=True)
class Span:
    """From a moment on, up to and without another; UTC nanoseconds."""

    from_ns: int
    to_ns: int

    @property
    def ends(self) -> tuple[int, int]:
        return self.from_ns, self.to_ns

    def width_ns(self, count: int) -> int:
        """Of each of so many buckets, which cover it."""
        return max(1, -(-(self.to_ns - self.from_ns) // count))

    def told(self, count: int) -> dict[str, float]:
        return {
            "from_ms": self.from_ns / MS_NS,
            "to_ms": self.to_ns / MS_NS,
            "bucket_ms": self.width_ns(count) / MS_NS,
        }


def bounds(asked: Asked) -> object:
    """`range.json`: first and last moment, feeds with their kinds, symbols of quotes.

    {"from_ms", "to_ms", "running", "feeds": [{"feed", "kind", "messages"}, …], "symbols": ["AAPL", …],
    "symbols_total"}; both moments are null where nothing is recorded, `running` says whether it goes on. Raises
    RequestInvalid.
    """
    _known(asked)
    span = _recorded(asked)
    if span is None:
        return {"from_ms": None, "to_ms": None, "running": False, "feeds": [], "symbols": [], "symbols_total": 0}
    connection = asked.connection(("traffic", "quotes"))
    feeds = connection.execute(
        "SELECT feed, feed_kind, sum(messages)::BIGINT, epoch_ns(min(first_at)), epoch_ns(max(received_at))"
        " FROM traffic WHERE kind = 'data' GROUP BY feed, feed_kind ORDER BY feed"
    ).fetchall()
    quoted = [(first_ns, last_ns) for _, kind, _, first_ns, last_ns in feeds if kind == "finance_query.quotes"]
    symbols = connection.execute(
        "SELECT DISTINCT symbol FROM quotes WHERE price IS NOT NULL AND"
        " (received_at <= make_timestamp_ns($first) OR received_at >= make_timestamp_ns($last)) ORDER BY 1",
        {
            "first": min((first_ns for first_ns, _ in quoted), default=0) + SYMBOLS_WITHIN_NS,
            "last": max((last_ns for _, last_ns in quoted), default=0) - SYMBOLS_WITHIN_NS,
        },
    ).fetchall()
    return {
        "from_ms": span.from_ns / MS_NS,
        "to_ms": span.to_ns / MS_NS,
        "running": is_held(asked.timeline.data),
        "feeds": [{"feed": feed, "kind": kind, "messages": count} for feed, kind, count, _, _ in feeds],
        "symbols": [symbol for (symbol,) in symbols[:SYMBOLS_MAX]],
        "symbols_total": len(symbols),
    }


def density(asked: Asked) -> object:
    """`density.json?from&to&buckets`: messages a bucket of each kind of feed, and the longest gaps, by their beginning.

    {"from_ms", "to_ms", "bucket_ms", "kinds": {"finlight": [0, 3, …], …}, "gaps": [{"feed", "channel", "since_ms",
    "until_ms", "cause"}, …], "gaps_total"}; `until_ms` of an open gap is null. Raises RequestInvalid.
    """
    _known(asked, "from", "to", "buckets")
    count = _count(asked, "buckets", BUCKETS, BUCKETS_MAX)
    if (span := _span(asked)) is None:
        return {"from_ms": None, "to_ms": None, "bucket_ms": None, "kinds": {}, "gaps": [], "gaps_total": 0}
    counted = span.to_ns - span.from_ns <= COUNTED_NS
    connection = asked.connection(("messages" if counted else "traffic", "lifecycle", "gaps"), span.ends)
    query = _COUNTED if counted else _SUMMED
    values = {"since": span.from_ns, "until": span.to_ns, "width": span.width_ns(count)}
    kinds: dict[str, list[int]] = {}
    for kind, bucket, messages in connection.execute(query, values).fetchall():
        kinds.setdefault(kind, [0] * count)[bucket] = round(messages)
    gaps = connection.execute(_GAPS, {"since": span.from_ns, "until": span.to_ns}).fetchall()
    return {
        **span.told(count),
        "kinds": kinds,
        "gaps": [
            dict(zip(("feed", "channel", "since_ms", "until_ms", "cause"), gap, strict=True))
            for gap in sorted((row[:5] for row in gaps), key=lambda row: (row[2], row[0], row[1]))
        ],
        "gaps_total": gaps[0][5] if gaps else 0,
    }


_COUNTED = """
    SELECT feed_kind, (epoch_ns(received_at) - $since) // $width, count(*)
    FROM messages
    WHERE kind = 'data' AND received_at >= make_timestamp_ns($since) AND received_at < make_timestamp_ns($until)
    GROUP BY ALL
"""

# A row that reaches over several buckets is spread over them evenly; one more nanosecond, so that none is of no length.
_SUMMED = """
    WITH rows_of AS (
        SELECT feed_kind, messages, epoch_ns(first_at) AS first_ns, epoch_ns(received_at) + 1 AS end_ns
        FROM traffic
        WHERE kind = 'data' AND received_at >= make_timestamp_ns($since) AND first_at < make_timestamp_ns($until)
    ),
    spread AS (
        SELECT *, unnest(range((greatest(first_ns, $since) - $since) // $width,
            (least(end_ns, $until) - 1 - $since) // $width + 1)) AS bucket
        FROM rows_of
    )
    SELECT feed_kind, bucket, sum(messages * (least(end_ns, $until, $since + (bucket + 1) * $width)
        - greatest(first_ns, $since + bucket * $width)) / (end_ns - first_ns))
    FROM spread GROUP BY ALL
"""

_GAPS = f"""
    SELECT feed, channel, epoch_ns(since_at) / 1e6, epoch_ns(until_at) / 1e6, cause, count(*) OVER ()
    FROM gaps
    WHERE since_at < make_timestamp_ns($until)
        AND coalesce(until_at, make_timestamp_ns($until)) > make_timestamp_ns($since)
    ORDER BY coalesce(epoch_ns(until_at), $until) - epoch_ns(since_at) DESC LIMIT {GAPS_MAX}
"""  # noqa: S608 - a constant


def prices(asked: Asked) -> object:
    """`prices.json?symbol&from&to&points`: of each bucket with a price: when the last came, the extremes, the last.

    {"symbol", "from_ms", "to_ms", "bucket_ms", "at_ms": […], "low": […], "high": […], "last": […]}: the columns are as
    long as there are buckets with prices. Raises RequestInvalid.
    """
    _known(asked, "symbol", "from", "to", "points")
    symbol = _symbol(asked)
    if symbol is None:
        raise RequestInvalid("symbol", None, "a symbol as it stands in quotes; /page/range.json has them")
    count = _count(asked, "points", POINTS, POINTS_MAX)
    if (span := _span(asked)) is None:
        return {"symbol": symbol, "from_ms": None, "to_ms": None, "bucket_ms": None} | {name: [] for name in _PRICES}
    values = {"symbol": symbol, "since": span.from_ns, "until": span.to_ns, "width": span.width_ns(count)}
    rows = asked.connection(("quotes",), span.ends).execute(_PRICED, values).fetchall()
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in _PRICES]
    return {"symbol": symbol, **span.told(count), **dict(zip(_PRICES, columns, strict=True))}


_PRICES = ("at_ms", "low", "high", "last")
_PRICED = """
    SELECT epoch_ns(max(received_at)) / 1e6, min(price), max(price), arg_max(price, position)
    FROM quotes
    WHERE symbol = $symbol AND price IS NOT NULL AND coalesce(mark NOT LIKE '%double%', true)
        AND received_at >= make_timestamp_ns($since) AND received_at < make_timestamp_ns($until)
    GROUP BY (epoch_ns(received_at) - $since) // $width ORDER BY 1
"""


_ARTICLE = {
    "position": "position",
    "at_ms": "epoch_ns(received_at) / 1e6",
    "feed": "feed",
    "title": "title",
    "source": "source",
    "link": "link",
    "sentiment": "sentiment",
    "confidence": "confidence",
    "tickers": "tickers",
    "published_ms": "epoch_ns(publish_date) / 1e6",
    "is_update": "is_update",
    "mark": "mark",
}


def articles(asked: Asked) -> object:
    """`articles.json?from&to&symbol&count`: {"articles": […]}, newest first, each with the keys of _ARTICLE.

    Each revision of an article comes once, as it first arrived. `symbol`: only those about it. Raises RequestInvalid.
    """
    _known(asked, "symbol", "from", "to", "count")
    symbol = _symbol(asked)
    count = _count(asked, "count", ARTICLES, ARTICLES_MAX)
    if (span := _span(asked)) is None:
        return {"articles": []}
    connection = asked.connection(("articles",), span.ends)
    # Which ones first: their texts are read of those alone.
    found = connection.execute(
        """
        SELECT min(position) FROM articles
        WHERE received_at >= make_timestamp_ns($since) AND received_at < make_timestamp_ns($until)
            AND ($symbol::VARCHAR IS NULL OR list_contains(tickers, upper($symbol)))
        GROUP BY link, revised_date ORDER BY 1 DESC LIMIT $count
        """,
        {"since": span.from_ns, "until": span.to_ns, "symbol": symbol, "count": count},
    ).fetchall()
    if not found:
        return {"articles": []}
    columns = ", ".join(f"{origin} AS {name}" for name, origin in _ARTICLE.items())
    positions = [position for (position,) in found]
    rows = connection.execute(
        f"SELECT {columns} FROM articles WHERE position BETWEEN $first AND $last AND list_contains($wanted, position)"  # noqa: S608
        " ORDER BY position DESC",
        {"first": positions[-1], "last": positions[0], "wanted": positions},
    ).fetchall()
    return {"articles": [dict(zip(_ARTICLE, row, strict=True)) for row in rows]}


QUESTIONS = (
    Question("range.json", bounds, FRESH_S),
    Question("density.json", density, FRESH_S),
    Question("prices.json", prices, FRESH_S),
    Question("articles.json", articles, FRESH_S),
)


def _known(asked: Asked, *names: str) -> None:
    for name in asked.parameters:
        if name not in names and name != "token":
            raise RequestInvalid("parameter", name, ", ".join(names) or "none is needed")


def _recorded(asked: Asked) -> Span | None:
    """Everything; None where there is nothing yet."""
    found = asked.timeline.bounds() if asked.recorded else None
    return None if found is None else Span(found.first_received_ns, found.last_received_ns + 1)


def _span(asked: Asked) -> Span | None:
    """What is asked for, of all that is recorded where nothing else is said; None where nothing is."""
    from_ns, to_ns = _moment(asked, "from"), _moment(asked, "to")
    if from_ns is not None and to_ns is not None and to_ns <= from_ns:
        raise RequestInvalid("to", asked.parameters["to"], "a moment behind `from`, which is not included")
    if (recorded := _recorded(asked)) is None:
        return None
    from_ns = recorded.from_ns if from_ns is None else from_ns
    return Span(from_ns, max(from_ns + 1, recorded.to_ns if to_ns is None else to_ns))


def _moment(asked: Asked, name: str) -> int | None:
    if (text := asked.parameters.get(name)) is None:
        return None
    if (ns := point(name, text).ns) is None:
        raise RequestInvalid(name, text, "2026-01-31T12:00:00.123456789Z, or an epoch in s, ms or ns")
    return ns


def _count(asked: Asked, name: str, otherwise: int, most: int) -> int:
    text = asked.parameters.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
        raise RequestInvalid(name, text, f"1 to {most}")
    return int(text)


def _symbol(asked: Asked) -> str | None:
    text = asked.parameters.get("symbol")
    if text is not None and not (1 <= len(text) <= SYMBOL_CHARACTERS_MAX and text.isprintable()):
        raise RequestInvalid("symbol", text, f"1 to {SYMBOL_CHARACTERS_MAX} characters")
    return text
