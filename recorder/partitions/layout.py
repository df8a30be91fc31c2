"""Where Parquet lives below the data directory, and what its names say. Pure.

In: tables, positions and receive times. Out: paths and back again. A name carries the first and the last position of
what the file covers, so doing a piece of work twice writes the same name twice, and an index can be made from names.

    <table>/hot/hour=2026112119/<first>-<last>.parquet            what one seal made, positions with 20 digits
    <table>/cold/date=2026-11-21/hour=19/<first>-<last>.parquet   an hour of those, when it is over
    <table>/cold/date=2026-11-21/<first>-<last>.parquet           the hours of a day that is over: as it stays
    <table>/cold/date=2026-11-21/kept=1/<first>-<last>.parquet    written anew: without what was let go, or rebuilt
    <table>/hot/hour=9999999999/…                                 the seed: no rows, so that no glob is empty
    <table>/_views/catalogue-expired-please-reconnect-….parquet   the sentinel of a generation: no rows

Hours and dates are UTC and those of `received_ns`; a file never holds rows of two hours.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
POSITION_DIGITS = 20  # as wide as an unsigned 64-bit number, so that names sort like positions

# Above every hour and excluded by name, so the seed is listed and never opened. Behind all others, because DuckDB takes
# the rows of the first file of a glob for those of each: with the seed there, it plans joins for a table without rows.
SEED_HOUR = "9999999999"
FIRST_HOUR = "1970010100"  # the bound of a hot glob while nothing has become cold
LAST_HOUR = "9999123123"  # the bound of one that shows nothing

_NAME = re.compile(r"(\d{20})-(\d{20,})\.parquet")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of positions received within one hour: indexes `[start, stop)` of what was split."""

    hour: str
    start: int
    stop: int


def hour_of(received_ns: int) -> str:
    """The UTC hour of a receive time, `YYYYMMDDHH`."""
    return datetime.fromtimestamp(received_ns // SECOND_NS, UTC).strftime("%Y%m%d%H")


def split_at_hours(received_ns: pa.Array) -> Iterator[Run]:
    """Cut int64 receive times in order of position into runs of one hour each.

    Receive times never go back within a recorder, so there is one run an hour; where they do (a foreign or repaired
    journal), an hour has several runs with names of their own, and nothing is lost.
    """
    hours = pc.run_end_encode(pc.divide(received_ns, HOUR_NS))
    start = 0
    for hour, stop in zip(hours.values.to_pylist(), hours.run_ends.to_pylist(), strict=True):
        yield Run(hour_of(hour * HOUR_NS), start, stop)
        start = stop


def hot_path(table: str, hour: str, first: int, last: int) -> str:
    """The path, relative to the data directory, of what one seal made of positions first to last."""
    return f"{table}/hot/hour={hour}/{first:0{POSITION_DIGITS}}-{last:0{POSITION_DIGITS}}.parquet"


def cold_path(table: str, hour: str, first: int, last: int, *, day: bool) -> str:
    """The path of what compaction made of positions first to last, of that hour or of the day it belongs to."""
    date = f"{hour[:4]}-{hour[4:6]}-{hour[6:8]}"
    folder = f"{table}/cold/date={date}" + ("" if day else f"/hour={hour[8:]}")
    return f"{folder}/{first:0{POSITION_DIGITS}}-{last:0{POSITION_DIGITS}}.parquet"


def anew(path: str, taken: Container[str]) -> str:
    """Where a cold part is to lie that is made anew, under a name that is not taken: whoever knows one reads that."""
    *folders, name = path.split("/")
    times = 0
    if folders[-1].startswith("kept="):
        times = int(folders.pop().removeprefix("kept="))
    while path in taken:
        times += 1
        path = "/".join([*folders, f"kept={times}", name])
    return path


def beside(path: str, table: str, first: int, last: int) -> str:
    """Where another table's part of positions first to last lies, of the same hour or day as this cold one."""
    folders = [folder for folder in path.split("/")[1:-1] if not folder.startswith("kept=")]
    name = f"{first:0{POSITION_DIGITS}}-{last:0{POSITION_DIGITS}}.parquet"
    return "/".join([table, *folders, name])


def hot_glob(table: str) -> str:
    """Every hot file of a table, and its seed."""
    return f"{table}/hot/hour=*/*.parquet"


def seed_path(table: str) -> str:
    """The file without rows that keeps the hot glob from being empty, which DuckDB 1.x takes for an error."""
    return hot_path(table, SEED_HOUR, 0, 0)


def sentinel_path(table: str, generation: str) -> str:
    """The file without rows whose absence makes a connection that is too old fail; its name is the error text."""
    return f"{table}/_views/catalogue-expired-please-reconnect-{generation}.parquet"


def table_of(path: str) -> str:
    """The table a path relative to the data directory belongs to."""
    return PurePosixPath(path).parts[0]


def is_hot(path: str) -> bool:
    """Whether a seal made it, and no compaction yet."""
    return path.split("/")[1:2] == ["hot"]


def hour_in(path: str) -> str | None:
    """The hour of a part that holds one hour, hot or cold; None for a whole day's and for any other path."""
    folders = dict(folder.split("=", 1) for folder in path.split("/") if "=" in folder)
    hour = folders.get("hour")
    return None if hour is None else folders.get("date", "").replace("-", "") + hour


def next_hour(hour: str) -> str:
    """The hour behind an hour, both `YYYYMMDDHH`."""
    return f"{datetime.strptime(hour + '+0000', '%Y%m%d%H%z') + timedelta(hours=1):%Y%m%d%H}"


def positions_in(path: str) -> tuple[int, int] | None:
    """First and last position as the name says them, None where it is no name of a part."""
    match = _NAME.fullmatch(PurePosixPath(path).name)
    return (int(match[1]), int(match[2])) if match else None
