"""How fast the questions of an analyst are answered, over ten million quotes and ten thousand articles.

Asked as any analyst would, in plain DuckDB over the catalogue: twelve days, compacted, the last hours still in parts.
Yardsticks, with the same SQL, the same views over them and the same macros: one Parquet file made by hand, perfectly
sorted by symbol and position, and the same rows as zstd-compressed NDJSON. Every answer must be the same three times.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
from _bench import Report, apart, arguments, run, scratch
from _quotes import make

from recorder.partitions.catalog import CATALOG
from recorder.partitions.macros import MACROS

SORTED_MAX = 1.2  # times the hand-made file's
NDJSON_MIN = 20.0  # times faster than
COVERAGE = "SELECT received_at::DATE AS day, count(*), min(received_at), max(received_at) FROM quotes GROUP BY day"
QUERIES = {
    "last price per symbol": "SELECT symbol, price FROM last_quotes(NULL)",
    "last price per symbol, by hand": "SELECT symbol, arg_max(price, position) FROM quotes GROUP BY symbol",
    "1 min OHLC, one symbol": "SELECT * FROM ohlc('CCX', '1 minute')",
    "1 min OHLC, all symbols": "SELECT count(*), sum(open), sum(high), sum(low), sum(close), sum(quotes)"
    " FROM ohlc(NULL, '1 minute')",
    "ASOF join of all articles": "SELECT count(*), sum(price_before), sum(price_after), max(before_at), max(after_at)"
    " FROM news_with_quotes(NULL, '5 minutes')",
    "coverage per day": COVERAGE,
}
VIEW = "SELECT day, messages FROM coverage WHERE feed = 'prices'"
BY_HAND = "SELECT received_at::DATE AS day, count(DISTINCT position) FROM quotes GROUP BY day"
QUOTE = (
    "position BIGINT, received_at TIMESTAMP_NS, feed VARCHAR, mark VARCHAR, initial BOOLEAN, symbol VARCHAR, "
    "name VARCHAR, price DOUBLE, change DOUBLE, percent_change DOUBLE, pre_market_price DOUBLE, "
    "after_hours_price DOUBLE"
)
ARTICLE = (
    "position BIGINT, received_at TIMESTAMP_NS, mark VARCHAR, initial BOOLEAN, origin VARCHAR, tickers VARCHAR[], "
    "title VARCHAR, link VARCHAR, sentiment VARCHAR, confidence DOUBLE, is_update BOOLEAN"
)


def prepare(folder: Path, rows: int, articles: int) -> None:
    """The recording and what it is compared with."""
    make(folder / "data", rows, articles)
    with recording(folder) as connection:
        connection.execute(f"SET temp_directory = '{folder}/spill'")
        for table, order in (("quotes", "symbol, position"), ("articles", "position")):
            columns = ", ".join(column.split()[0] for column in (QUOTE if table == "quotes" else ARTICLE).split(", "))
            connection.execute(f"COPY (FROM {table} ORDER BY {order}) TO '{folder}/{table}.parquet' (COMPRESSION zstd)")
            connection.execute(
                f"COPY (SELECT {columns} FROM {table} ORDER BY position)"
                f" TO '{folder}/{table}.ndjson.zst' (FORMAT json, COMPRESSION zstd)"
            )
    (folder / "ready").touch()


def _quiet(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Without the progress bar, which would be drawn into the report."""
    connection.execute("SET enable_progress_bar = false")
    return connection


def recording(folder: Path) -> duckdb.DuckDBPyConnection:
    return _quiet(duckdb.connect(folder / "data" / CATALOG, read_only=True))


def by_hand(folder: Path) -> duckdb.DuckDBPyConnection:
    return _views({table: f"read_parquet('{folder}/{table}.parquet')" for table in ("quotes", "articles")})


def ndjson(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = _views(
        {
            table: f"read_ndjson('{folder}/{table}.ndjson.zst', columns = {{{_struct(columns)}}})"
            for table, columns in (("quotes", QUOTE), ("articles", ARTICLE))
        }
    )
    # Nobody can know how many lines there are, so DuckDB would plan the ASOF join for few of them: minutes.
    connection.execute("SET asof_loop_join_threshold = 0")
    return connection


def _struct(columns: str) -> str:
    return ", ".join(f"{name}: '{of}'" for name, of in (column.split() for column in columns.split(", ")))


def _views(sources: dict[str, str]) -> duckdb.DuckDBPyConnection:
    connection = _quiet(duckdb.connect())
    for table, source in sources.items():
        connection.execute(f"CREATE VIEW {table} AS FROM {source}")
    for macro in MACROS:
        connection.execute(f"CREATE MACRO {macro.name}({macro.signature}) AS TABLE {macro.query}")
    return connection


def asked(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[float, list[Any]]:
    """Milliseconds, and the answer in an order of its own."""
    began = time.perf_counter()
    answer = connection.execute(sql).fetchall()
    return (time.perf_counter() - began) * 1000, sorted(map(_rounded, answer))


def _rounded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sums of floats depend on their order."""
    return tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row)


def main() -> int:
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of quotes (default 10,000,000)")
    parser.add_argument("--articles", type=int, default=10_000, help="(default 10,000)")
    parser.add_argument("--ndjson-rounds", type=int, default=3, help="of the slow yardstick (default 3)")
    parser.add_argument("--cache", type=Path, help="keep the recording here, and take it from here the next time")
    options = parser.parse_args()
    report = Report(f"Questions over {options.rows:,} quotes", as_json=options.json)
    with scratch(options.dir) as temporary:
        folder = (options.cache or Path(temporary)).resolve()
        if not (folder / "ready").exists():
            report.said("making the recording and what it is compared with: some minutes")
            apart(prepare, folder, options.rows, options.articles)
        measure(report, folder, options.rounds, options.ndjson_rounds)
    return report.finish()


def measure(report: Report, folder: Path, rounds: int, ndjson_rounds: int) -> None:
    sides = {"recording": recording(folder), "sorted by hand": by_hand(folder), "NDJSON": ndjson(folder)}
    for name, sql in QUERIES.items():
        report.said(name)
        answers = {side: asked(sides[side], sql)[1] for side in ("recording", "sorted by hand")}  # and warms the cache
        for turn in range(rounds):
            for side in list(sides)[: 3 if turn < ndjson_rounds else 2]:
                took_ms, answers[side] = asked(sides[side], sql)
                report.take(f"{name}: {side}", took_ms, "ms")
        assert answers["recording"] == answers["sorted by hand"] == answers.get("NDJSON", answers["recording"]), name
        _compare(report, name)
    for _ in range(rounds):
        took_ms, answer = asked(sides["recording"], VIEW)
        hand_ms, counted = asked(sides["sorted by hand"], BY_HAND)
        assert answer == counted
        report.take("messages per day: the view coverage", took_ms, "ms")
        report.take("messages per day: sorted by hand", hand_ms, "ms")


def _compare(report: Report, name: str) -> None:
    own = report.median(f"{name}: recording")
    ratio = own / report.median(f"{name}: sorted by hand")
    report.take(f"RATIO {name}", ratio, "x sorted by hand")
    report.said(f"  {ratio:.2f} x sorted by hand")
    report.claim(f"{name}: at most {SORTED_MAX} x a file sorted by hand: {ratio:.2f}", holds=ratio <= SORTED_MAX)
    with suppress(KeyError):  # no round of it was asked for
        times = report.median(f"{name}: NDJSON") / own
        report.take(f"RATIO {name}, NDJSON", times, "x as long")
        report.said(f"  {times:.0f} x faster than NDJSON")
        report.claim(f"{name}: at least {NDJSON_MIN:g} x faster than NDJSON: {times:.0f}", holds=times >= NDJSON_MIN)


if __name__ == "__main__":
    run(main)
