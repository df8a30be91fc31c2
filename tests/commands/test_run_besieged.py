"""Whatever is done to the replay server beside it, `recorder run` records as before: real processes, nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import socket as sockets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect

from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.partitions import catalog
from recorder.replay.upstreams.ledger import digest

pytestmark = pytest.mark.slow

PER_S = 300
BESIEGED_S = 3.0
DURABLE_MS_MAX = 2_000.0  # no figure of ours, only the difference between recording and standing still


def free_port() -> int:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def recording(folder: Path, finlight_url: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "config.toml").write_text(
        f"""
        data = "data"
        [seal]
        interval_s = 1.0
        [replay]
        port = {port}
        [feeds.news]
        kind = "finlight"
        url = "{finlight_url}"
        backfill = false
        """
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "recorder", "run", "--config", str(folder / "config.toml"),
        env={"RECORDER_SECRET_FINLIGHT": "key", "PATH": "/usr/bin:/bin"}, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - another process says nothing when it changes
            await asyncio.sleep(0.05)


def told(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = orjson.loads((folder / "data" / "_status.json").read_bytes())
    except FileNotFoundError:
        return {"durable_position": 0}
    return facts


def server_of(recorder: int) -> int | None:
    """The process that serves beside it."""
    children = Path(f"/proc/{recorder}/task/{recorder}/children").read_text().split()
    for child in children:
        with suppress(OSError):
            if b"\0serve\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


async def answers(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(OSError):
                sockets.create_connection(("127.0.0.1", port)).close()
                return
            await asyncio.sleep(0.05)


async def flood(port: int) -> None:
    """Listeners that read at full speed or nothing, operations, junk: as much as there is time for."""
    url = f"ws://127.0.0.1:{port}/replay"

    async def reads(query: str) -> None:
        async with connect(f"{url}?{query}", max_size=None, compression=None, close_timeout=0.1) as client:
            async for _ in client:
                pass

    async def reads_nothing() -> None:
        async with connect(f"{url}?speed=max&loop=true", max_queue=1, compression=None, close_timeout=0.1):
            await asyncio.sleep(BESIEGED_S)

    async def operates() -> None:
        async with connect(f"{url}?paused=true&session=one", compression=None, close_timeout=0.1) as client:
            while True:
                await client.send('{"op":"seek","to":"start"}')
                await asyncio.sleep(0.011)

    async def comes_and_goes() -> None:
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(os.urandom(1000))
            await asyncio.sleep(0)
            writer.close()

    acts = [reads("speed=max"), reads("speed=max&loop=true"), reads("speed=max&loop=true&format=arrow"), operates()]
    with suppress(TimeoutError):
        async with asyncio.timeout(BESIEGED_S):
            await asyncio.gather(*acts, *(reads_nothing() for _ in range(4)), comes_and_goes(), return_exceptions=True)
            await asyncio.sleep(BESIEGED_S)


async def test_killing_stopping_and_flooding_the_replay_server_touches_no_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        upstreams = UpstreamsProcess(tmp_path / "sent.ndjson", articles_per_s=PER_S, refresh_s=3600.0)
        await stack.enter_async_context(upstreams)
        recorder = await stack.enter_async_context(recording(tmp_path, upstreams.finlight_url, port))
        await answers(port)
        await until(lambda: told(tmp_path)["durable_position"] > 5 * PER_S)
        before = told(tmp_path)

        await flood(port)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            server = server_of(recorder.pid)
            assert server is not None
            os.kill(server, number)
            if number == signal.SIGSTOP:
                await asyncio.sleep(1)
                os.kill(server, signal.SIGKILL)
            await until(lambda gone=server: server_of(recorder.pid) not in (None, gone))  # type: ignore[misc]
            await answers(port)
            await flood(port)

        async with connect(f"ws://127.0.0.1:{port}/replay?from=live") as client:  # and it still serves
            async with asyncio.timeout(30):
                while '"position":' not in str(await client.recv()):
                    pass
        after = told(tmp_path)
        await upstreams.order(op="mute", upstream="finlight")
        published = await upstreams.order(op="count")
        recorder.terminate()
        assert await asyncio.wait_for(recorder.wait(), 60) == 0

    sent = Counter(entry.digest for entry in upstreams.ledger.entries if entry.to and entry.role in ("data", "initial"))
    with catalog.connect(tmp_path / "data") as connection:
        rows = connection.sql("SELECT text FROM messages WHERE feed = 'news' AND kind = 'data'").fetchall()
        gaps = connection.sql("SELECT cause FROM gaps WHERE cause <> 'start'").fetchall()
    recorded = Counter(digest(text.encode()) for (text,) in rows)
    p99 = before["journal"]["durable_ms_p99"], after["journal"]["durable_ms_p99"]
    with capsys.disabled():
        count = f"{sum(recorded.values())} of {published} recorded"
        print(f" [{count}; durable p99 {p99[0]:g} ms before, {p99[1]:g} ms in all]", end="")
    assert (before["pid"], before["started_ns"]) == (after["pid"], after["started_ns"])
    assert recorded == sent
    assert sum(recorded.values()) > 10 * PER_S
    assert gaps == [("stopped by SIGTERM",)]
    assert p99[1] < DURABLE_MS_MAX
