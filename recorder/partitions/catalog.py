"""The only DuckDB: the catalogue that other programs open, and a connection that also sees what is not sealed yet.

In: the registered parts, the journal. Out: `catalog.duckdb`, views only, replaced by rename and never held open; or a
connection in memory. If the power fails here, the old catalogue stands, complete, and its files with it. Removing the
sentinels of old generations is the business of whoever removes the files they guard.

A catalogue holds absolute paths: after the data directory has moved it must be published again. `connect` makes the
views for where the directory is now, and writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from recorder import disk
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions import layout, schema, views
from recorder.partitions.convert import convert
from recorder.partitions.messages import table_of
from recorder.partitions.tables import LIFECYCLE, TABLES
from recorder.partitions.views import STORED, Stored

CATALOG = "catalog.duckdb"
STORAGE_VERSION = "v1.0.0"  # what DuckDB 1.x can open; by default 2.0 writes files that it cannot
_DECLARED = {stored.name: frozenset(column.name for column in stored.columns) for stored in STORED}
UNSEALED = "_unsealed_"  # prefix of the tables that hold what is still in the journal


def refresh(data: Path, shown: str) -> str:
    """Publish the catalogue unless `shown` is its generation already. Returns the generation."""
    store = Store.open_readonly(data)
    try:
        with store.transaction():
            paths, hot_since = [part.path for part in store.parts()], store.hot_since()
    finally:
        store.close()
    return publish_catalog(data, paths, hot_since, shown)


def publish_catalog(data: Path, parts: Iterable[str] = (), hot_since: str | None = None, shown: str = "") -> str:
    """Write the catalogue for these registered parts (paths relative to `data`). Returns its generation.

    The generation is a hash of all it says, so publishing the same again expires nobody. Needed at the start of a
    recorder (a new version, a directory that has moved) and when parts became cold or went; not for new hot parts.
    """
    data = data.resolve()
    parts = list(parts)
    listed, bound = divide(parts, hot_since)
    uneven = {layout.table_of(path) for path in (*parts, *_first_hot(data)) if _lacks_columns(data, path)}

    def sources(generation: str) -> dict[str, str]:
        return {
            stored.name: views.published(
                data, stored, listed.get(stored.name, ()), bound, generation, uneven=stored.name in uneven
            )
            for stored in STORED
        }

    generation = hashlib.sha256("\n".join(views.statements(sources(""))).encode()).hexdigest()[:16]
    if generation == shown:
        return generation
    for stored in STORED:
        for path in (layout.seed_path(stored.name), layout.sentinel_path(stored.name, generation)):
            disk.publish(data / path, partial(_write_empty, stored))
    disk.publish(data / CATALOG, partial(_write_catalog, views.statements(sources(generation))))
    return generation


def divide(parts: Iterable[str], hot_since: str | None) -> tuple[dict[str, list[str]], str]:
    """What is listed of each table, and the hour from which on hot files are found by their glob: none is both.

    `hot_since`: files of earlier hours may have been replaced and still be there, so only registered ones count. Where
    something is cold and nobody knows since when (a registry made again from names), every file is listed.
    """
    paths = sorted(parts)
    if hot_since is None:
        hot_since = layout.FIRST_HOUR if all(map(layout.is_hot, paths)) else layout.LAST_HOUR
    listed: dict[str, list[str]] = {}
    for path in paths:
        if not layout.is_hot(path) or (layout.hour_in(path) or "") < hot_since:
            listed.setdefault(layout.table_of(path), []).append(path)
    return listed, hot_since


def _first_hot(data: Path) -> Iterator[str]:
    """Of each table the file whose columns DuckDB takes for those of the hot glob; it may be replaced already."""
    for stored in STORED:
        first = min(data.glob(layout.hot_glob(stored.name)), default=None)
        if first is not None:
            yield str(first.relative_to(data))


def _lacks_columns(data: Path, path: str) -> bool:
    """Whether a part was written when its table had fewer columns. A file that cannot be read is not known to."""
    try:
        there = _columns(data / path, (data / path).stat().st_mtime_ns)
    except (OSError, pa.ArrowException):
        return False
    return not _DECLARED.get(layout.table_of(path), frozenset()) <= there


@lru_cache(maxsize=1 << 15)
def _columns(path: Path, _changed_ns: int) -> frozenset[str]:
    return frozenset(pq.read_schema(path).names)  # 0.3 ms the first time


def connect(
    data: Path, only: Collection[str] = (), within_ns: tuple[int, int] | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection in memory with all views as of now, what is not sealed yet included, each message once.

    Reads only, so it works on a copy, a read-only directory and beside a running recorder. What it shows stays as it
    was: connect again for what has come since. `only`: these tables and views alone, all that they are made of among
    them, in half the time. `within_ns`: what was received before the one or behind the other of these moments need
    not be there, so files that hold nothing else are not opened; but `lifecycle` is whole, since what it tells of may
    have begun long before. Raises RecorderError where nothing was recorded.
    """
    store = Store.open_readonly(data)
    try:
        # The journal first: parts registered after it hold later positions, and those are cut off below.
        snapshot = store.snapshot()
        parts = store.parts()
    finally:
        store.close()
    messages = table_of(snapshot.groups)
    wanted = [table for table in TABLES if not only or table.name in only]
    unsealed = {schema.MESSAGES: messages} | {typed.table.name: typed.rows for typed in convert(messages, wanted)}
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would be drawn over the output
    sources = {}
    for stored in STORED:
        if only and stored.name not in only:
            continue
        connection.register(UNSEALED + stored.name, unsealed[stored.name])
        within = None if stored.name == LIFECYCLE.name else within_ns
        files = [data.resolve() / p.path for p in parts if p.table_name == stored.name and _holds(p, within)]
        sources[stored.name] = views.joined(stored, files, snapshot.sealed_position, UNSEALED + stored.name)
    for statement in views.statements(sources, only):
        connection.execute(statement)
    return connection


def _holds(part: Part, within_ns: tuple[int, int] | None) -> bool:
    """Whether a part may hold what was received then. Of one registered anew from its name nobody knows the times."""
    if within_ns is None or not part.last_received_ns:
        return True
    return part.first_received_ns <= within_ns[1] and part.last_received_ns >= within_ns[0]


def _write_empty(stored: Stored, path: Path) -> None:
    schema.write(schema.arrow_schema(stored.name, stored.columns).empty_table(), stored.columns, path)


def _write_catalog(statements: list[str], path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH {views.quoted(path)} AS made (STORAGE_VERSION '{STORAGE_VERSION}')")
        connection.execute("USE made")
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("USE memory")
        connection.execute("DETACH made")
