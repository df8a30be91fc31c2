"""What real frames become, asked in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from recorder import lifecycle
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.catalog import connect

Append = Callable[[Path, Iterable[Message], int], None]
Frame = Callable[[str], bytes]
Sql = Callable[[str], list[tuple[Any, ...]]]

SECOND_NS = 10**9
START_NS = 1_795_291_140 * SECOND_NS  # 2026-11-21T19:59:00Z

ARTICLE = (
    b'{"action":"sendArticle","data":{"link":"https://www.reuters.com/a/1","source":"www.reuters.com",'
    b'"title":"Nvidia headline","summary":"\xe2\x80\xa6","publishDate":"2026-05-26T15:48:28.000Z",'
    b'"createdAt":"2026-05-26T15:48:31.512Z","language":"en","sentiment":"positive","confidence":"0.9512",'
    b'"images":["https://www.reuters.com/img/1.jpg"],"content":null,"categories":["markets","technology"],'
    b'"countries":["US"],"companies":[{"companyId":42,"confidence":"0.99","country":"United States",'
    b'"exchange":"NASDAQ","industry":"Semiconductors","sector":"Technology","name":"NVIDIA Corp","ticker":"NVDA",'
    b'"isin":"US67066G1040","openfigi":"BBG000BBJQV0","primaryListing":{"ticker":"NVDA","exchangeCode":"NASDAQ",'
    b'"exchangeCountry":"US"},"isins":["US67066G1040"],'
    b'"otherListings":[{"ticker":"NVD","exchangeCode":"XETRA","exchangeCountry":"DE"}]}]}}'
)


@pytest.fixture
def recorded(tmp_path: Path, journal: Append) -> Callable[..., duckdb.DuckDBPyConnection]:
    """A connection to a recording of these (feed kind, payload), one a second."""

    def record(*frames: tuple[str, bytes], channel: str = "", mark: Mark = Mark.NONE) -> duckdb.DuckDBPyConnection:
        messages = [
            Message(1 + at, Stream("f", kind, channel), Kind.DATA, mark, START_NS + at * SECOND_NS, at, 1, payload)
            for at, (kind, payload) in enumerate(frames)
        ]
        journal(tmp_path, messages, 7)
        return connect(tmp_path)

    return record


Recorded = Callable[..., duckdb.DuckDBPyConnection]


def test_article_of_the_protocol_page_is_typed_in_full(recorded: Recorded) -> None:
    sql = recorded(("finlight", ARTICLE), mark=Mark.INITIAL).sql
    assert sql(
        "SELECT position, initial, link, source, title, summary, publish_date::TIMESTAMP, created_at::TIMESTAMP,"
        " revised_date, is_update, language, sentiment, confidence, tickers, categories, countries, images, content"
        " FROM articles"
    ).fetchall() == [
        (
            1,
            True,
            "https://www.reuters.com/a/1",
            "www.reuters.com",
            "Nvidia headline",
            "…",
            datetime(2026, 5, 26, 15, 48, 28),
            datetime(2026, 5, 26, 15, 48, 31, 512000),
            None,
            None,
            "en",
            "positive",
            0.9512,
            ["NVDA"],
            ["markets", "technology"],
            ["US"],
            ["https://www.reuters.com/img/1.jpg"],
            None,
        )
    ]
    ((company,),) = sql("SELECT companies[1] FROM articles WHERE list_contains(tickers, 'NVDA')").fetchall()
    assert company["company_id"] == 42
    assert company["confidence"] == 0.99
    assert company["primary_listing"] == {"ticker": "NVDA", "exchange_code": "NASDAQ", "exchange_country": "US"}
    assert company["other_listings"] == [{"ticker": "NVD", "exchange_code": "XETRA", "exchange_country": "DE"}]


def test_articles_with_odd_values_keep_what_is_sound(recorded: Recorded) -> None:
    def article(**fields: Any) -> tuple[str, bytes]:
        return "finlight", orjson.dumps({"action": "sendArticle", "data": {"link": "u", **fields}})

    sql = recorded(
        article(confidence=0.5, images=["a", None], companies=[{"name": "No ticker"}, None, 3]),
        article(confidence="", publishDate="2026-05-26 15:48:28.123456789", isUpdate=True),
        ("finlight", b'{"action":"admit"}'),
        ("finlight", b'{"action":"sendArticle","data":{"title":"no link"}}'),
        article(companies=[{"ticker": "A"}, {"ticker": "B"}, {"ticker": "A"}], revisedDate="2026-05-27"),
    ).sql
    assert sql("SELECT position, confidence, images, len(companies), tickers, is_update FROM articles").fetchall() == [
        (1, 0.5, ["a", None], 3, [], None),
        (2, None, None, None, None, True),
        (5, None, None, 3, ["A", "B"], None),
    ]
    assert sql("SELECT epoch_ns(publish_date) % 1000000000 FROM articles WHERE position = 2").fetchall() == [
        (123456789,)
    ]
    assert sql("SELECT count(*) FROM messages").fetchall() == [(5,)]


def test_quotes_are_one_row_a_symbol(recorded: Recorded, frame: Frame) -> None:
    kind = "finance_query.quotes"
    sql = recorded((kind, frame("quotes.1")), (kind, frame("quotes.2")), (kind, frame("quotes.4"))).sql
    assert sql(
        "SELECT position, symbol, price, change, percent_change, pre_market_price, after_hours_price FROM quotes"
        " WHERE symbol IN ('BTC-USD', 'NVDA') ORDER BY position"
    ).fetchall() == [
        (1, "BTC-USD", 59112.48, 0.0, 0.0, None, None),
        (2, "BTC-USD", 59148.67, 36.19, 0.06, None, None),
        (3, "NVDA", 300.0, -2.0, -0.67, 305.0, 298.0),
    ]
    assert sql("SELECT count(*), count(name), count(logo) FROM quotes").fetchall() == [(10, 10, 10)]


def test_market_hours(recorded: Recorded, frame: Frame) -> None:
    kind = "finance_query.hours"
    sql = recorded((kind, frame("hours.1")), (kind, frame("hours.3"))).sql
    assert sql("SELECT status, reason, server_time::TIMESTAMP FROM market_hours").fetchall() == [
        ("Open", "Regular trading hours", datetime(2026, 11, 18, 15, 30, 5, 396084)),
        ("Closed", "Weekend", datetime(2025, 3, 16, 1, 34, 18, 130233)),
    ]


def test_profiles_with_every_field_and_with_none(recorded: Recorded, frame: Frame) -> None:
    kind = "finance_query.profile"
    sql = recorded(
        (kind, frame("profile.5")), (kind, frame("profile.4")), (kind, frame("profile.3")), channel="AAPL"
    ).sql
    later = (date(2024, 4, 23), date(2024, 4, 23), date(2020, 1, 1), 150000, -19.35, 22857.89)
    assert sql(
        "SELECT symbol, price, open, volume, avg_volume, market_cap, dividend_yield, ex_dividend, net_assets,"
        " expense_ratio, morningstar_rating, earnings_from, earnings_to, inception, employees, five_days_return,"
        " max_return FROM profiles WHERE position = 1"
    ).fetchall() == [("AAPL", 145.0, 144.0, 1000000, 2000000, 2.5e12, 1.3, date(2024, 2, 5), 10.5e9, 0.05, 2, *later)]
    row = sql("SELECT COLUMNS(* EXCLUDE (mark)) FROM profiles WHERE position = 1").fetchall()[0]
    assert None not in row, "the page's example has every field"
    assert sql("SELECT position, symbol, sector FROM profiles").fetchall()[1:] == [(3, "SPY", None)]
    assert sql("SELECT position, symbol, sector, day_return FROM sectors").fetchall() == [
        (1, "AAPL", "Technology", -0.69)
    ]
    assert sql("SELECT symbol, title, age FROM headlines WHERE position = 1").fetchall() == [
        ("AAPL", "New iPhone Released!", "1 day ago")
    ]
    assert sql("SELECT channel, symbol, price, change FROM similar_symbols WHERE position = 1").fetchall() == [
        ("AAPL", "NVDA", 142.62, -4.6)
    ]


def test_market_becomes_movers_indices_sectors_and_headlines(recorded: Recorded, frame: Frame) -> None:
    kind = "finance_query.market"
    sql = recorded((kind, frame("market.1")), (kind, frame("market.3"))).sql
    assert sql(
        'SELECT "list", count(*), min(rank), max(rank) FROM movers WHERE position = 1 GROUP BY ALL ORDER BY 1'
    ).fetchall() == [
        ("actives", 50, 1, 50),
        ("gainers", 50, 1, 50),
        ("losers", 50, 1, 50),
    ]
    assert sql("SELECT count(*) FROM indices WHERE position = 1").fetchall() == [(73,)]
    assert sql("SELECT value, change, ten_year_return FROM indices WHERE position = 2 LIMIT 1").fetchall() == [
        (4300.0, 10.0, 2005.31)
    ]
    assert sql("SELECT sector, year_return FROM sectors WHERE position = 2 AND symbol IS NULL LIMIT 1").fetchall() == [
        ("Technology", 24.0)
    ]
    assert sql("SELECT source, image, age FROM headlines WHERE position = 2").fetchall() == [
        ("TechCrunch", "https://www.example.com/image.jpg", "1 day ago")
    ]


def at(second: float) -> int:
    return START_NS + int(second * SECOND_NS)


def entries(*events: tuple[float, int, str, dict[str, Any]], feed: str = "news") -> list[Message]:
    return [
        Message(
            1 + index,
            Stream("recorder", "recorder") if event.startswith("recorder.") else Stream(feed, "finlight"),
            Kind.LIFECYCLE,
            Mark.NONE,
            at(second),
            0,
            connection,
            lifecycle.entry(event, **fields),
        )
        for index, (second, connection, event, fields) in enumerate(events)
    ]


def test_connections_are_one_row_each_whatever_became_of_them(tmp_path: Path, journal: Append) -> None:
    messages = entries(
        (0, 0, "recorder.started", {"version": "0", "pid": 1}),
        (1, 1, "connection.dialled", {"url": "wss://u", "purpose": "start"}),
        (2, 1, "connection.opened", {"handshake_ms": 12.5}),
        (3, 1, "connection.proven", {"after_ms": 900}),
        (4, 2, "connection.dialled", {"url": "wss://u", "purpose": "redial"}),
        (5, 2, "connection.refused", {"status": 429, "retry_s": 60, "cause": "limit"}),
        (6, 3, "connection.dialled", {"url": "wss://u", "purpose": "redial"}),
        (7, 3, "connection.failed", {"error": "no route", "retry_s": 1}),
        (8, 1, "connection.closed", {"code": 1001, "reason": "Going away", "by": "upstream", "cause": "c"}
            | {"frames": 7, "bytes": 700, "last_received_ns": at(7.5)}),
        (9, 4, "connection.dialled", {"url": "wss://u", "purpose": "redial"}),
        (10, 0, "recorder.started", {"version": "0", "pid": 2}),
        (11, 5, "connection.dialled", {"url": "wss://u", "purpose": "start"}),
        (12, 5, "connection.opened", {"handshake_ms": 1.0}),
    )  # fmt: skip
    journal(tmp_path, messages, 3)
    rows = connect(tmp_path).sql(
        'SELECT connection, outcome, purpose, status, code, reason, "by", frames, bytes, last_received_at::TIMESTAMP,'
        " epoch(ended_at) - epoch(dialled_at), handshake_ms FROM connections ORDER BY connection"
    )
    last_received = datetime(2026, 11, 21, 19, 59, 7, 500000)
    assert rows.fetchall() == [
        (1, "closed", "start", None, 1001, "Going away", "upstream", 7, 700, last_received, 7.0, 12.5),
        (2, "refused", "redial", 429, None, None, None, None, None, None, 1.0, None),
        (3, "failed", "redial", None, None, "no route", None, None, None, None, 1.0, None),
        (4, "lost", "redial", None, None, None, None, None, None, None, None, None),
        (5, "open", "start", None, None, None, None, None, None, None, None, 1.0),
    ]


def test_gaps_are_one_row_each_and_open_ones_have_no_end(tmp_path: Path, journal: Append) -> None:
    messages = entries(
        (1, 0, "gap.opened", {"since_ns": at(0.5), "cause": "closed"}),
        (3, 0, "gap.closed", {"since_ns": at(0.5), "until_ns": at(3), "cause": "closed"}),
        (9, 0, "gap.closed", {"since_ns": at(7), "until_ns": at(8), "cause": "crash"}),
        (10, 0, "gap.opened", {"since_ns": at(9), "cause": "refused"}),
    )
    journal(tmp_path, messages, 3)
    rows = connect(tmp_path).sql("SELECT feed, seconds, until_at IS NULL, cause FROM gaps ORDER BY since_at").fetchall()
    assert rows == [("news", 2.5, False, "closed"), ("news", 1.0, False, "crash"), ("news", None, True, "refused")]


def test_coverage_divides_gaps_among_the_days_they_touch(tmp_path: Path, journal: Append) -> None:
    day = 86400
    midnight = 4 * 3600 + 60  # seconds from START_NS to the next day
    data = [
        Message(position, Stream("news", "finlight"), Kind.DATA, Mark.NONE, at(second), 0, 1, b"12345")
        for position, second in ((1, 0), (2, midnight + 50), (5, midnight + day + 100))
    ]
    gap = entries(
        (midnight + 20, 0, "gap.opened", {"since_ns": at(midnight - 10), "cause": "closed"}),
        (
            midnight + 20,
            0,
            "gap.closed",
            {"since_ns": at(midnight - 10), "until_ns": at(midnight + 20), "cause": "closed"},
        ),
        (midnight + day + 90, 0, "gap.opened", {"since_ns": at(midnight + day + 90), "cause": "refused"}),
    )
    ordered = sorted([*data, *gap], key=lambda message: message.received_ns)
    messages = [
        Message(1 + index, m.stream, m.kind, m.mark, m.received_ns, 0, 0, m.payload) for index, m in enumerate(ordered)
    ]
    journal(tmp_path, messages, 2)
    rows = connect(tmp_path).sql(
        "SELECT day::VARCHAR, seconds, seconds_covered, gaps, causes, messages, bytes FROM coverage ORDER BY day"
    )
    assert rows.fetchall() == [
        ("2026-11-21", midnight, midnight - 10, 1, ["closed"], 1, 5),
        ("2026-11-22", day, day - 20, 1, ["closed"], 1, 5),
        ("2026-11-23", 100.0, 90.0, 1, ["refused"], 1, 5),
    ]


def test_coverage_ends_where_a_feed_was_taken_out_and_goes_on_when_it_comes_back(
    tmp_path: Path, journal: Append
) -> None:
    day = 86400
    other = Stream("hours", "finance_query.hours")
    came = [Message(1, Stream("news", "finlight"), Kind.DATA, Mark.NONE, at(0), 0, 1, b"12345")]
    out = entries(
        (100, 0, "gap.opened", {"since_ns": at(90), "cause": "removed"}),
        (100, 0, "gap.closed", {"since_ns": at(90), "until_ns": at(100), "cause": "removed"}),
        (100, 0, "channel.removed", {"since_ns": at(100)}),
    )
    goes_on = [Message(9, other, Kind.DATA, Mark.NONE, at(2 * day), 0, 2, b"{}")]
    back = entries((2 * day + 7, 0, "gap.opened", {"since_ns": at(100), "cause": "removed"}))

    def coverage(data: Path, *messages: Message) -> list[tuple[object, ...]]:
        journal(data, [replace(message, position=1 + n) for n, message in enumerate(messages)], 2)
        query = "SELECT seconds, seconds_covered, causes FROM coverage WHERE feed = 'news' ORDER BY day"
        return connect(data).sql(query).fetchall()

    for folder in ("out", "back"):
        (tmp_path / folder).mkdir()
    assert coverage(tmp_path / "out", *came, *out, *goes_on) == [(100.0, 90.0, ["removed"])]
    (first, *rest) = coverage(tmp_path / "back", *came, *out, *goes_on, *back)
    assert first[1:] == (90.0, ["removed"])
    assert [each[1] for each in rest] == [0.0, 0.0], "whoever wants it again has not had it meanwhile"


FETCHED = ARTICLE.removeprefix(b'{"action":"sendArticle","data":')[:-1]


def test_what_was_fetched_to_fill_a_gap_is_an_article_of_another_origin(tmp_path: Path, journal: Append) -> None:
    news = Stream("news", "finlight")
    frames = [(Mark.NONE, 3, ARTICLE), (Mark.REST, 0, FETCHED), (Mark.ODD, 3, FETCHED), (Mark.REST, 0, b'{"link":7}')]
    messages = [
        Message(1 + at, news, Kind.DATA, mark, START_NS + at * SECOND_NS, at, connection, payload)
        for at, (mark, connection, payload) in enumerate(frames)
    ]
    journal(tmp_path, messages, 7)
    sql = connect(tmp_path).sql
    found = sql("SELECT position, origin, mark, title, tickers FROM articles ORDER BY position").fetchall()
    assert found == [(1, "wire", None, "Nvidia headline", ["NVDA"]), (2, "rest", "rest", "Nvidia headline", ["NVDA"])]
    assert sql("SELECT text FROM messages WHERE position = 2").fetchall() == [(FETCHED.decode(),)]
    assert sql("SELECT sum(messages) FROM coverage").fetchall() == [(2,)], "frames received, and nothing else"


def test_a_gap_tells_how_far_it_was_filled(tmp_path: Path, journal: Append) -> None:
    def at(second: int) -> int:
        return START_NS + second * SECOND_NS

    gap = {"since_ns": at(0), "until_ns": at(2)}
    facts = {"already": 1, "pages": 1, "complete": False, "again_ns": at(9)}
    entries = [
        lifecycle.entry("gap.opened", since_ns=at(0), cause="silent"),
        lifecycle.entry("gap.closed", **gap, cause="silent"),
        lifecycle.entry("gap.repaired", **gap, **facts, recovered=3, late_pass=False, repair="looked once"),
        lifecycle.entry("gap.repaired", **gap, **facts, recovered=1, late_pass=True, repair="complete"),
        lifecycle.entry("gap.opened", since_ns=at(5), cause="closed"),
    ]
    news = Stream("news", "finlight")
    messages = [Message(1 + n, news, Kind.LIFECYCLE, Mark.NONE, at(n), n, 0, entry) for n, entry in enumerate(entries)]
    journal(tmp_path, messages, 7)
    columns = "seconds, cause, recovered, epoch_ns(repaired_at), repair"
    found = connect(tmp_path).sql(f"SELECT {columns} FROM gaps ORDER BY since_at").fetchall()
    assert found == [(2.0, "silent", 4, at(3), "complete"), (None, "closed", None, None, None)]
