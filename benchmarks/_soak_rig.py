"""A soak's machinery: upstreams in a process of their own, proxies before them, `recorder run` as a user starts it.

In: a folder, and orders. Out: the recorder's processes with what they occupy, its status, and the ledger of what was
sent. Everything that was started ends with this process; the folder is the caller's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from recorder.clock import Clock
from recorder.demo.companies import COMPANIES
from recorder.demo.plan import channels
from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.drill.proxy import Proxy
from recorder.status import STATUS_FILE

PROFILES = [symbol for symbol in COMPANIES if symbol.isalpha()][:20]
QUOTES = [*PROFILES, "BTC-USD"]
REFRESH_S = 0.25
PICTURES_PER_S = (len(PROFILES) + 3) / REFRESH_S  # of profiles, and of quotes, market and hours
CONNECTS = {"connects_per_day_max": 1_000_000}  # a fault a minute is no ordinary day
PATIENCE_S = 60.0
STOP_S = 30.0
CHANNELS = channels(PROFILES)


@dataclass(frozen=True, slots=True)
class Occupied:
    """What one process has of the machine."""

    pid: int
    rss_mb: float  # of 1,000,000 bytes
    descriptors: int
    threads: int


def occupied(pid: int) -> Occupied:
    """Raises OSError where it is gone."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    rss_mb = int(told.get("VmRSS", "0 kB").split()[0]) * 1024 / 1e6
    return Occupied(pid, rss_mb, len(list(Path(f"/proc/{pid}/fd").iterdir())), int(told["Threads"]))


class SoakRig:
    """`async with SoakRig(folder, messages_per_s, for_s) as rig:` upstreams publish; then start, kill, stop."""

    def __init__(self, folder: Path, messages_per_s: float, for_s: float) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.clock = Clock()
        # An article is two messages, one of them raw.
        articles_per_s = max(1.0, (messages_per_s - PICTURES_PER_S) / 2)
        self.upstreams = UpstreamsProcess(
            folder / "ledger.ndjson",
            articles_per_s=articles_per_s,
            refresh_s=REFRESH_S,
            finlight_limit_s=180.0,
            entries_max=int(3 * messages_per_s * (for_s + 600)),
        )
        self.proxies: dict[str, Proxy] = {}
        self.port = _free_port()
        self.starts = 0
        self.to_ns = 0
        self._process: asyncio.subprocess.Process | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> SoakRig:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.upstreams)
            urls = {"finlight": self.upstreams.finlight_url, "finance_query": self.upstreams.finance_query_url}
            for name, url in urls.items():
                proxy = Proxy(int(url.rpartition(":")[2]), self.clock)
                self.proxies[name] = await stack.enter_async_context(proxy)
            stack.push_async_callback(self.kill)
            self._stack = stack.pop_all()
        self._configure()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _configure(self) -> None:
        url = {name: f"ws://127.0.0.1:{proxy.port}" for name, proxy in self.proxies.items()}
        finlight: dict[str, Any] = {
            **{"url": url["finlight"], "secret": "soak", "rotate_s": 100.0, "overlap_s": 20.0},
            **{"ping_s": 5.0, "pong_timeout_s": 12.0, "silence_s": 8.0},
        }
        finance_query: dict[str, Any] = {"url": url["finance_query"], "silence_s": 5.0, "poll_s": 5.0, **CONNECTS}
        rotated = finance_query | {"rotate_s": 130.0, "overlap_s": 20.0}
        backfill = {
            **{"rest_url": self.upstreams.finlight_rest_url, "backfill_delay_s": 5.0, "backfill_again_s": 30.0},
            "backfill_requests_per_day_max": 1_000_000,
        }
        sections: dict[str, dict[str, Any]] = {
            "seal": {"interval_s": 10.0},
            "compact": {"interval_s": 60.0, "level": 3, "grace_s": 60.0},
            "replay": {"port": self.port},
            "feeds.news": {"kind": "finlight", **finlight, "include_content": True, **backfill},
            "feeds.wire": {"kind": "finlight.raw", **finlight},
            "feeds.quotes": {"kind": "finance_query.quotes", "symbols": QUOTES, **rotated},
            "feeds.profiles": {"kind": "finance_query.profile", "symbols": PROFILES, **rotated},
            "feeds.market": {"kind": "finance_query.market", **finance_query},
            "feeds.hours": {"kind": "finance_query.hours", **finance_query},
        }
        lines = [f"data = {_toml(str(self.data))}"]
        for name, keys in sections.items():
            lines += [f"\n[{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    # --- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it, and wait until it records."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "recorder", "run", "--config", str(self.config)),
                env=os.environ | {"RECORDER_SECRET_SOAK": "soak"},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1
        async with asyncio.timeout(PATIENCE_S):
            while self.status() is None:
                if self._process.returncode is not None:
                    raise RuntimeError(f"the recorder ended with {self._process.returncode}; see {self.folder / 'log'}")
                await asyncio.sleep(0.1)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM, as the last thing. Returns the exit code."""
        assert self._process is not None
        self.to_ns = self.clock.now().utc_ns  # what is published from now on is nobody's loss
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_S):
            return await self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def status(self) -> dict[str, Any] | None:
        """What the running recorder says of itself; None: nothing yet."""
        with suppress(FileNotFoundError):
            told: dict[str, Any] = orjson.loads((self.data / STATUS_FILE).read_bytes())
            if told["pid"] == self.pid:
                return told
        return None

    def children(self) -> list[int]:
        found: list[int] = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
        return found

    def server_pid(self) -> int:
        """The replay server's. Raises ProcessLookupError where there is none at the moment."""
        for pid in self.children():
            with suppress(OSError):
                if b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise ProcessLookupError("the replay server is not running")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _toml(value: object) -> str:
    """JSON of these simple values is TOML as well."""
    return orjson.dumps(value).decode()
