"""From the past into a recording that is going on: a real journal, real sealing, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect

from recorder.clock import Clock
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions.sealer import Sealer
from recorder.replay.native import Native
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Journal as JournalSettings
from recorder.settings import Replay

QUOTES = Stream("quotes", "finance_query.quotes")


@asynccontextmanager
async def recording(data: Path) -> AsyncIterator[Journal]:
    journal = Journal.open(data, JournalSettings(commit_interval_ms=2), Clock())
    try:
        yield journal
    finally:
        await journal.close()


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[str]:
    sessions = Sessions(Timeline(data), Clock(), Replay())
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(60):
        yield server.url


def write(journal: Journal, count: int) -> int:
    """Append so many messages that name their own position; returns the last one."""
    clock = Clock()
    at = journal.durable + 1
    for position in range(at, at + count):
        journal.append(QUOTES, Kind.DATA, 1, [b'{"n":%d}' % position], Mark.NONE, clock.now())
    return at + count - 1


async def heard(client: ClientConnection, last: int) -> list[int]:
    positions: list[int] = []
    while not positions or positions[-1] < last:
        told = orjson.loads(await client.recv())
        if "position" in told:
            assert told["data"] == {"n": told["position"]}
            positions.append(told["position"])
    return positions


async def status(client: ClientConnection, wanted: str) -> dict[str, Any]:
    while True:
        state: dict[str, Any] = orjson.loads(await client.recv()).get("state", {})
        if state.get("status") == wanted:
            return state


@pytest.mark.slow
async def test_replay_passes_into_the_running_recording_with_nothing_missing_or_doubled(tmp_path: Path) -> None:
    async with recording(tmp_path) as journal, serving(tmp_path) as url:
        sealer = Sealer(tmp_path, journal, 1 << 16, Clock(), lambda: ThreadPoolExecutor(1))
        await journal.wait_durable(write(journal, 5_000))
        await sealer.seal()
        last = 40_000

        async def load() -> int:
            seals = 0
            while journal.durable < last:
                await journal.wait_durable(write(journal, 100))
                if journal.durable % 2_000 == 0:
                    seals += (await sealer.seal()).rounds
            return seals

        loading = asyncio.create_task(load())
        options: dict[str, Any] = {"max_size": None, "compression": None}
        async with (
            connect(f"{url}/replay?speed=max", **options) as fast,
            connect(f"{url}/replay?speed=1000", **options) as paced,
            connect(f"{url}/replay?speed=max&session=both", **options) as shared,
            connect(f"{url}/session/both/replay", **options) as late,
        ):
            everything = list(range(1, last + 1))
            found = await asyncio.gather(*(heard(client, last) for client in (fast, paced, shared, late)))
            assert found[:3] == [everything] * 3
            assert found[3] == everything[found[3][0] - 1 :]
            await status(fast, "live")
        assert await loading > 5
        await sealer.close()


async def test_a_live_tail_hears_what_is_recorded_from_now_on_and_only_what_is_durable(tmp_path: Path) -> None:
    async with recording(tmp_path) as journal, serving(tmp_path) as url:
        await journal.wait_durable(write(journal, 10))
        async with connect(f"{url}/replay?from=live") as client:
            await status(client, "live")
            for _ in range(5):
                last = write(journal, 3)
                positions = await heard(client, last)
                store = Store.open_readonly(tmp_path)
                assert store.durable_position() >= last
                store.close()
                assert positions == [last - 2, last - 1, last]


async def test_a_paused_live_tail_is_behind_when_it_goes_on_and_can_catch_up(tmp_path: Path) -> None:
    async with recording(tmp_path) as journal, serving(tmp_path) as url:
        await journal.wait_durable(write(journal, 1))
        async with connect(f"{url}/replay?from=live&speed=2") as client:
            await status(client, "live")
            await client.send('{"op":"pause"}')
            await status(client, "paused")
            await journal.wait_durable(last := write(journal, 100))
            await client.send('{"op":"resume"}')
            assert len(await heard(client, last)) == 100
            await status(client, "live")


async def test_replay_waits_for_a_recording_that_has_not_begun(tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as url, connect(f"{url}/replay?from=live") as client:
        await status(client, "live")
        async with recording(tmp_path / "data") as journal:
            assert await heard(client, write(journal, 3)) == [1, 2, 3]


async def test_where_nobody_records_it_ends_with_the_recording(tmp_path: Path) -> None:
    async with recording(tmp_path) as journal:
        await journal.wait_durable(write(journal, 10))
    async with serving(tmp_path) as url, connect(f"{url}/replay?speed=max") as client:
        assert await heard(client, 10) == list(range(1, 11))
        assert "end" in orjson.loads([text async for text in client][-1])


async def test_a_moment_that_is_still_to_come_ends_it_when_it_has_come(tmp_path: Path) -> None:
    async with recording(tmp_path) as journal, serving(tmp_path) as url:
        await journal.wait_durable(write(journal, 10))
        to_ns = Clock().now().utc_ns + 300_000_000
        async with connect(f"{url}/replay?to={to_ns}&speed=max") as client:
            assert await heard(client, 10) == list(range(1, 11))
            await status(client, "live")
            await asyncio.sleep(max(0, to_ns - Clock().now().utc_ns) / 1e9 + 0.001)
            await journal.wait_durable(write(journal, 10))
            texts = [orjson.loads(text) async for text in client]
            assert "end" in texts[-1]
            assert not any("position" in told for told in texts)
