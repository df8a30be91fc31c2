"""The only SQLite: groups not sealed yet, the part registry, and a few facts, with one point of commit for all.

In: packed groups, parts, facts. Out: the same, in consistent reads. If the power fails inside any method that writes,
either all it did is there afterwards or nothing; what `append` returned from has survived. Every value is checked when
it is read: groups by their own checksum, parts and facts by one in their row, since SQLite has none for its pages.

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
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast
from urllib.parse import quote

import orjson

from recorder import disk
from recorder.errors import Damaged, GroupDamaged, JournalFailed, RecorderError
from recorder.journal.group import Group, unpack
from recorder.journal.standing import Standing

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
SEALED, INTENDED, STANDING, LOST = "sealed_position", "intended_seal", "standing", "lost"
INTENDED_COLD, HOT_SINCE = "intended_compaction", "hot_since"
LET_GO, FEEDS_LET_GO = "let_go_position", "feeds_let_go"


@dataclass(frozen=True, slots=True)
class Part:
    """One published Parquet file. `path` is relative to the data directory; times are UTC nanoseconds."""

    table_name: str
    path: str
    tier: Literal["hot", "cold"]
    first_position: int
    last_position: int
    first_received_ns: int
    last_received_ns: int
    row_count: int
    byte_count: int
    registered_ns: int

    @property
    def crc(self) -> int:
        return zlib.crc32(repr(astuple(self)).encode())  # repr: whatever a damaged row holds has one


class Retired(NamedTuple):
    """A file that no new reader is told of, kept for those who were told before."""

    path: str  # relative to the data directory
    retired_ns: int  # UTC
    byte_count: int

    @property
    def crc(self) -> int:
        return zlib.crc32(repr(tuple(self)).encode())


class Loss(NamedTuple):
    """Positions that were given out and are gone."""

    first_position: int
    last_position: int
    cause: str


class Span(NamedTuple):
    """What a group says of itself in its row: readers that seek need no more of it."""

    first_position: int
    last_position: int
    first_received_ns: int
    last_received_ns: int


class Snapshot(NamedTuple):
    """One moment of the journal: everything up to `sealed_position` is in parts, the rest in `groups`."""

    sealed_position: int
    durable_position: int
    groups: list[Group]


class StillEmpty(RecorderError):
    """There is a database without tables: its recorder has just begun, or died when it had."""


class Store:
    """One connection. Raises sqlite3.Error where SQLite cannot, Damaged where what comes is not what was put."""

    def __init__(self, path: Path, db: sqlite3.Connection, immutable: bool = False) -> None:
        self.path = path
        self._db = db
        self._immutable = immutable
        self._unchecked_bytes = 0

    @classmethod
    def open(cls, data: Path) -> Store:
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
    def open_readonly(cls, data: Path) -> Store:
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

    # --- groups ---------------------------------------------------------------------------------------------

    def append(self, packed: bytes, first: int, last: int, first_received_ns: int, last_received_ns: int) -> None:
        """Make one group durable: one transaction, one fsync."""
        self._db.execute(
            "INSERT INTO groups VALUES (?, ?, ?, ?, ?)", (first, last, first_received_ns, last_received_ns, packed)
        )
        self._unchecked_bytes += len(packed) + PAGE_BYTES

    def groups(self, after_position: int, limit_bytes: int) -> list[Group]:
        """Groups with messages behind a position, in order; stops when it has `limit_bytes`. GroupDamaged."""
        return list(self.each_group(after_position, limit_bytes))

    def each_group(self, after_position: int, limit_bytes: int = 1 << 62) -> Iterator[Group]:
        """The same one by one, all of one moment: a transaction is open as long as this is neither done nor closed."""
        found = self._reading().execute(
            "SELECT * FROM groups WHERE last_position > ?1 AND first_position >="
            " (SELECT coalesce(max(first_position), 0) FROM groups WHERE first_position <= ?1 + 1)"
            " ORDER BY first_position",
            (after_position,),
        )
        with closing(found):
            for first, *row, packed in found:
                group = unpack(packed, first)
                if row != [group.last_position, min(group.received_ns), max(group.received_ns)]:
                    raise GroupDamaged(first, "its row and itself do not agree where and when it ends")
                yield group
                limit_bytes -= len(packed)
                if limit_bytes <= 0:
                    return

    def group_from(self, position: int) -> Span | None:
        """Where the first group that reaches `position` begins and ends, without reading it."""
        return self._span(
            "WHERE last_position >= ?1 AND first_position >="
            " (SELECT coalesce(max(first_position), 0) FROM groups WHERE first_position <= ?1)"
            " ORDER BY first_position LIMIT 1",
            (position,),
        )

    def last_group(self) -> Span | None:
        """Where the last group begins and ends."""
        return self._span("ORDER BY first_position DESC LIMIT 1", ())

    def _span(self, wanted: str, values: tuple[object, ...]) -> Span | None:
        found = self._reading().execute(
            f"SELECT first_position, last_position, first_received_ns, last_received_ns FROM groups {wanted}",  # noqa: S608
            values,
        )
        with closing(found):
            row = found.fetchone()
        return Span(*row) if row else None

    def forget_sealed(self, limit: int = 50) -> int:
        """Let a few sealed groups go; answers how many went. Call again, between commits, until it says 0."""
        return self._db.execute(
            "DELETE FROM groups WHERE first_position IN (SELECT first_position FROM groups"
            " WHERE first_position <= ?1 AND last_position <= ?1 ORDER BY first_position LIMIT ?2)",
            (self.sealed_position(), limit),
        ).rowcount

    # --- positions ------------------------------------------------------------------------------------------

    def positions(self) -> tuple[int, int]:
        """(first unsealed, durable): what a seal could take now; the second is below the first if nothing."""
        with self.transaction():
            return self.sealed_position() + 1, self.durable_position()

    def durable_position(self) -> int:
        """The highest position ever given out that is not waiting to be committed."""
        newest = self._reading().execute("SELECT last_position FROM groups ORDER BY first_position DESC LIMIT 1")
        with closing(newest):
            last = newest.fetchone()
        return max(last[0] if last else 0, self.sealed_position(), *(loss.last_position for loss in self.losses()), 0)

    def sealed_position(self) -> int:
        """Everything at or below it is in registered parts."""
        return cast(int, self.fact(SEALED) or 0)

    def losses(self) -> list[Loss]:
        """Every range that was ever lost, by position: the only holes there may be."""
        return [Loss(*loss) for loss in self.fact(LOST) or ()]

    def snapshot(self, after: int = 0) -> Snapshot:
        """For readers that join parts and the unsealed tail: both as of one moment, the tail behind `after`."""
        with self.transaction():
            sealed = self.sealed_position()
            return Snapshot(sealed, self.durable_position(), list(self.each_group(max(after, sealed))))

    # --- parts and sealing ----------------------------------------------------------------------------------

    def parts(self, table: str | None = None) -> list[Part]:
        """Registered parts by table, first position and path."""
        return self._parts("WHERE ?1 IS NULL OR table_name = ?1 ORDER BY table_name, first_position, path", (table,))

    def parts_from(self, table: str, position: int, limit: int) -> list[Part]:
        """The first registered parts of a table that reach `position`, at most `limit`; a look-up, never a scan."""
        wanted = "WHERE table_name = ? AND last_position >= ? ORDER BY last_position LIMIT ?"
        return self._parts(wanted, (table, position, limit))

    def last_part(self, table: str) -> Part | None:
        """The registered part of a table with the highest position."""
        found = self._parts("WHERE table_name = ? ORDER BY last_position DESC LIMIT 1", (table,))
        return found[0] if found else None

    def _parts(self, wanted: str, values: tuple[object, ...]) -> list[Part]:
        found = self._reading().execute(f"SELECT * FROM parts {wanted}", values)  # noqa: S608 - from the lines above
        with closing(found):
            rows = found.fetchall()
        parts = [Part(*row[:-1]) for row in rows]
        for part, row in zip(parts, rows, strict=True):
            if part.crc != row[-1]:
                raise Damaged(f"the registration of {part.path} in {self.path} is damaged. Run `recorder verify`.")
        return parts

    def intend_seal(self, first: int, last: int) -> None:
        """Note the range a seal is about to cover, so that a repeated one makes the same files."""
        self.set_fact(INTENDED, [first, last])

    def intended_seal(self) -> tuple[int, int] | None:
        """The range of a seal that was begun and not registered."""
        intended = self.fact(INTENDED)
        return (intended[0], intended[1]) if intended else None

    def register(self, parts: Sequence[Part], sealed_position: int, standing: Standing) -> None:
        """In one transaction: these parts exist, everything up to `sealed_position` is in them, the seal is done."""
        with self.transaction("IMMEDIATE"):
            self._insert(parts)
            self.set_fact(SEALED, sealed_position)
            self.set_fact(STANDING, standing.to_json())
            self.set_fact(INTENDED, None)

    def intend_compaction(self, paths: Sequence[str]) -> None:
        """Note the files a compaction is about to make, so that what a broken-off one left is known for that."""
        self.set_fact(INTENDED_COLD, list(paths))

    def intended_compaction(self) -> list[str]:
        """The files of a compaction that was begun and not registered."""
        return self.fact(INTENDED_COLD) or []

    def replace(
        self, retired: Sequence[Part], parts: Sequence[Part], now_ns: int, *, hot_since: str = "", let_go: int = 0
    ) -> None:
        """In one transaction: `parts` stand for those that are `retired`, whose files are to be deleted some day.

        `hot_since`: from now on what is hot and of an earlier hour is found by its registration only. `let_go`: nothing
        stands for what is retired, up to this position, and that is as it should be. Raises RecorderError, with nothing
        changed, where one of the retired is not registered any more.
        """
        with self.transaction("IMMEDIATE"):
            paths = [(part.path,) for part in retired]
            if self._db.executemany("DELETE FROM parts WHERE path = ?", paths).rowcount != len(paths):
                raise RecorderError(f"the parts in {self.path} have changed meanwhile. Try again.")
            self._insert(parts)
            self.retire([Retired(part.path, now_ns, part.byte_count) for part in retired])
            self.set_fact(INTENDED_COLD, None)
            if hot_since > (self.hot_since() or ""):
                self.set_fact(HOT_SINCE, hot_since)
            if let_go > self.let_go_position():
                self.set_fact(LET_GO, let_go)

    def retire(self, retired: Sequence[Retired]) -> None:
        """Remember files that are to be deleted some day."""
        self._db.executemany("INSERT OR REPLACE INTO retired VALUES (?, ?, ?, ?)", [(*r, r.crc) for r in retired])

    def retired(self, until_ns: int = 1 << 62) -> list[Retired]:
        """Files that were retired up to a moment, the oldest first."""
        if self._reading().execute("PRAGMA user_version").fetchone()[0] < 2:
            return []
        found = self._reading().execute("SELECT * FROM retired WHERE retired_ns <= ? ORDER BY 2, 1", (until_ns,))
        with closing(found):
            rows = found.fetchall()
        retired = [Retired(*row[:-1]) for row in rows]
        for one, row in zip(retired, rows, strict=True):
            if one.crc != row[-1]:
                raise Damaged(f"the retirement of {one.path} in {self.path} is damaged. Run `recorder verify`.")
        return retired

    def forget_retired(self, paths: Sequence[str]) -> None:
        """These files are gone."""
        with self.transaction("IMMEDIATE"):
            self._db.executemany("DELETE FROM retired WHERE path = ?", [(path,) for path in paths])

    def hot_since(self) -> str | None:
        """The hour (`YYYYMMDDHH`) before which hot files count only if registered; None: nothing is cold yet."""
        return cast("str | None", self.fact(HOT_SINCE))

    def feeds_let_go(self) -> dict[str, int]:
        """The same by name of feed, for those of which messages were let go alone."""
        return self.fact(FEEDS_LET_GO) or {}

    def let_go_of_feed(self, feed: str, position: int) -> None:
        """Nothing of this feed is left up to a position."""
        self.set_fact(FEEDS_LET_GO, self.feeds_let_go() | {feed: position})

    def let_go_position(self) -> int:
        """Messages at or below it were let go on purpose; 0 for none."""
        return cast(int, self.fact(LET_GO) or 0)

    def standing(self) -> Standing:
        """What is known of the streams as of the sealed position."""
        kept = self.fact(STANDING)
        return Standing.from_json(kept) if kept else Standing()

    def _insert(self, parts: Sequence[Part]) -> None:
        rows = [(*astuple(part), part.crc) for part in parts]
        self._db.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    # --- facts ----------------------------------------------------------------------------------------------

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
