"""The part registry: which Parquet files there are, which were replaced, and how far sealing has come.

In: parts that were published. Out: what a reader may read, as of one moment. If the power fails inside any method that
writes, either all it did is there afterwards or nothing. Rows carry a checksum each and are checked when they are read.
Making and deleting the files is the business of sealing, compaction and retention.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass
from typing import Literal, NamedTuple, cast

from recorder.errors import Damaged, RecorderError
from recorder.journal.database import Database
from recorder.journal.standing import Standing

SEALED, INTENDED, STANDING = "sealed_position", "intended_seal", "standing"
INTENDED_COLD, HOT_SINCE = "intended_compaction", "hot_since"
LET_GO, FEEDS_LET_GO = "let_go_position", "feeds_let_go"
REBUILDING = "rebuilding"


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


class Rebuilding(NamedTuple):
    """How far a table has been made anew from `messages`."""

    done: int  # up to this position
    until: int  # everything up to here was asked for
    by: str  # who makes it; another version begins anew


class Registry(Database):
    """The parts in the same database as the groups, so that a seal is one transaction."""

    def sealed_position(self) -> int:
        """Everything at or below it is in registered parts."""
        return cast(int, self.fact(SEALED) or 0)

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
        self,
        retired: Sequence[Part],
        parts: Sequence[Part],
        now_ns: int,
        *,
        hot_since: str = "",
        let_go: int = 0,
        rebuilt: tuple[str, int] | None = None,
    ) -> None:
        """In one transaction: `parts` stand for those that are `retired`, whose files are to be deleted some day.

        `hot_since`: from now on what is hot and of an earlier hour is found by its registration only. `let_go`: nothing
        stands for what is retired, up to this position, and that is as it should be. `rebuilt`: a table that is being
        made anew, and up to which position it is now. Raises RecorderError, with nothing changed, where one of the
        retired is not registered any more.
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
            if rebuilt:
                self.rebuilt(*rebuilt)

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

    def rebuilding(self) -> dict[str, Rebuilding]:
        """The tables that are being made anew."""
        return {table: Rebuilding(*how) for table, how in (self.fact(REBUILDING) or {}).items()}

    def begin_rebuild(self, tables: Sequence[str], by: str) -> None:
        """Have these made anew up to what is sealed now. What was begun `by` the same goes on where it is."""
        under_way = self.rebuilding()
        for table in tables:
            before = under_way.get(table)
            done = before.done if before and before.by == by else 0
            under_way[table] = Rebuilding(done, self.sealed_position(), by)
        self._rebuild(under_way)

    def rebuilt(self, table: str, position: int) -> None:
        """A table that is being made anew is up to this position."""
        under_way = self.rebuilding()
        self._rebuild(under_way | {table: under_way[table]._replace(done=position)})

    def end_rebuild(self, table: str) -> None:
        """Nothing of it is left to do."""
        self._rebuild({name: how for name, how in self.rebuilding().items() if name != table})

    def _rebuild(self, under_way: Mapping[str, Rebuilding]) -> None:
        self.set_fact(REBUILDING, {table: list(how) for table, how in under_way.items()})

    def standing(self) -> Standing:
        """What is known of the streams as of the sealed position."""
        kept = self.fact(STANDING)
        return Standing.from_json(kept) if kept else Standing()

    def _insert(self, parts: Sequence[Part]) -> None:
        rows = [(*astuple(part), part.crc) for part in parts]
        self._db.executemany("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
