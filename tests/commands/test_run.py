"""`recorder run` as systemd sees it: a process, its signals, its exit code, what is on disk after `kill -9`."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.partitions import catalog

pytestmark = pytest.mark.slow


def configured(folder: Path, upstreams: Upstreams) -> Path:
    config = folder / "config.toml"
    config.write_text(
        f"""
        data = "data"
        [feeds.news]
        kind = "finlight"
        url = "{upstreams.finlight_url}"
        [feeds.quotes]
        kind = "finance_query.quotes"
        url = "{upstreams.finance_query_url}"
        symbols = ["AAPL", "MSFT"]
        """
    )
    return config


@asynccontextmanager
async def recorder(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "recorder", "run", "--config", str(config),
        env={"RECORDER_SECRET_FINLIGHT": "key", "PATH": "/usr/bin:/bin"}, stderr=asyncio.subprocess.PIPE,
        stdin=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def receiving(config: Path, process: asyncio.subprocess.Process) -> dict[str, Any]:
    status = config.parent / "data" / "_status.json"
    async with asyncio.timeout(60):
        while True:
            assert process.returncode is None, await process.stderr.read() if process.stderr else b""
            if status.exists():
                told: dict[str, Any] = orjson.loads(status.read_bytes())
                if told["pid"] == process.pid and all(f["messages"] > 10 for f in told["feeds"].values()):
                    return told
            await asyncio.sleep(0.05)


def ask(data: Path, statement: str) -> list[tuple[Any, ...]]:
    with catalog.connect(data) as connection:
        return connection.sql(statement).fetchall()


async def test_sigterm_makes_everything_durable_and_sealed_and_exits_0(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        config = configured(tmp_path, upstreams)
        async with recorder(config) as process:
            told = await receiving(config, process)
            process.send_signal(signal.SIGTERM)
            _, talk = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, talk
    data = tmp_path / "data"
    ((sealed,),) = ask(data, "SELECT max(position) FROM messages")
    assert sealed >= told["durable_position"]
    assert orjson.loads((data / "_status.json").read_bytes())["sealed_position"] == sealed
    assert ask(data, "SELECT DISTINCT cause FROM gaps WHERE until_at IS NULL") == [("stopped by SIGTERM",)]
    assert b"recorder.ended durable_position=%d sealed_position=%d" % (sealed, sealed) in talk


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        config = configured(tmp_path, upstreams)
        async with recorder(config) as process:
            await receiving(config, process)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)


async def test_a_killed_recorder_is_a_gap_with_its_true_bounds(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        config = configured(tmp_path, upstreams)
        async with recorder(config) as process:
            before = await receiving(config, process)
            killed_ns = time.time_ns()
            process.kill()
            await process.wait()
        async with recorder(config) as process:
            await receiving(config, process)
            started_ns = time.time_ns()
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
    data = tmp_path / "data"
    crashes = ask(data, "SELECT feed, epoch_ns(since_at), epoch_ns(until_at) FROM gaps WHERE cause = 'crash'")
    assert {feed for feed, _, _ in crashes} == {"news", "quotes"}
    for feed, since_ns, until_ns in crashes:
        assert since_ns <= killed_ns + 1_000_000_000
        assert since_ns >= before["feeds"][feed]["last_data_ns"] - 1_000_000_000
        assert killed_ns < until_ns <= started_ns
        last = f"SELECT epoch_ns(max(received_at)) FROM messages WHERE feed = '{feed}' AND kind <> 'lifecycle'"
        assert ask(data, f"{last} AND epoch_ns(received_at) < {killed_ns}") == [(since_ns,)]
    ((count, span),) = ask(data, "SELECT count(*), max(position) - min(position) + 1 FROM messages")
    assert count == span


async def test_a_second_recorder_on_the_same_data_says_who_holds_it(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        config = configured(tmp_path, upstreams)
        async with recorder(config) as first:
            await receiving(config, first)
            async with recorder(config) as second:
                _, talk = await asyncio.wait_for(second.communicate(), 60)
            assert second.returncode == 1
            assert str(first.pid).encode() in talk
            assert b"Traceback" not in talk


async def test_sighup_reads_the_feeds_anew_and_a_bad_file_changes_nothing(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        config = configured(tmp_path, upstreams)
        good = config.read_text()
        async with recorder(config) as process:
            before = await receiving(config, process)
            config.write_text(good + "colour = 1\n")
            process.send_signal(signal.SIGHUP)
            assert process.stderr is not None
            async with asyncio.timeout(60):
                while b"reload.refused" not in (line := await process.stderr.readline()):
                    assert line
            assert b"colour" in line
            config.write_text(good + '[feeds.hours]\nkind = "finance_query.hours"\n'
                              f'url = "{upstreams.finance_query_url}"\n')  # fmt: skip
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while b"recorder.reloaded" not in (line := await process.stderr.readline()):
                    assert line
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
    data = tmp_path / "data"
    assert ask(data, "SELECT DISTINCT feed FROM connections ORDER BY feed") == [("hours",), ("news",), ("quotes",)]
    numbers = ask(data, "SELECT connection FROM connections WHERE feed IN ('news', 'quotes') ORDER BY connection")
    assert [number for (number,) in numbers] == [c for feed in before["feeds"].values() for c in feed["connections"]]
