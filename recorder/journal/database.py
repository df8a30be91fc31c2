"""The only SQLite: one connection, with facts (JSON values by name) and whatever tables its owner has.

In: a directory. Out: consistent reads, and transactions that happen all or not at all. If the power fails inside one,
nothing of it is there afterwards; what was committed has survived. Facts are checked when they are read, since SQLite
has no checksum for its pages. What the groups and the registered parts are is said in store.py and registry.py.

Measured (2 cores, ext4, fdatasync p50 0.12 ms, SQLite 3.40.1, 50 to 1500 commits each; ms, p50/p99):

    page size                    4096         8192         16384        32768
    commit of 10 KB              0.12/0.31    0.12/0.29    0.14/0.31    0.13/0.31
    commit of 1 MB               1.28/2.19    0.96/1.71    0.83/1.54    0.75/1.36
    commit of 4 MB               5.0/10       4.1/7.1      3.5/5.9      3.1/5.0
    written per 2 KB commit      13 KB        18 KB        26 KB        44 KB

    checkpointing                SQLite's own, in commits    ours, after a commit      in another thread
    p99 of 500 KB, saturated     16.7                        1.1 (+ 4.6 once in 9)     5.6, and a WAL of 197 MB
    p99 of 20 KB each 10 ms      3.1                         0.7                       1.0

So: 8192, fast enough for big groups and cheap for quiet feeds; and the writer checkpoints, every 4 MB, straight after a
commit was announced, in the time it would wait for the next group anyway. A second connection that checkpoints could
also meet SQLite's WAL-reset bug (3.7.0 to 3.51.2: two connections writing or checkpointing at the same moment,
sqlite.org/wal.html#walresetbug); our readers are read-only and cannot. Deleting 50 groups of 200 KB takes 11 ms with
`secure_delete`, which Debian's SQLite has on, and 1.5 ms without. A bigger cache changed nothing; no mmap, because a
damaged page must be an error and not a signal.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import orjson

from recorder import disk
from recorder.errors import Damaged, JournalFailed, RecorderError

STORE_FILE = "recorder.sqlite"
LAYOUT = 2  # PRAGMA user_version; 1 had no table of retired files
PAGE_BYTES = 8192
CHECKPOINT_BYTES = 4 << 20
WAL_KEPT_BYTES_MAX = 64 << 20  # what of a write-ahead log a long reader made grow stays on disk after it is gone
READER_WAIT_S = 5.0

RETIRED = """CREATE TABLE retired (path TEXT PRIMARY KEY, retired_ns INTEGER NOT NULL,
    byte_count INTEGER NOT NULL, crc INTEGER NOT NULL)"""
SCHEMA = f"""
BEGIN;
CREATE TABLE groups (first_position INTEGER PRIMARY KEY, last_position INTEGER NOT NULL,
    first_received_ns INTEGER NOT NULL, last_received_ns INTEGER NOT NULL, packed BLOB NOT NULL);
CREATE TABLE parts (table_name TEXT NOT NULL, path TEXT PRIMARY KEY, tier TEXT NOT NULL,
    first_position INTEGER NOT NULL, last_position INTEGER NOT NULL,
    first_received_ns INTEGER NOT NULL, last_received_ns INTEGER NOT NULL,
    row_count INTEGER NOT NULL, byte_count INTEGER NOT NULL, registered_ns INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX parts_by_position ON parts (table_name, last_position);
CREATE TABLE facts (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL);
{RETIRED};
PRAGMA user_version = {LAYOUT};
COMMIT;
"""


class StillEmpty(RecorderError):
    """There is a database without tables: its recorder has just begun, or died when it had."""


class Database:
    """One connection. Raises sqlite3.Error where SQLite cannot, Damaged where what comes is not what was put."""

    def __init__(self, path: Path, db: sqlite3.Connection, immutable: bool = False) -> None:
        self.path = path
        self._db = db
        self._immutable = immutable
        self._unchecked_bytes = 0

    @classmethod
    def open(cls, data: Path) -> Self:
        """The one writer, which holds the directory's lock. Raises sqlite3.Error or JournalFailed."""
        path = data / STORE_FILE
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=READER_WAIT_S)
        try:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = OFF")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES_MAX}")
            if mode != "wal" or db.execute("PRAGMA synchronous").fetchone()[0] != 2:
                raise JournalFailed(path, "this file system does not let SQLite use a write-ahead log")
            layout = db.execute("PRAGMA user_version").fetchone()[0]
            if layout == 0:
                db.executescript(SCHEMA)
                disk.sync(data)
            elif layout == 1:
                db.executescript(f"BEGIN; {RETIRED}; PRAGMA user_version = {LAYOUT}; COMMIT;")
        except BaseException:
            db.close()
            raise
        return cls(path, db)

    @classmethod
    def open_readonly(cls, data: Path) -> Self:
        """Any number of processes, with or without a writer, also where nothing may be written.

        Every method is one short transaction, so that no reader keeps the write-ahead log from being taken up.
        """
        path = data / STORE_FILE
        if not path.exists():
            raise RecorderError(
                f"{path} does not exist: nothing is recorded there. Name another directory with --data."
            )
        try:
            return cls(path, _connect_readonly(path))
        except sqlite3.OperationalError:
            # Nobody records and we may not make the shared-memory file SQLite wants: then nothing changes either.
            if _wal(path):
                raise
            return cls(path, _connect_readonly(path, "&immutable=1"), immutable=True)

    def close(self) -> None:
        self._db.close()

    # --- facts --------------------------------------------------------------------------------------------------

    def fact(self, key: str) -> Any:
        """A JSON value by its name, or None. Raises Damaged."""
        found = self._reading().execute("SELECT value, crc FROM facts WHERE key = ?", (key,))
        with closing(found):
            row = found.fetchone()
        if row is None:
            return None
        if not isinstance(row[0], bytes) or zlib.crc32(key.encode() + row[0]) != row[1]:
            raise Damaged(f"the fact {key} in {self.path} is damaged. Run `recorder verify`.")
        return orjson.loads(row[0])

    def set_fact(self, key: str, value: Any) -> None:
        """Keep a JSON value, durable when this returns (or with the transaction it is part of)."""
        packed = orjson.dumps(value)
        crc = zlib.crc32(key.encode() + packed)
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (key, packed, crc))

    def fact_keys(self) -> list[str]:
        return [
            key
            for (key,) in self._reading()
            .execute("SELECT key FROM facts WHERE typeof(key) = 'text' ORDER BY key")
            .fetchall()
        ]

    # --- the connection -------------------------------------------------------------------------------------

    def checkpoint(self) -> bool:
        """Take the write-ahead log up into the database file; False if a reader or the disk kept a part of it back."""
        _, logged, taken_up = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if logged != taken_up:
            return False
        self._unchecked_bytes = 0
        return True

    def check(self, table: str = "") -> str:
        """`ok`, or the first that SQLite finds wrong with its own structure; reads the whole file, or one table."""
        found = self._reading().execute(f"PRAGMA integrity_check({table or 1})").fetchall()
        return cast(str, found[0][0]).splitlines()[-1]

    @property
    def checkpoint_due(self) -> bool:
        return self._unchecked_bytes >= CHECKPOINT_BYTES

    @property
    def wal_bytes(self) -> int:
        """How much of the disk the write-ahead log takes."""
        return _wal(self.path)

    @contextmanager
    def transaction(self, kind: Literal["DEFERRED", "IMMEDIATE"] = "DEFERRED") -> Iterator[None]:
        """Reads inside are of one moment (DEFERRED), writes inside happen all or not at all (IMMEDIATE)."""
        db = self._reading()
        db.execute(f"BEGIN {kind}")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # after some errors SQLite has rolled back on its own
                db.execute("ROLLBACK")
            raise

    def _reading(self) -> sqlite3.Connection:
        if self._immutable and _wal(self.path):  # a recorder has started meanwhile: now there is what SQLite wants
            self._db.close()
            self._db = _connect_readonly(self.path)
            self._immutable = False
        return self._db


def _connect_readonly(path: Path, options: str = "") -> sqlite3.Connection:
    db = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro{options}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=READER_WAIT_S,
    )
    try:
        layout = db.execute("PRAGMA user_version").fetchone()[0]
    except BaseException:
        db.close()
        raise
    if layout > LAYOUT:
        db.close()
        raise RecorderError(f"{path} has layout {layout}, this recorder reads {LAYOUT}. Use the newer recorder.")
    if layout == 0:
        db.close()
        raise StillEmpty(f"{path} is still empty. Try again when `recorder run` has started.")
    return db


def _wal(path: Path) -> int:
    wal = path.with_name(path.name + "-wal")
    return wal.stat().st_size if wal.exists() else 0
