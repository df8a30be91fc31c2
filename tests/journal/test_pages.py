from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recorder.journal.pages import Pages

PAGE_BYTES = 1024  # small ones, so that little data makes trees and chains
FRAME_BYTES = 24 + PAGE_BYTES
ROWS = 60

Row = tuple[int, tuple[int | bytes | None, ...]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as kill -9 leaves it, a part of its rows in the log only, old frames behind the log's end."""
    path = tmp_path_factory.mktemp("written") / "x.sqlite"
    killed = path.with_name("killed")
    killed.mkdir()
    random_ = random.Random(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("CREATE TABLE t (key INTEGER PRIMARY KEY, a INTEGER, b BLOB)")
        for i in range(ROWS):
            if i % 4 == 0:  # transactions of several rows, so that a cut inside one shows
                db.execute("BEGIN")
            number = random_.choice((None, 0, 1, -1, 2, -128, 127, 1 << 15, -(1 << 23), 1 << 31, 1 << 40, -(1 << 62)))
            size = random_.choice((0, 1, 50, 900, 985, 986, 990, 1020, 1021, 2048, 9000))
            db.execute("INSERT INTO t VALUES (?, ?, ?)", (i * 10**9 - 10**10, number, random_.randbytes(size)))
            if i % 4 == 3:
                db.execute("COMMIT")
            if i == ROWS // 2 + 1:
                db.execute("PRAGMA wal_checkpoint")
        for name in (path.name, path.name + "-wal"):
            shutil.copyfile(path.with_name(name), killed / name)
    return killed / path.name


def by_pages(path: Path) -> list[Row]:
    """What is ours; the schema's own row is not."""
    with Pages(path, PAGE_BYTES) as pages:
        return sorted((key, values[1:]) for key, values in pages.rows() if len(values) == 3)


def by_sqlite(path: Path) -> list[Row]:
    with closing(sqlite3.connect(path)) as db:
        return [
            (key, values) for key, *values_ in db.execute("SELECT * FROM t ORDER BY key") for values in [(*values_,)]
        ]


def copy(written: Path, folder: Path) -> Path:
    for path in (written, wal(written)):
        shutil.copyfile(path, folder / path.name)
    return folder / written.name


def wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def test_every_row_is_read_as_sqlite_reads_it(written: Path, tmp_path: Path) -> None:
    rows = by_pages(written)
    assert len(rows) == ROWS
    assert rows == by_sqlite(copy(written, tmp_path))


def damaged_logs(whole: bytes) -> Iterator[bytes]:
    ends = range(32, len(whole), FRAME_BYTES)
    for end in ends:  # also inside a transaction
        yield whole[:end]
    for end in ends[:: max(1, len(ends) // 12)]:
        yield whole[: end + 24 + PAGE_BYTES // 2]
        for at in (end + 4, end + 9, end + 17, end + 24, end + FRAME_BYTES - 1):
            if at < len(whole):
                yield whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :]
    for at in range(32):
        yield whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :]
    yield b""


@pytest.mark.slow
def test_a_damaged_log_counts_as_far_as_sqlite_trusts_it(written: Path, tmp_path: Path) -> None:
    seen = set()
    for log in damaged_logs(wal(written).read_bytes()):
        path = copy(written, tmp_path)
        wal(path).write_bytes(log)
        rows = by_pages(path)
        seen.add(len(rows))
        assert rows == by_sqlite(path)
        path.with_name(path.name + "-shm").unlink(missing_ok=True)
    assert len(seen) > 5


def test_a_lost_page_costs_its_own_rows_only(written: Path, tmp_path: Path) -> None:
    whole = by_pages(written)
    path = copy(written, tmp_path)
    file = path.read_bytes()
    for page in range(1, len(file) // PAGE_BYTES):
        path.write_bytes(file[: page * PAGE_BYTES] + bytes(PAGE_BYTES) + file[(page + 1) * PAGE_BYTES :])
        lost = set(whole) - set(by_pages(path))
        assert len(lost) <= 25


def test_nonsense_is_no_row_and_no_error(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    random_ = random.Random(2)
    for _ in range(40):
        content = bytearray(random_.randbytes(8 * PAGE_BYTES))
        for page in range(0, len(content), PAGE_BYTES):
            content[page] = 0x0D  # pretends to be a leaf
        path.write_bytes(content)
        by_pages(path)
    assert by_pages(tmp_path / "missing.sqlite") == []
