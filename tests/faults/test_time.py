"""Clocks that step and event loops that stand still, under a daemon that records over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recorder import clock
from recorder.clock import SECOND_NS
from recorder.daemon import Daemon
from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.partitions import catalog
from recorder.replay.upstreams.ledger import digest
from recorder.settings import Settings

PATIENCE_S = 60
AHEAD_S, BACK_S, BLOCKED_S = 3600, 7200, 4.0


class Wall:
    """The machine's clocks, one of them set by a hand that can be seen."""

    def __init__(self) -> None:
        self.offset_s = 0

    def time_ns(self) -> int:
        return time.time_ns() + self.offset_s * SECOND_NS

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


async def until(daemon: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = daemon.status()
            if holds(status):
                return status
            await asyncio.sleep(0.01)


def came(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["feeds"]["news"]["messages"] >= number)


def settings(data: Path, upstreams: UpstreamsProcess) -> Settings:
    news = {"kind": "finlight", "url": upstreams.finlight_url, "ping_s": 0.5, "pong_timeout_s": 1.5, "backfill": False}
    return Settings.model_validate({"data": data, "feeds": {"news": news}, "seal": {"interval_s": 1.0}})


async def noted(daemon: Daemon, caplog: pytest.LogCaptureFixture, event: str, times: int) -> None:
    await until(daemon, lambda _: [record.message for record in caplog.records].count(event) >= times)


@pytest.mark.slow
async def test_clocks_that_step_harm_neither_positions_nor_order_nor_monotonic_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    monkeypatch.setattr(clock, "time", wall)
    began_ns = time.monotonic_ns()
    async with UpstreamsProcess(tmp_path / "ledger", articles_per_s=50) as upstreams:
        daemon = Daemon(settings(tmp_path / "data", upstreams), {"news": "k"})
        running = asyncio.create_task(daemon.run())
        steps = 0
        for step_s in (AHEAD_S, -BACK_S):
            status = await until(daemon, lambda s: s["feeds"]["news"]["state"] == "receiving" and s["sealed_position"])
            wall.offset_s += step_s
            steps += 1
            await noted(daemon, caplog, "clock.stepped", steps)
            status = await until(daemon, came(status["feeds"]["news"]["messages"] + 30))
        behind = status["health"]
        daemon.stop()
        await running
        again = Daemon(settings(tmp_path / "data", upstreams), {"news": "k"})  # whose clock is behind what it finds
        running = asyncio.create_task(again.run())
        await noted(again, caplog, "clock.stepped", steps + 1)
        await until(again, came(30))
        again.stop()
        await running
    assert behind["state"] == "degraded"
    assert "the clock went back by 71" in behind["reasons"][0]
    with catalog.connect(tmp_path / "data") as connection:
        rows = connection.sql(
            "SELECT position, epoch_ns(received_at), monotonic_ns, kind FROM messages ORDER BY position"
        ).fetchall()
        steps_noted = connection.sql(
            "SELECT round((text::JSON->>'ahead_ns')::BIGINT / 1e9), round((text::JSON->>'behind_ns')::BIGINT / 1e9)"
            " FROM messages WHERE text::JSON->>'event' = 'clock.stepped' ORDER BY position"
        ).fetchall()
        gaps = connection.sql("SELECT cause FROM gaps ORDER BY since_at, cause").fetchall()
        ((shortest_s, beyond_s),) = connection.sql(
            "SELECT min(seconds_covered), max(seconds_covered - seconds) FROM coverage"
        ).fetchall()
    assert [position for position, *_ in rows] == list(range(1, len(rows) + 1))
    received = [received_ns for _, received_ns, *_ in rows]
    assert received == sorted(received)
    monotonic = [monotonic_ns for _, _, monotonic_ns, kind in rows if kind == "data"]
    assert monotonic == sorted(monotonic)
    assert began_ns < monotonic[0] < monotonic[-1] < time.monotonic_ns(), "durations are what they were"
    assert len(set(monotonic)) > len(monotonic) // 2, "also while the wall clock stands"
    assert steps_noted[0] == (AHEAD_S, None)
    assert steps_noted[1] == (None, BACK_S)
    assert [cause for (cause,) in gaps] == ["start", "stopped", "stopped"]
    assert shortest_s >= 0
    assert beyond_s <= 0


@pytest.mark.slow
async def test_a_loop_that_stands_still_is_noted_and_loses_nothing_that_the_kernel_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with UpstreamsProcess(tmp_path / "ledger", articles_per_s=50) as upstreams:
        daemon = Daemon(settings(tmp_path / "data", upstreams), {"news": "k"})
        running = asyncio.create_task(daemon.run())
        before = await until(daemon, came(30))
        asyncio.get_running_loop().call_soon(time.sleep, BLOCKED_S)  # longer than pongs may take
        await noted(daemon, caplog, "recorder.stalled", 1)
        after = await until(daemon, came(before["feeds"]["news"]["messages"] + 50 * int(BLOCKED_S)))
        daemon.stop()
        await running
    assert after["feeds"]["news"]["reconnects"] == 0, "silence that nobody listened to is none"
    with catalog.connect(tmp_path / "data") as connection:
        texts = connection.sql("SELECT text FROM messages WHERE kind = 'data' ORDER BY position").fetchall()
        ((stalled_s,),) = connection.sql(
            "SELECT (text::JSON->>'stalled_ns')::BIGINT / 1e9 FROM messages"
            " WHERE text::JSON->>'event' = 'recorder.stalled'"
        ).fetchall()
        gaps = connection.sql("SELECT cause FROM gaps ORDER BY since_at").fetchall()
    assert stalled_s > BLOCKED_S - 2
    assert gaps == [("start",), ("stopped",)], "a connection that holds its messages for us is no gap"
    recorded = [digest(text.encode()) for (text,) in texts]
    sent = [entry.digest for entry in upstreams.ledger.entries if entry.to and entry.role != "reply"]
    assert recorded == sent[: len(recorded)], "each once, in order"
    assert len(sent) - len(recorded) < 50, "but for what came while it hung up"
