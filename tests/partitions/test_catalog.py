from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from recorder.errors import RecorderError
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import catalog, layout, views
from recorder.partitions.catalog import CATALOG, connect, publish_catalog
from recorder.partitions.derived import DERIVED
from recorder.partitions.seal import seal

Append = Callable[[Path, Iterable[Message], int], None]

START_NS = 1_795_291_140 * 10**9
VIEWS = [*(stored.name for stored in views.STORED), *(view.name for view in DERIVED)]
COUNTS = "SELECT count(*), count(DISTINCT position), max(position) - min(position) + 1 FROM messages"


def messages(first: int, last: int) -> list[Message]:
    stream = Stream("prices", "finance_query.quotes")
    return [
        Message(position, stream, Kind.DATA, Mark.NONE, START_NS + position, 0, 1, b'[{"symbol":"A","price":"1"}]')
        for position in range(first, last + 1)
    ]


@pytest.fixture
def sealed(tmp_path: Path, journal: Append) -> Path:
    """A directory with 100 messages sealed and registered and 20 in the journal only; the catalogue is published."""
    data = tmp_path / "it's [here] *"
    data.mkdir()
    journal(data, messages(1, 100), 10)
    made = seal(data, 1, 100)
    store = Store.open(data)
    store.register([replace(part, registered_ns=1) for part in made.parts], 100, made.standing)
    store.close()
    journal(data, messages(101, 120), 10)
    catalog.refresh(data, "")
    return data


def read_only(data: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(data / CATALOG), read_only=True)


def test_catalogue_shows_what_is_sealed(sealed: Path) -> None:
    with read_only(sealed) as connection:
        assert connection.sql(COUNTS).fetchall() == [(100, 100, 100)]
        assert connection.sql("SELECT count(*) FROM quotes").fetchall() == [(100,)]


def test_every_table_can_be_asked_before_anything_was_recorded(tmp_path: Path) -> None:
    publish_catalog(tmp_path)
    with read_only(tmp_path) as connection:
        for name in VIEWS:
            assert connection.sql(f"SELECT count(*) FROM {name}").fetchall() == [(0,)]


def test_every_view_and_column_says_what_it_is(tmp_path: Path) -> None:
    publish_catalog(tmp_path)
    with read_only(tmp_path) as connection:
        described = connection.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
        assert {name for name, comment in described if comment} == set(VIEWS)
        silent = connection.sql(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        )
        assert silent.fetchall() == []


def test_catalogue_can_be_attached_under_another_name(sealed: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {views.quoted(sealed / CATALOG)} AS market (READ_ONLY)")
        assert connection.sql("SELECT count(*) FROM market.coverage").fetchall() == [(1,)]


def test_publishing_the_same_again_expires_nobody(sealed: Path) -> None:
    with read_only(sealed) as connection:
        before = publish_catalog(sealed)
        assert publish_catalog(sealed) == before
        assert connection.sql(COUNTS).fetchall() == [(100, 100, 100)]


def test_a_connection_that_is_too_old_is_told_to_reconnect(sealed: Path) -> None:
    generation = publish_catalog(sealed)
    with read_only(sealed) as connection:
        (sealed / layout.sentinel_path("messages", generation)).unlink()
        with pytest.raises(duckdb.IOException, match="catalogue-expired-please-reconnect"):
            connection.sql(COUNTS)


def test_cold_parts_stand_for_the_hot_ones_before_them(sealed: Path) -> None:
    # As after a compaction: the file of an hour is listed by name and its hot file is there still, for older readers.
    (hot,) = (sealed / "messages" / "hot").glob("hour=[12]*/*.parquet")
    cold = sealed / "messages" / "cold" / "date=2026-11-21" / hot.name
    cold.parent.mkdir(parents=True)
    shutil.copy(hot, cold)
    later = layout.hot_path("messages", "2026112120", 101, 120)
    with read_only(sealed) as old:
        before = publish_catalog(sealed)
        after = publish_catalog(sealed, [str(cold.relative_to(sealed)), later], "2026112120")
        assert before != after
        with read_only(sealed) as new:
            assert new.sql(COUNTS).fetchall() == [(100, 100, 100)]
        assert old.sql(COUNTS).fetchall() == [(100, 100, 100)]


def test_joins_are_planned_for_as_many_rows_as_there_are(sealed: Path) -> None:
    """DuckDB takes the rows of the first file for those of each; the seed and the sentinel have none."""

    def planned() -> int:
        with read_only(sealed) as connection:
            ((_, plan),) = connection.execute("EXPLAIN (FORMAT json) SELECT position, text FROM messages").fetchall()
        return sum(map(int, re.findall(r'"Estimated Cardinality": "(\d+)"', plan)))

    assert planned() >= 100, "hot"
    (hot,) = (sealed / "messages" / "hot").glob("hour=[12]*/*.parquet")
    publish_catalog(sealed, [str(hot.relative_to(sealed))], layout.LAST_HOUR)
    assert planned() >= 100, "listed"


def test_connect_sees_what_is_not_sealed_too_each_message_once(sealed: Path) -> None:
    with connect(sealed) as connection:
        assert connection.sql(COUNTS).fetchall() == [(120, 120, 120)]
        assert connection.sql("SELECT count(*), count(DISTINCT position) FROM quotes").fetchall() == [(120, 120)]


def test_connect_between_publishing_and_registering_counts_nothing_twice(sealed: Path) -> None:
    made = seal(sealed, 101, 120)
    with connect(sealed) as connection:
        assert connection.sql(COUNTS).fetchall() == [(120, 120, 120)]
    store = Store.open(sealed)
    store.register([replace(part, registered_ns=1) for part in made.parts], 120, made.standing)
    with connect(sealed) as connection:
        assert connection.sql(COUNTS).fetchall() == [(120, 120, 120)]
    while store.forget_sealed():
        pass
    store.close()
    with connect(sealed) as connection:
        assert connection.sql(COUNTS).fetchall() == [(120, 120, 120)]


def test_connect_works_where_the_directory_was_moved_to(sealed: Path) -> None:
    moved = sealed.rename(sealed.with_name("moved"))
    with connect(moved) as connection:
        assert connection.sql(COUNTS).fetchall() == [(120, 120, 120)]
        assert connection.sql("SELECT count(*) FROM coverage").fetchall() == [(1,)]


def test_connect_where_nothing_was_recorded_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match="does not exist"):
        connect(tmp_path)
