"""Files of every schema version stay readable, alone and beside later ones. `tests/parts/N` are files of version N.

To add one when SCHEMA_VERSION goes up: seal a recording of every kind of frame with the recorder of the old version.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import catalog, compact, layout, schema
from recorder.partitions.merge import merge
from recorder.partitions.seal import seal
from recorder.partitions.views import STORED

Append = Callable[[Path, Iterable[Message], int], None]
Frame = Callable[[str], bytes]
Ask = Callable[[str], list[tuple[object, ...]]]

VERSIONS = Path(__file__).parents[1] / "parts"
HOUR, LAST, LAST_NS = "2026112120", 7, 1_795_291_206 * 10**9


def market_at(position: int, received_ns: int, frame: Frame) -> Message:
    stream = Stream("market", "finance_query.market")
    return Message(position, stream, Kind.DATA, Mark.NONE, received_ns, 0, 1, frame("market.3"))


def sealed(data: Path, first: int, last: int) -> None:
    made = seal(data, first, last)
    with closing(Store.open(data)) as store:
        store.register([replace(part, registered_ns=1) for part in made.parts], last, made.standing)


@pytest.fixture(params=sorted(path.name for path in VERSIONS.iterdir()))
def data(request: pytest.FixtureRequest, tmp_path: Path, journal: Append, frame: Frame) -> Path:
    """Positions 1 to 7 in files of an older version; 8, of the same hour, sealed now; 9 not sealed."""
    parts = []
    for file in (VERSIONS / request.param).glob("*.parquet"):
        path = layout.hot_path(file.stem, HOUR, 1, LAST)
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy(file, tmp_path / path)
        rows, size = pq.read_metadata(file).num_rows, file.stat().st_size
        parts.append(Part(file.stem, path, "hot", 1, LAST, LAST_NS - 6 * 10**9, LAST_NS, rows, size, 1))
    with closing(Store.open(tmp_path)) as store:
        store.register(parts, LAST, store.standing())
    journal(tmp_path, [market_at(8, LAST_NS + 10**9, frame)], 1)
    sealed(tmp_path, 8, 8)
    journal(tmp_path, [market_at(9, LAST_NS + 2 * 10**9, frame)], 1)
    return tmp_path


@pytest.fixture(params=["catalogue", "in process"])
def ask(data: Path, request: pytest.FixtureRequest) -> Iterator[Ask]:
    if request.param == "catalogue":
        catalog.refresh(data, "")
        connection = duckdb.connect(str(data / catalog.CATALOG), read_only=True)
    else:
        connection = catalog.connect(data)
    with connection:
        yield lambda statement: connection.sql(statement).fetchall()


def test_old_and_new_files_of_an_hour_are_one_table(data: Path, ask: Ask) -> None:
    for stored in STORED:
        columns = ask(f"FROM {stored.name} LIMIT 1")
        assert not columns or len(columns[0]) == len(stored.columns)
    assert ask("SELECT count(*) FROM messages WHERE position <= 8") == [(8,)]
    for table in VERSIONS.joinpath("1").iterdir():
        assert ask(f"SELECT count(*) > 0 FROM {table.stem} WHERE position <= {LAST}") == [(True,)], table.stem


def test_columns_that_came_later_are_null_in_old_files(data: Path, ask: Ask) -> None:
    found = ask("SELECT DISTINCT position, age, published_at IS NULL FROM headlines WHERE position <= 8 ORDER BY ALL")
    assert found == [(2, "1 day ago", True), (3, "1 day ago", True), (8, "1 day ago", False)]


def test_compaction_makes_them_all_of_one_version_and_readers_need_not_look_for_columns(
    data: Path, journal: Append, frame: Frame
) -> None:
    journal(data, [market_at(10, LAST_NS + 3600 * 10**9, frame)], 1)
    sealed(data, 9, 10)
    with closing(Store.open(data)) as store:
        (work, *_) = compact.plan(store.parts())
        store.replace(work.inputs, merge(data, work, 3), 1, hot_since=work.hot_since)
        assert {pq.read_schema(data / part.path).metadata[schema.META_SCHEMA] for part in store.parts()} == {
            str(schema.SCHEMA_VERSION).encode()
        }
        replaced = [retired.path for retired in store.retired()]
    catalog.refresh(data, "")
    with duckdb.connect(str(data / catalog.CATALOG), read_only=True) as connection:
        counts = connection.sql("SELECT position, count(published_at) > 0 FROM headlines GROUP BY ALL ORDER BY ALL")
        assert counts.fetchall() == [(2, False), (3, False), (8, True), (9, True), (10, True)]
    for path in replaced:  # while they are there, DuckDB takes the columns of the hot files for theirs
        (data / path).unlink()
    catalog.refresh(data, "")
    with duckdb.connect(str(data / catalog.CATALOG), read_only=True) as connection:
        assert connection.sql("SELECT position, count(published_at) > 0 FROM headlines GROUP BY ALL").fetchall()
        views = connection.sql("SELECT count(*) FROM duckdb_views() WHERE sql LIKE '%union_by_name%'")
        assert views.fetchall() == [(0,)]
