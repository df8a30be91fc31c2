"""One verdict: `status`, /healthz, /metrics and the service manager are told the same by a recorder that runs."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from click.testing import CliRunner

from recorder.cli import main
from recorder.clock import Clock
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.notify import Notify
from recorder.replay import facts
from recorder.replay.port.pages import pages
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Settings

PATIENCE_S = 60
HTTP = {"ok": 200, "degraded": 200, "failed": 503}


def got(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def told_by_status(data: Path) -> dict[str, Any]:
    verdict: dict[str, Any] = json.loads(CliRunner().invoke(main, ["status", "--data", str(data), "--json"]).stdout)
    return verdict["health"]  # type: ignore[no-any-return]


def says(verdict: Any, state: str, reason: str) -> bool:
    """Not yet while it says that the recorder is starting."""
    return verdict["state"] == state and re.search(reason, "; ".join(verdict["reasons"])) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "of_free", "reason"),
    [
        ("ok", 0.1, r"^$"),
        ("degraded", 0.7, r"\d+ MB are free; recording halts below \d+ MB$"),
        ("failed", 5.0, r"recording is halted, the disk is full: \d+ MB are free; make room$"),
    ],
)
async def test_whoever_is_asked_says_the_same(state: str, of_free: float, reason: str, tmp_path: Path) -> None:
    reserve_bytes = max(16 << 20, int(of_free * shutil.disk_usage(tmp_path).free))
    disk = {"reserve_bytes": reserve_bytes, "resume_bytes": reserve_bytes + 1}
    data = tmp_path / "data"
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        async with Upstreams(World(1, articles_per_s=50)) as upstreams:
            feeds = {"news": {"kind": "finlight", "url": upstreams.finlight_url}}
            settings = Settings.model_validate({"data": data, "feeds": feeds, "disk": disk})
            daemon = Daemon(settings, {"news": "k"}, Notify({"NOTIFY_SOCKET": address}))
            running = asyncio.create_task(daemon.run())
            sessions = Sessions(Timeline(data), Clock(), settings.replay)
            async with Server({}) as server, asyncio.timeout(PATIENCE_S):
                server.add(pages(lambda: facts.of(sessions, server)))
                line = ""
                while not line.startswith(f"{state}: ") or "is starting" in line:
                    said = (await asyncio.get_running_loop().sock_recv(manager, 10_000)).decode()
                    line = re.findall(r"(?m)^STATUS=(.*)$", said)[0]
                while not says(shown := await asyncio.to_thread(told_by_status, data), state, reason):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                url = server.url.replace("ws:", "http:")
                code, healthz = await asyncio.to_thread(got, f"{url}/healthz")
                _, metrics = await asyncio.to_thread(got, f"{url}/metrics")
            daemon.stop()
            await running
    assert code == HTTP[state]
    page = json.loads(healthz)
    assert page["state"] == state
    free = re.compile(r"\d+ MB are free")  # it changes from second to second
    reasons = [free.sub("", each) for each in shown["reasons"]]
    assert [free.sub("", each) for each in page["reasons"]] == reasons
    assert all(each in free.sub("", line) for each in reasons)
    states = re.findall(r'(?m)^recorder_health\{state="(\w+)"\} ([01])\.0$', metrics)
    assert states == [(each, str(int(each == state))) for each in HTTP]
