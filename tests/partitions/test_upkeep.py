from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pytest

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.commands.verify import verify
from recorder.errors import RecorderError
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.partitions import catalog, layout
from recorder.partitions.apart import Apart
from recorder.partitions.catalog import CATALOG, connect
from recorder.partitions.replacing import Beside
from recorder.partitions.retain import LetGo
from recorder.partitions.upkeep import Upkeep
from recorder.replay.timeline import Timeline

T = TypeVar("T")
Fill = Callable[..., int]

HOURS = 6  # from 20:00 to 02:00: one whole day, two hours of the next of which one is over
LAST = HOURS * 60
GRACE_S = 3600.0
LIMITS = settings.Compact(level=3, grace_s=GRACE_S)
MIDNIGHT_NS = 1_732_233_600 * SECOND_NS  # the end of the first day
COUNTS = "SELECT count(*), count(DISTINCT position), max(position) FROM messages"
QUOTES = "SELECT count(*), count(DISTINCT position) FROM quotes"


class InThread:
    """Where the work is done in tests that are not about processes."""

    async def do(self, task: Callable[[], T]) -> T:
        return await asyncio.to_thread(task)

    def kill(self) -> None:
        pass

    async def end(self) -> None:
        pass


class Later(Clock):
    """The machine's clock, some time later."""

    later_s = 0.0

    def now(self) -> Moment:
        now = super().now()
        return Moment(now.utc_ns + int(self.later_s * SECOND_NS), now.monotonic_ns)


class TwoDaysLater(Clock):
    """Two days after the midnight between the two days."""

    def now(self) -> Moment:
        return Moment(MIDNIGHT_NS + 2 * 86_400 * SECOND_NS, super().now().monotonic_ns)


@asynccontextmanager
async def upkeep(
    data: Path, clock: Clock | None = None, limits: settings.Compact = LIMITS, beside: Beside | None = None, **more: Any
) -> AsyncIterator[Upkeep]:
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    shown = ""

    async def show() -> str:
        nonlocal shown
        shown = await asyncio.to_thread(catalog.refresh, data, shown)
        return shown

    await show()
    made = Upkeep(data, journal, limits, clock or Clock(), show, beside or InThread(), **more)
    try:
        yield made
    finally:
        await made.close()
        await journal.close()


def files(data: Path) -> set[str]:
    """Every file a reader could take for a part."""
    found = (path.relative_to(data).as_posix() for path in data.glob("[!_]*/[hc]*/**/*.parquet"))
    return {path for path in found if f"hour={layout.SEED_HOUR}" not in path}


def registered(data: Path) -> set[str]:
    with closing(Store.open_readonly(data)) as store:
        return {part.path for part in store.parts()}


def ask(data: Path, statement: str) -> Any:
    with duckdb.connect(str(data / CATALOG), read_only=True) as connection:
        return connection.sql(statement).fetchall()[0]


def replayed(data: Path) -> list[int]:
    return [position for batch in Timeline(data).batches(1) for position in batch["position"].to_pylist()]


def all_is_seen(data: Path) -> None:
    """By whoever reads: the catalogue, a connection in process, a replay, and `verify`."""
    assert ask(data, COUNTS) == (LAST, LAST, LAST)
    assert ask(data, QUOTES) == (LAST // 5 * 2, LAST // 5)
    with connect(data) as connection:
        assert connection.sql(COUNTS).fetchall()[0] == (LAST, LAST, LAST)
    assert replayed(data) == list(range(1, LAST + 1))
    assert verify(data).findings == []


async def test_hours_and_days_become_few_files_and_every_reader_sees_the_same(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, HOURS)
    before = files(tmp_path)
    async with upkeep(tmp_path) as made:
        done = await made.compact()
    assert (done.works, done.parts_before, done.deleted_files) == (5 + 5, 5 * 3 * 5 + 4 * 5, 0)
    by_table: dict[str, list[str]] = {}
    for path in sorted(registered(tmp_path)):
        by_table.setdefault(layout.table_of(path), []).append(path)
    assert {table: len(paths) for table, paths in by_table.items()} == dict.fromkeys(by_table, 1 + 1 + 3)
    assert by_table["messages"][:2] == [
        layout.cold_path("messages", "2024112120", 1, 240, day=True),
        layout.cold_path("messages", "2024112200", 241, 300, day=False),
    ]
    all_is_seen(tmp_path)
    assert before < files(tmp_path), "what was replaced waits for its grace to end"


async def test_doing_it_again_does_nothing_and_expires_nobody(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, HOURS)
    async with upkeep(tmp_path) as made:
        await made.compact()
        with duckdb.connect(str(tmp_path / CATALOG), read_only=True) as connection:
            assert (await made.compact()).works == 0
            assert connection.sql(COUNTS).fetchall() == [(LAST, LAST, LAST)]


async def test_what_was_replaced_is_deleted_after_its_grace_by_whoever_runs_then(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, HOURS)
    async with upkeep(tmp_path) as made:
        await made.compact()
    clock = Later()
    async with upkeep(tmp_path, clock) as another:
        clock.later_s = GRACE_S - 60
        assert (await another.compact()).deleted_files == 0
        clock.later_s = GRACE_S + 60
        done = await another.compact()
    assert done.deleted_files == 5 * 3 * 5 + 4 * 5
    assert files(tmp_path) == registered(tmp_path)
    left = {path.name for path in (tmp_path / "messages/hot").iterdir()}
    assert left == {f"hour={layout.SEED_HOUR}", "hour=2024112201"}
    with closing(Store.open_readonly(tmp_path)) as store:
        assert store.retired() == []
    all_is_seen(tmp_path)


async def test_a_connection_from_before_is_right_until_the_grace_ends_and_told_so_afterwards(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, HOURS)
    clock = Later()
    async with upkeep(tmp_path, clock) as made:
        with duckdb.connect(str(tmp_path / CATALOG), read_only=True) as old:
            await made.compact()
            another_name = tmp_path / "another.duckdb"  # by the same one DuckDB would share what `old` has open
            shutil.copy(tmp_path / CATALOG, another_name)
            with duckdb.connect(str(another_name), read_only=True) as young:
                clock.later_s = GRACE_S - 60
                await made.compact()
                assert old.sql(COUNTS).fetchall() == [(LAST, LAST, LAST)]
                clock.later_s = GRACE_S + 60
                await made.compact()
                with pytest.raises(duckdb.IOException, match="catalogue-expired-please-reconnect"):
                    old.sql(COUNTS).fetchall()
                assert young.sql(COUNTS).fetchall() == [(LAST, LAST, LAST)], "it knew nothing of what is gone"


async def test_an_hour_that_is_damaged_is_left_and_told_and_the_others_go_on(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, HOURS)
    (broken, *_) = (tmp_path / "messages/hot/hour=2024112121").iterdir()
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    async with upkeep(tmp_path) as made:
        for _ in range(2):
            with pytest.raises(RecorderError, match=f"left as it is: hour 2024112121: .*{broken.name}"):
                await made.compact()
    hot = {path for path in registered(tmp_path) if path.startswith("messages/hot")}
    assert {layout.hour_in(path) for path in hot} == {"2024112121", "2024112201"}
    assert not any(path.startswith("quotes/cold/date=2024-11-21/hour=21") for path in files(tmp_path))
    broken.write_bytes(whole)
    all_is_seen(tmp_path)
    async with upkeep(tmp_path) as another:
        await another.compact()
    all_is_seen(tmp_path)


async def test_a_full_disk_changes_nothing_and_leaves_nothing(
    tmp_path: Path, sealed_hours: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed_hours(tmp_path, 2)
    before = files(tmp_path)
    fdatasync, left = os.fdatasync, 2

    def full(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device")
        fdatasync(descriptor)

    async with upkeep(tmp_path) as made:
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(OSError, match="No space left"):
            await made.compact()
        assert files(tmp_path) == before == registered(tmp_path)
        left = 1000
        assert (await made.compact()).works == 1


async def test_room_that_recording_needs_is_not_taken_and_what_had_its_grace_goes_all_the_more(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, 3)
    clock = Later()
    async with upkeep(tmp_path, clock) as made:
        await made.compact()
    sealed_hours(tmp_path, HOURS, after=3)
    clock.later_s = GRACE_S + 60
    async with upkeep(tmp_path, clock, keep_free_bytes=1 << 60) as cautious:
        with pytest.raises(OSError, match="too little room to compact: hour 2024112122 needs"):
            await cautious.compact()
    assert files(tmp_path) == registered(tmp_path)
    all_is_seen(tmp_path)


@pytest.mark.slow
async def test_work_that_is_under_way_ends_with_the_recorder_and_is_done_by_the_next(
    tmp_path: Path, sealed_hours: Fill
) -> None:
    sealed_hours(tmp_path, HOURS)
    async with upkeep(tmp_path, beside=Apart(19)) as made:
        running = asyncio.create_task(made.compact())
        await until(lambda: any("/cold/" in path for path in files(tmp_path)))
        await made.close()
        done = await running
        assert done.works < 9
    all_is_seen(tmp_path)
    async with upkeep(tmp_path, beside=Apart(19)) as another:
        await another.compact()
        assert registered(tmp_path) <= files(tmp_path)
    all_is_seen(tmp_path)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.01)


CRASHING = """
import asyncio, os, sys
from pathlib import Path
from recorder import settings
from recorder.clock import Clock
from recorder.journal.writer import Journal
from recorder.partitions import catalog
from recorder.partitions.upkeep import Upkeep

left = int(sys.argv[3])

def step(name):
    global left
    left -= name == sys.argv[2]
    if left == 0:
        os._exit(9)

class InThread:
    async def do(self, task):
        return await asyncio.to_thread(task)
    def kill(self):
        pass
    async def end(self):
        pass

async def main():
    data = Path(sys.argv[1])
    journal = Journal.open(data, settings.Journal(), Clock())
    async def show():
        return catalog.refresh(data, "")
    await show()
    upkeep = Upkeep(data, journal, settings.Compact(level=3, grace_s=0), Clock(), show, InThread(), step)
    await upkeep.compact()
    await upkeep.close()
    await journal.close()

asyncio.run(main())
"""


def run_upkeep(data: Path, crash_at: str, time: int) -> int:
    command = [sys.executable, "-c", CRASHING, str(data), crash_at, str(time)]
    return subprocess.run(command, check=False, timeout=60).returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "time"),
    [
        ("intended", 1),
        ("published messages", 1),
        ("published quotes", 2),
        ("made", 3),
        ("registered", 1),
        ("registered", 8),
        ("shown", 1),
        ("expired", 1),
        ("deleted", 1),
        ("forgot", 1),
    ],
)
def test_a_crash_at_any_step_loses_nothing_doubles_nothing_and_ends_in_the_same_files(
    tmp_path: Path, sealed_hours: Fill, step: str, time: int
) -> None:
    crashed, undisturbed = tmp_path / "crashed", tmp_path / "undisturbed"
    for data in (crashed, undisturbed):
        sealed_hours(data, HOURS)
        catalog.refresh(data, "")
    assert run_upkeep(crashed, step, time) == 9
    all_is_seen(crashed)  # what a person sees before the recorder is back
    assert run_upkeep(crashed, "never", 1) == 0
    assert run_upkeep(undisturbed, "never", 1) == 0
    all_is_seen(crashed)
    assert files(crashed) == files(undisturbed) == registered(crashed)
    for path in files(crashed):
        assert (crashed / path).read_bytes() == (undisturbed / path).read_bytes()


async def let_go(data: Path, **limits: Any) -> list[tuple[str | None, int]]:
    """Compact, then let go and delete at once."""
    async with upkeep(data, TwoDaysLater(), settings.Compact(level=3, grace_s=0)) as made:
        await made.compact()
        going: list[LetGo] = []
        await made.retain(settings.Retain(**limits), going.append)
        await made.compact()
    return [(one.feed, one.last_position) for one in going]


async def test_what_is_too_old_goes_and_nothing_calls_it_lost(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, HOURS)
    assert await let_go(tmp_path, days=2) == [(None, 240)]
    kept = (LAST - 240, LAST - 240, LAST)
    assert ask(tmp_path, COUNTS) == kept
    with connect(tmp_path) as connection:
        assert connection.sql(COUNTS).fetchall()[0] == kept
    assert replayed(tmp_path) == list(range(241, LAST + 1))
    verified = verify(tmp_path)
    assert (verified.findings, verified.let_go_position) == ([], 240)
    assert ask(tmp_path, "SELECT count(*) FROM lifecycle") == (LAST // 5,), "gaps of long ago are still known"
    assert not any("date=2024-11-21" in path and "lifecycle" not in path for path in files(tmp_path))


async def test_what_is_too_much_goes_the_oldest_first(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, HOURS)
    assert await let_go(tmp_path, bytes_max=1) == [(None, 300)]
    assert replayed(tmp_path) == list(range(301, LAST + 1))
    assert verify(tmp_path).findings == []


async def test_a_feed_goes_alone_and_the_others_stay(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, HOURS)
    assert await let_go(tmp_path, feeds={"prices": 2}) == [("prices", 240)]
    of_each = "SELECT count(*) FILTER (feed = 'prices'), count(*) FILTER (feed = 'news') FROM messages"
    assert ask(tmp_path, f"{of_each} WHERE position <= 240") == (0, 240 * 2 // 5)
    assert ask(tmp_path, "SELECT min(position) FROM quotes") == (245,)
    assert ask(tmp_path, "SELECT count(*) FROM articles") == (LAST // 5,)
    assert replayed(tmp_path) == [n for n in range(1, LAST + 1) if n > 240 or n % 5 in (1, 3)]
    assert verify(tmp_path).findings == []
    assert files(tmp_path) == registered(tmp_path)
    assert await let_go(tmp_path, feeds={"prices": 2}) == []


async def test_nothing_is_let_go_unless_it_was_asked_for(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, HOURS)
    assert await let_go(tmp_path) == []
    all_is_seen(tmp_path)
