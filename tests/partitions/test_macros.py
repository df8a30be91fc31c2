"""Questions with parameters, asked of a quarter of an hour in which every kind of repetition occurs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from recorder.clock import SECOND_NS
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import catalog, macros
from recorder.partitions.seal import seal

Append = Callable[[Path, Iterable[Message], int], None]
Ask = Callable[[str], list[tuple[Any, ...]]]

NOON_NS = 1_795_262_400 * SECOND_NS  # 2026-11-21T12:00:00Z
NEWS, QUOTES = Stream("news", "finlight"), Stream("prices", "finance_query.quotes")


def quotes(**prices: float | None) -> list[dict[str, str]]:
    return [{"symbol": s, "name": s} | ({} if p is None else {"price": f"{p:.2f}"}) for s, p in prices.items()]


def article(link: str, *tickers: str) -> dict[str, Any]:
    companies = [{"companyId": 1, "name": t, "ticker": t, "confidence": "0.9"} for t in tickers]
    data = {"link": link, "title": link, "source": "s", "language": "en", "publishDate": "2026-11-21T11:59:00Z"}
    return {"action": "sendArticle", "data": data | {"sentiment": "positive", "companies": companies}}


# Seconds after noon, what came, and its mark.
CAME: list[tuple[float, Stream, Any, Mark]] = [
    (0, QUOTES, quotes(A=10, B=50), Mark.INITIAL),
    (0.1, QUOTES, quotes(A=10, B=50), Mark.DOUBLE),
    (1, NEWS, article("old", "A"), Mark.INITIAL),
    (20, QUOTES, quotes(A=12, B=51), Mark.NONE),
    (40, QUOTES, quotes(A=9, B=None), Mark.NONE),
    (59.999999999, QUOTES, quotes(A=11), Mark.NONE),
    (60, QUOTES, quotes(A=20), Mark.NONE),
    (61, NEWS, article("both", "A", "B"), Mark.NONE),
    (62, NEWS, article("unknown", "C"), Mark.NONE),
    (120, QUOTES, quotes(A=22, B=40), Mark.NONE),
    (130, NEWS, article("fetched", "A"), Mark.REST),
    (360, QUOTES, quotes(A=25, B=None), Mark.NONE),
    (900, NEWS, article("last", "A"), Mark.NONE),
]


@pytest.fixture
def data(tmp_path: Path, journal: Append) -> Path:
    came = [
        Message(n, stream, Kind.DATA, mark, NOON_NS + round(s * SECOND_NS), 0, 1, orjson.dumps(frame))
        for n, (s, stream, frame, mark) in enumerate(CAME, 1)
    ]
    journal(tmp_path, came, 4)
    return tmp_path


@pytest.fixture(params=["in process", "catalogue"])
def ask(data: Path, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Rows of a statement; moments as seconds after noon. All is sealed in the catalogue, nothing in process."""
    if request.param == "catalogue":
        made = seal(data, 1, len(CAME))
        store = Store.open(data)
        store.register([replace(part, registered_ns=1) for part in made.parts], len(CAME), made.standing)
        store.close()
        catalog.refresh(data, "")
        connection = duckdb.connect(str(data / catalog.CATALOG), read_only=True)
    else:
        connection = catalog.connect(data)
    noon = datetime(2026, 11, 21, 12)

    def rows(statement: str) -> list[tuple[Any, ...]]:
        found = connection.sql(statement).fetchall()
        return [tuple((v - noon).total_seconds() if isinstance(v, datetime) else v for v in row) for row in found]

    with connection:
        yield rows


def test_bars_begin_with_their_interval_and_count_no_double(ask: Ask) -> None:
    assert ask("FROM ohlc('A', '1 minute') ORDER BY 2") == [
        ("A", 0, 10, 12, 9, 11, 4),
        ("A", 60, 20, 20, 20, 20, 1),
        ("A", 120, 22, 22, 22, 22, 1),
        ("A", 360, 25, 25, 25, 25, 1),
    ]


def test_bars_of_all_symbols_within_a_range(ask: Ask) -> None:
    since, until = "since := '2026-11-21 12:01:00'", "until := '2026-11-21 12:06:00'"
    assert ask(f"FROM ohlc(NULL, INTERVAL 1 HOUR, {since}, {until}) ORDER BY 1") == [
        ("A", 0, 20, 22, 20, 22, 2),
        ("B", 0, 40, 40, 40, 40, 1),
    ]


def test_last_quotes_are_those_of_the_moment_and_whole_rows(ask: Ask) -> None:
    at = "SELECT symbol, received_at, price, position FROM last_quotes({}) ORDER BY symbol"
    assert ask(at.format("'2026-11-21 12:00:30'")) == [("A", 20, 12, 4), ("B", 20, 51, 4)]
    # The last row of B has no price: an older one in its place would be the price of no moment.
    assert ask(at.format("NULL")) == [("A", 360, 25, 12), ("B", 360, None, 12)]
    assert ask(at.format("'2026-11-21 11:00:00'")) == []


def test_news_is_between_the_quotes_around_it(ask: Ask) -> None:
    columns = "title, symbol, price_before, price_after, after_at, move_percent"
    found = ask(f"SELECT {columns} FROM news_with_quotes(NULL, '5 minutes') ORDER BY position, symbol")
    assert found == [
        ("both", "A", 20, 25, 360, 25),
        ("both", "B", 51, 40, 120, pytest.approx(-100 * 11 / 51)),
        ("unknown", "C", None, None, None, None),
        ("last", "A", 25, None, None, None),
    ]


def test_news_of_one_symbol_and_a_shorter_window(ask: Ask) -> None:
    found = ask("SELECT title, price_before, price_after FROM news_with_quotes('A', INTERVAL 2 MINUTE) ORDER BY ALL")
    assert found == [("both", 20, 22), ("last", 25, None)]
    assert ask("FROM news_with_quotes('A', '1 hour', since := '2026-11-21 13:00:00')") == []


@pytest.mark.parametrize("macro", macros.MACROS, ids=lambda macro: macro.name)
def test_columns_are_those_declared(macro: macros.Macro, data: Path) -> None:
    with catalog.connect(data) as connection:
        arguments = ["NULL" if "interval" not in p and "window" not in p else "'1 hour'" for p in macro.parameters]
        given = ", ".join(a for a, p in zip(arguments, macro.parameters, strict=True) if ":=" not in p)
        assert connection.sql(f"FROM {macro.name}({given})").columns == list(macro.columns)


def test_a_symbol_given_is_looked_for_by_the_scan(data: Path) -> None:
    with catalog.connect(data) as connection:
        plan = connection.sql("EXPLAIN FROM ohlc('A', '1 minute', since := '2026-11-21')").fetchall()[0][1]
    assert "symbol='A'" in plan.replace(" ", "").replace("\n", "")


def test_catalogue_attached_under_another_name_is_used(data: Path) -> None:
    catalog.refresh(data, "")
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{data / catalog.CATALOG}' AS market (READ_ONLY)")
        connection.execute("USE market")
        assert connection.sql("FROM ohlc('A', '1 minute')").fetchall() == []


def test_every_macro_says_what_it_is(data: Path) -> None:
    with catalog.connect(data) as connection:
        said = (
            "SELECT function_name FROM duckdb_functions() WHERE function_type = 'table_macro' AND comment IS NOT NULL"
        )
        names = {name for (name,) in connection.sql(said).fetchall()}
    assert {macro.name for macro in macros.MACROS} <= names
