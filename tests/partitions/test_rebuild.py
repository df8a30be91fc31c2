from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow.parquet as pq
import pytest

from recorder import settings
from recorder.clock import Clock
from recorder.commands.verify import verify
from recorder.errors import RequestInvalid
from recorder.journal.registry import Part, Rebuilding
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.partitions import catalog, layout, rebuild, schema, upkeep
from recorder.partitions.catalog import CATALOG
from recorder.partitions.upkeep import LeftAsItIs, Upkeep

T = TypeVar("T")
Fill = Callable[..., int]

HOURS = 6  # from 20:00 to 02:00: a day, an hour of the next, and an hour that is not over
COLD, LAST = 300, 360
ALL = Rebuilding(0, 1 << 40, "")
TABLES = ("quotes", "articles", "lifecycle", "traffic")


def part(table: str, path: str, first: int, last: int) -> Part:
    return Part(table, f"{table}/{path}/{first:020}-{last:020}.parquet", "cold", first, last, 1, 2, 1, 10, 1)


DAY, HOUR = "cold/date=2024-11-21", "cold/date=2024-11-22/hour=00"


def spans(pieces: list[rebuild.Piece]) -> list[tuple[int, int, int]]:
    return [(piece.first_position, piece.last_position, len(piece.messages)) for piece in pieces]


def test_a_piece_is_a_file_or_where_there_was_none() -> None:
    messages = [part("messages", DAY, 1, 100), part("messages", DAY, 101, 200), part("messages", HOUR, 201, 300)]
    quotes = [part("quotes", DAY, 51, 150), part("quotes", HOUR, 201, 300)]
    pieces = rebuild.plan([*messages, *quotes], "quotes", ALL, 0, ())
    assert spans(pieces) == [(1, 50, 1), (51, 150, 2), (151, 200, 1), (201, 300, 1)]
    assert [piece.old for piece in pieces] == [None, quotes[0], None, quotes[1]]
    assert pieces[0].path == part("quotes", DAY, 1, 50).path
    assert pieces[3].path == part("quotes", f"{HOUR}/kept=1", 201, 300).path


def test_what_is_done_was_not_asked_for_or_is_hot_is_no_piece() -> None:
    messages = [part("messages", DAY, n, n + 9) for n in (1, 11, 21, 31)]
    hot = part("messages", "hot/hour=2024112201", 41, 50)
    assert spans(rebuild.plan([*messages, hot], "quotes", Rebuilding(10, 25, ""), 0, ())) == [(11, 20, 1), (21, 30, 1)]
    assert rebuild.hot_messages([*messages, hot], Rebuilding(0, 25, "")) == 0
    assert rebuild.hot_messages([*messages, hot], ALL) == 1


def test_rows_that_outlived_their_messages_are_no_piece_or_stay_in_it() -> None:
    messages = [part("messages", DAY, 101, 200)]
    old = [part("lifecycle", DAY, 1, 50), part("lifecycle", DAY, 51, 200)]
    (piece,) = rebuild.plan([*messages, *old], "lifecycle", ALL, 100, ())
    assert (piece.old, piece.let_go) == (old[1], 100)


def test_a_name_is_never_used_for_another_file() -> None:
    messages, gone = part("messages", DAY, 1, 9), part("quotes", DAY, 1, 9).path
    (piece,) = rebuild.plan([messages], "quotes", ALL, 0, {gone, layout.anew(gone, {gone})})
    assert piece.path == part("quotes", f"{DAY}/kept=2", 1, 9).path


def test_what_is_asked_for_is_a_table_made_of_messages(tmp_path: Path) -> None:
    with pytest.raises(RequestInvalid, match="made of messages are articles, quotes"):
        rebuild.ask(tmp_path, ["messages"])
    assert rebuild.asked(tmp_path) is None
    rebuild.ask(tmp_path, ["quotes"])
    file = tmp_path / rebuild.ASKED_FILE
    assert rebuild.asked(tmp_path) == rebuild.Asked(file, ("quotes",))
    file.write_bytes(b'["nonsense"')
    broken = rebuild.Asked(file, ())
    assert rebuild.asked(tmp_path) == broken
    broken.done()
    assert rebuild.asked(tmp_path) is None


class InThread:
    async def do(self, task: Callable[[], T]) -> T:
        return await asyncio.to_thread(task)

    def kill(self) -> None:
        pass

    async def end(self) -> None:
        pass


@asynccontextmanager
async def keeper(data: Path, step: Callable[[str], None] = lambda _: None) -> AsyncIterator[Upkeep]:
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    shown = ""

    async def show() -> str:
        nonlocal shown
        shown = await asyncio.to_thread(catalog.refresh, data, shown)
        return shown

    await show()
    made = Upkeep(data, journal, settings.Compact(level=3, grace_s=3600), Clock(), show, InThread(), step)
    try:
        yield made
    finally:
        await made.close()
        await journal.close()


def rows(data: Path) -> dict[str, Any]:
    """What the catalogue shows of each table; of the sums what they add up to."""
    with duckdb.connect(str(data / CATALOG), read_only=True) as connection:
        sums = "SELECT feed, channel, kind, sum(messages), sum(bytes) FROM traffic GROUP BY ALL ORDER BY ALL"
        asked = {table: f"FROM {table} ORDER BY ALL" for table in TABLES} | {"traffic": sums}
        return {table: connection.sql(query).fetchall() for table, query in asked.items()}


@pytest.fixture
def compacted(tmp_path: Path, sealed_hours: Fill) -> Path:
    sealed_hours(tmp_path, HOURS)

    async def run() -> None:
        async with keeper(tmp_path) as upkeep:
            await upkeep.compact()

    asyncio.run(run())
    return tmp_path


def cold(data: Path, table: str) -> list[Part]:
    with closing(Store.open_readonly(data)) as store:
        return [part for part in store.parts(table) if not layout.is_hot(part.path)]


def make_old(data: Path, table: str, without: str) -> None:
    """As if an earlier version, which had one column less, had sealed and compacted it."""
    for old in cold(data, table):
        there = pq.read_table(data / old.path).drop_columns([without])
        pq.write_table(there, data / old.path)
        with closing(Store.open(data)) as store:
            store.replace([old], [replace(old, byte_count=(data / old.path).stat().st_size)], 1)
            store.forget_retired([old.path])


async def rebuilt(data: Path, *tables: str) -> None:
    async with keeper(data) as upkeep:
        await upkeep.begin_rebuild(tables)
        await upkeep.rebuild()


def test_days_from_before_an_upgrade_get_the_new_columns(compacted: Path) -> None:
    catalog.refresh(compacted, "")
    before = rows(compacted)
    make_old(compacted, "quotes", "price")
    catalog.refresh(compacted, "")
    assert rows(compacted)["quotes"] != before["quotes"]
    asyncio.run(rebuilt(compacted, "quotes"))
    assert rows(compacted) == before
    for part in cold(compacted, "quotes"):
        metadata = pq.read_schema(compacted / part.path).metadata
        assert metadata[schema.META_SCHEMA] == str(schema.SCHEMA_VERSION).encode()
    assert verify(compacted).findings == []


def test_all_tables_are_the_same_again_and_old_files_wait_for_their_grace(compacted: Path) -> None:
    catalog.refresh(compacted, "")
    before, old = rows(compacted), {table: cold(compacted, table) for table in TABLES}
    asyncio.run(rebuilt(compacted))
    assert rows(compacted) == before
    for table in TABLES:
        now = cold(compacted, table)
        assert [(part.first_position, part.last_position) for part in now] == [
            (part.first_position, part.last_position) for part in old[table]
        ]
        assert not {part.path for part in now} & {part.path for part in old[table]}
        assert all((compacted / part.path).exists() for part in old[table])
    assert verify(compacted).findings == []


def test_a_table_without_files_is_made_where_it_has_rows(compacted: Path) -> None:
    catalog.refresh(compacted, "")
    before = rows(compacted)
    with closing(Store.open(compacted)) as store:
        store.replace(cold(compacted, "quotes"), [], 1)
    asyncio.run(rebuilt(compacted, "quotes", "articles"))
    assert rows(compacted) == before
    assert verify(compacted).findings == []


def test_what_is_hot_follows_when_its_hour_is_over(compacted: Path, sealed_hours: Fill) -> None:
    asyncio.run(rebuilt(compacted, "quotes"))
    with closing(Store.open_readonly(compacted)) as store:
        how = store.rebuilding()["quotes"]
    assert (how.done, how.until) == (COLD, LAST)
    sealed_hours(compacted, HOURS + 1, after=HOURS)

    async def go_on() -> None:
        async with keeper(compacted) as upkeep:
            await upkeep.compact()
            await upkeep.rebuild()

    asyncio.run(go_on())
    assert "kept=1" in cold(compacted, "quotes")[-1].path
    with closing(Store.open_readonly(compacted)) as store:
        assert store.rebuilding() == {}


def test_what_an_older_recorder_had_begun_begins_anew(compacted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Store.open(compacted)) as store:
        store.begin_rebuild(["quotes"], "an older one")
        store.rebuilt("quotes", 240)
    monkeypatch.setattr(upkeep, "BY", "a newer one")

    async def go_on() -> None:
        async with keeper(compacted) as made:
            await made.rebuild()

    asyncio.run(go_on())
    assert all("kept=1" in part.path for part in cold(compacted, "quotes"))


def test_messages_that_are_damaged_leave_the_old_rows_and_all_else_goes_on(compacted: Path) -> None:
    broken = compacted / cold(compacted, "messages")[0].path
    whole = broken.read_bytes()
    middle = len(whole) // 4
    broken.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])

    async def run() -> None:
        async with keeper(compacted) as made:
            await made.begin_rebuild(["quotes"])
            with pytest.raises(LeftAsItIs, match=f"quotes at positions .*{broken.name}"):
                await made.rebuild()

    asyncio.run(run())
    first, *others = cold(compacted, "quotes")
    assert "kept" not in first.path
    assert others
    assert all("kept=1" in part.path for part in others)


class Stopped(Exception):
    """As if the power had failed."""


@pytest.mark.parametrize(("step", "times"), [("intended", 1), ("made", 1), ("registered", 1), ("made", 3)])
def test_broken_off_anywhere_readers_see_each_row_once_and_it_goes_on(compacted: Path, step: str, times: int) -> None:
    catalog.refresh(compacted, "")
    before = rows(compacted)
    left = times

    def stop(name: str) -> None:
        nonlocal left
        left -= name == step
        if left == 0:
            raise Stopped

    async def run() -> None:
        async with keeper(compacted, stop) as made:
            await made.begin_rebuild(["quotes", "traffic"])
            with pytest.raises(Stopped):
                await made.rebuild()

    asyncio.run(run())
    assert rows(compacted) == before
    with catalog.connect(compacted) as connection:
        assert connection.sql("SELECT count(*) FROM quotes").fetchall() == [(len(before["quotes"]),)]
    done = len([part for part in cold(compacted, "quotes") if "kept=1" in part.path])

    async def go_on() -> None:
        async with keeper(compacted) as made:
            await made.rebuild()

    asyncio.run(go_on())
    assert rows(compacted) == before
    assert all("kept=1" in part.path for part in (*cold(compacted, "quotes"), *cold(compacted, "traffic")))
    assert done == {("registered", 1): 1, ("made", 3): 2}.get((step, times), 0), "what was done is not done again"
    assert verify(compacted).findings == []
