"""The real daemon compacts and lets go of what it finds, while it records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recorder.commands.verify import verify
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions import rebuild
from recorder.partitions.catalog import CATALOG, connect
from recorder.settings import Settings

HOURS = 3
PATIENCE_S = 60


def registered(data: Path) -> list[Part]:
    with closing(Store.open_readonly(data)) as store:
        return store.parts("messages")


async def run_until(data: Path, holds: Callable[[Daemon], bool], **sections: Any) -> Daemon:
    async with Upstreams(World(1, articles_per_s=50)) as upstreams:
        feed = {"kind": "finlight", "url": upstreams.finlight_url, "backfill": False}
        often = {"seal": {"interval_s": 0.2}, "compact": {"interval_s": 0.2, "grace_s": 0, "level": 3}}
        settings = Settings.model_validate({"data": data, "feeds": {"wire": feed}, **often, **sections})
        daemon = Daemon(settings, {"wire": "key"})
        running = asyncio.create_task(daemon.run())
        async with asyncio.timeout(PATIENCE_S):
            while not holds(daemon):  # noqa: ASYNC110 - other processes make it so
                await asyncio.sleep(0.05)
        daemon.stop()
        await running
    return daemon


def of_long_ago(parts: list[Part]) -> list[Part]:
    return [part for part in parts if part.last_position <= HOURS * 60]


@pytest.mark.slow
async def test_hours_that_are_over_become_one_part_while_it_records(
    tmp_path: Path, sealed_hours: Callable[[Path, int], int]
) -> None:
    last = sealed_hours(tmp_path, HOURS)

    first_hour = tmp_path / "messages/hot/hour=2024112120"

    def done(daemon: Daemon) -> bool:
        one_is_left = len(of_long_ago(registered(tmp_path))) == 1 and not first_hour.exists()
        return one_is_left and daemon.tallies.messages.total() > 100

    daemon = await run_until(tmp_path, done)
    (old,) = of_long_ago(registered(tmp_path))
    assert (old.tier, old.first_position, old.last_position) == ("cold", 1, last)
    jobs = {row["job"]: row for row in daemon.schedule.table()}
    assert (jobs["compact"]["last_outcome"], jobs["compact"]["failures"]) == ("ok", 0)
    assert "retain" not in jobs
    assert verify(tmp_path).findings == []


@pytest.mark.slow
async def test_what_is_let_go_is_noted_in_the_recording(
    tmp_path: Path, sealed_hours: Callable[[Path, int], int]
) -> None:
    last = sealed_hours(tmp_path, HOURS)
    await run_until(tmp_path, lambda _: not of_long_ago(registered(tmp_path)), retain={"bytes_max": 1})
    with connect(tmp_path) as connection:
        entries = "SELECT (text::JSON->>'last_position')::INT FROM messages WHERE text LIKE '%parts.let_go%bytes%'"
        noted = [position for (position,) in connection.sql(entries).fetchall()]
        ((first,),) = connection.sql("SELECT min(position) FROM messages").fetchall()
    assert noted == sorted(noted)
    assert noted[-1] == last < first
    assert verify(tmp_path).findings == []


@pytest.mark.slow
async def test_a_running_recorder_makes_a_table_anew_when_it_is_asked_and_readers_see_each_row_once(
    tmp_path: Path, sealed_hours: Callable[[Path, int], int]
) -> None:
    last = sealed_hours(tmp_path, HOURS)
    seen: set[tuple[int, ...]] = set()
    asked = False

    def done(daemon: Daemon) -> bool:
        nonlocal asked
        if (tmp_path / CATALOG).exists():
            with duckdb.connect(str(tmp_path / CATALOG), read_only=True) as connection:
                counts = f"SELECT count(*), count(DISTINCT position) FROM quotes WHERE position <= {last}"
                seen.update(connection.sql(counts).fetchall())
        with closing(Store.open_readonly(tmp_path)) as store:
            quotes = [part for part in store.parts("quotes") if part.last_position <= last]
        if not asked and all(part.tier == "cold" for part in quotes):
            rebuild.ask(tmp_path, ["quotes"])
            asked = True
        return bool(quotes) and all("kept=1" in part.path for part in quotes) and daemon.tallies.messages.total() > 100

    daemon = await run_until(tmp_path, done)
    assert seen == {(2 * last // 5, last // 5)}
    jobs = {row["job"]: row for row in daemon.schedule.table()}
    assert jobs["rebuild"]["last_outcome"] == "ok"
    assert {"seal", "compact", "rebuild", "verify", "statistics", "catalogue", "disk"} <= set(jobs)
    assert verify(tmp_path).findings == []
