"""Opening the journal after whatever happened to it.

In: a data directory whose lock is held. Out: a store that is whole, what is known of the streams, and what was lost.
A journal is whole if SQLite says so, every group behind the sealed position holds its checksum, positions have no hole
but the ones already known, and it reaches as far as was ever published. A power cut leaves it whole: that is SQLite's
promise. Anything else is damage: the files are set aside as they are, every group, part and fact that can be proved
intact goes into a new database, the rest is a loss with its positions, and positions go on behind the highest one known
from anywhere. If the power fails in here, the next start does the same again, or finishes the swap.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from recorder import disk
from recorder.clock import SECOND_NS, Clock
from recorder.errors import Damaged, GroupDamaged, JournalFailed, RecorderError
from recorder.journal.database import PAGE_BYTES, STORE_FILE, StillEmpty
from recorder.journal.group import unpack
from recorder.journal.pages import Pages
from recorder.journal.registry import SEALED, STANDING, Part, Retired
from recorder.journal.standing import Standing
from recorder.journal.store import LOST, Loss, Store

QUARANTINE = "_quarantine"
REBUILDING = "_rebuilding"  # the folder a new database is made in; it may be half done
REBUILT = "_rebuilt.sqlite"  # a finished one, on its way to its name
MESSAGES = "messages"  # the table whose parts are the recording itself
_PART_FILE = re.compile(r"(\d{20})-(\d{20})\.parquet")
# What is the same in every database of ours: magic, page size, WAL, no reserved bytes, the three fractions.
_HEADER = b"SQLite format 3\0" + PAGE_BYTES.to_bytes(2, "big") + b"\2\2\0\x40\x20\x20"
COUNT_MAX = 1 << 32  # messages of a group: more than that is a damaged number
_DAMAGE_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_READ)


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening found. `lost` are the ranges that have no `journal.lost` entry yet: write them."""

    lost: tuple[Loss, ...] = ()
    cause: str = ""  # why the database was replaced; empty: it was not
    set_aside: tuple[Path, ...] = ()
    parts_rebuilt: bool = False  # the registry is from file names: row counts and times in it are 0


def open_store(data: Path, published: int, clock: Clock) -> tuple[Store, Standing, Opening]:
    """The store, brought in order. Raises JournalFailed where the disk does not let it, never for damage."""
    path = data / STORE_FILE
    try:
        set_aside = _finish_swap(data, clock)
        cause, parts_rebuilt = "", False
        try:
            standing = _examine(data, published)
        except Damaged as damage:
            cause = str(damage)
            parts_rebuilt = _rebuild(data, published, cause)
            set_aside = _finish_swap(data, clock)
            standing = _examine(data, published)
        store = Store.open(data)
        untold = tuple(loss for loss in store.losses() if loss[:2] not in standing.told)
    except (sqlite3.Error, OSError) as error:
        raise JournalFailed(path, str(error)) from error
    return store, standing, Opening(untold, cause, set_aside, parts_rebuilt)


def _examine(data: Path, published: int) -> Standing:
    """What is known as of the end of a whole journal; raises Damaged, with nothing changed on disk."""
    path = data / STORE_FILE
    if not path.exists() or path.stat().st_size == 0:
        if path.with_name(path.name + "-wal").exists():
            raise Damaged(f"{path} is missing")
        return _nothing_yet(data, published)
    with path.open("rb") as file:  # before any connection: closing a file lets go all locks this process has on it
        header = file.read(len(_HEADER))
    if header != _HEADER:
        raise Damaged(f"{path} does not begin as our databases do")
    try:
        with closing(Store.open_readonly(data)) as store, store.transaction():
            return _check(store, published)
    except StillEmpty:
        return _nothing_yet(data, published)
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own: text that is not UTF-8
        if code in _DAMAGE_CODES or code & 0xFF in _DAMAGE_CODES:
            raise Damaged(f"{path}: {error}") from error
        raise


def _nothing_yet(data: Path, published: int) -> Standing:
    if published or part_files(data):
        raise Damaged(f"{data / STORE_FILE} is missing")
    return Standing()


def _check(store: Store, published: int) -> Standing:
    if (found := store.check()) != "ok":
        raise Damaged(f"{store.path}: {found}")
    sealed, standing = store.sealed_position(), store.standing()
    store.parts()
    if standing.position > sealed:
        raise Damaged(f"{store.path} knows the streams up to {standing.position} and is sealed up to {sealed}")
    there = [(1, sealed), *(loss[:2] for loss in store.losses())]
    last = sealed
    for group in store.each_group(sealed):
        if group.first_position <= last and last > sealed:
            raise GroupDamaged(group.first_position, f"positions up to {last} are in the group before it")
        last = group.last_position
        there.append((group.first_position, last))
        standing.fold(group)
    if holes := _missing(there, max(published, store.durable_position())):
        ranges = ", ".join(f"{first} to {last}" for first, last in holes)
        raise Damaged(f"{store.path} has lost positions {ranges}")
    return standing


def _missing(ranges: Iterable[tuple[int, int]], highest: int) -> list[tuple[int, int]]:
    """What of 1 to `highest` is in none of the ranges."""
    holes = []
    expected = 1
    for first, last in sorted(ranges):
        if first > expected:
            holes.append((expected, first - 1))
        expected = max(expected, last + 1)
    if expected <= highest:
        holes.append((expected, highest))
    return holes


def _rebuild(data: Path, published: int, cause: str) -> bool:
    """Make REBUILT of all that can be proved intact. Answers whether the registry had to come from file names."""
    folder = data / REBUILDING
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    parts, retired, facts = _registered(data)
    rebuilt = parts is None
    if parts is None:
        parts = _parts_by_name(data, facts.get(SEALED))
    sealed = facts.get(SEALED) or max((p.last_position for p in parts if p.table_name == MESSAGES), default=0)
    standing = Standing.from_json(facts[STANDING]) if facts.get(STANDING) else Standing(sealed)
    losses = [Loss(*loss) for loss in facts.get(LOST) or ()]
    with closing(Store.open(folder)) as new:
        with new.transaction("IMMEDIATE"):
            there, highest = _copy_groups(data / STORE_FILE, new, sealed)
        there += [(1, sealed), *(loss[:2] for loss in losses)]
        highest = max(highest, published, *(last for _, last in there), *(p.last_position for p in parts))
        losses += [Loss(first, last, cause) for first, last in _missing(there, highest)]
        new.register(parts, sealed, standing if standing.position <= sealed else Standing(sealed))
        new.retire(retired)
        for key, value in facts.items():
            if key not in (SEALED, STANDING, LOST) and value is not None:
                new.set_fact(key, value)
        new.set_fact(LOST, sorted(map(list, losses)))
        new.checkpoint()
    (folder / STORE_FILE).replace(data / REBUILT)  # closing was the last one to do so: there is no log any more
    disk.sync(data)
    folder.rmdir()
    return rebuilt


def _copy_groups(old: Path, new: Store, sealed: int) -> tuple[list[tuple[int, int]], int]:
    """The ranges of the intact groups behind `sealed`, now in `new`; and the highest position rows speak of."""
    there: list[tuple[int, int]] = []
    spoken_of = 0
    with Pages(old, PAGE_BYTES) as pages:
        for first, values in pages.rows():
            if len(values) != 5 or not isinstance(values[1], int) or not isinstance(values[4], bytes):
                continue  # the first column is the key, which SQLite keeps beside the values
            last, packed = values[1], values[4]
            if 0 <= last - first < COUNT_MAX:
                spoken_of = max(spoken_of, last)
            with suppress(GroupDamaged, sqlite3.IntegrityError):  # the second: an old copy of the page came before
                group = unpack(packed, first)
                if group.last_position <= sealed:
                    continue
                new.append(packed, first, group.last_position, min(group.received_ns), max(group.received_ns))
                there.append((first, group.last_position))
    return there, spoken_of


def _registered(data: Path) -> tuple[list[Part] | None, list[Retired], dict[str, Any]]:
    """The registry (None: not to be trusted), files to be deleted, and facts, as far as the old database has them."""
    parts: list[Part] | None = None
    retired: list[Retired] = []
    facts: dict[str, Any] = {}
    with suppress(RecorderError, sqlite3.Error), closing(Store.open_readonly(data)) as old:
        for key in old.fact_keys():
            with suppress(Damaged):
                facts[key] = old.fact(key)  # by its index, which may disagree: None
        if old.check("parts") == "ok":  # a row that is missing does not show in the checksums of the others
            parts = old.parts()
            if old.check("retired") == "ok":  # a file that is kept for ever is no loss, one deleted in error is
                retired = old.retired()
    return parts, retired, facts


def part_files(data: Path) -> list[Path]:
    """Every file that is named as a part, in tables that scanners do not pass over; the seed, at 0, is none."""
    files = [*data.glob("[!_]*/hot/**/*.parquet"), *data.glob("[!_]*/cold/**/*.parquet")]
    return sorted(path for path in files if (name := _PART_FILE.fullmatch(path.name)) and int(name[2]) > 0)


def _parts_by_name(data: Path, sealed: int | None) -> list[Part]:
    """What the registry must have been, as far as names tell.

    Files behind the sealed position were never registered; a file inside the range of another of its table was replaced
    by it, or would have been, and of two with one range the one that is further: a day's, an hour's, a hot one.
    """
    found = []
    for path in part_files(data):
        relative = path.relative_to(data).as_posix()
        first, last = map(int, path.stem.split("-"))
        if sealed is None or last <= sealed:
            table, tier, *folders, _ = relative.split("/")
            found.append((table, first, -last, (tier, len(folders)), relative))
    parts: list[Part] = []
    for table, first, minus_last, (tier, _), relative in sorted(found):
        if not (parts and parts[-1].table_name == table and -minus_last <= parts[-1].last_position):
            size = (data / relative).stat().st_size
            parts.append(Part(table, relative, cast(Any, tier), first, -minus_last, 0, 0, 0, size, 0))
    return parts


def _finish_swap(data: Path, clock: Clock) -> tuple[Path, ...]:
    """Set the damaged files aside and put a finished new database in their place, if there is one."""
    if not (data / REBUILT).exists():
        return ()
    stamp = f"{datetime.fromtimestamp(clock.now().utc_ns // SECOND_NS, UTC):%Y%m%dT%H%M%SZ}"
    damaged = [data / f"{STORE_FILE}{suffix}" for suffix in ("-wal", "-shm", "-journal", "")]
    aside = tuple(disk.set_aside(path, data / QUARANTINE, stamp) for path in damaged if path.exists())
    (data / REBUILT).replace(data / STORE_FILE)
    disk.sync(data)
    return aside
