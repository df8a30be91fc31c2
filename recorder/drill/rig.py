"""A recorder in a process of its own, on a folder to be thrown away, with imitated upstreams and bad networks.

In: what may happen to it: kill, stop, orders to its proxies and upstreams. Out: its status, and in the end a proof:
what was sent against what was recorded, message by message, and what `verify` finds. The recorder dies with this
process, however this one ends; the folder stays, it is the caller's.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from recorder.clock import Clock
from recorder.commands.verify import verify
from recorder.demo import evidence
from recorder.demo.check import Channel, Span, Verdict, check
from recorder.demo.upstream import Upstream
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.drill.proxy import Proxy
from recorder.errors import RecorderError
from recorder.journal import lock
from recorder.journal.store import Store
from recorder.partitions.catalog import connect
from recorder.status import STATUS_FILE

CHANNELS: Mapping[tuple[str, str], Channel] = {
    ("finlight", "/"): ("news", ""),
    ("finance_query", "/quotes"): ("quotes", ""),
}
ARTICLES_PER_S = 40.0
REFRESH_S = 0.25
SILENCE_S = 3.0  # of either feed, before its connection is given up
PATIENCE_S = 60.0
POLL_S = 0.02
PDEATHSIG = 1  # PR_SET_PDEATHSIG
OURS = ("RECORDER_", "NOTIFY_", "WATCHDOG_", "CREDENTIALS_")  # of our own environment, and not the drilled one's

FIRST = "SELECT epoch_ns(min(received_at)) FROM messages"  # before it nobody was there to lose anything

_LIBC = ctypes.CDLL(None)


class DrillFailed(RecorderError):
    """A drill could not be carried out; says nothing about the promises."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a recording holds of what was sent."""

    verdict: Verdict
    findings: tuple[str, ...]
    dense: bool  # positions from 1 on, each once

    @property
    def fine(self) -> bool:
        return self.verdict.fine and not self.findings and self.dense


class Rig:
    """`async with Rig(folder) as rig:` upstreams publish; then `start`, `kill` and `stop` as often as wanted.

    `sections` go over the settings of the drilled recorder. `file_bytes_max`: no file of it may grow beyond.
    """

    def __init__(
        self, folder: Path, sections: Mapping[str, Any] | None = None, file_bytes_max: int | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.clock = Clock()
        self.upstreams = Upstreams(World(7, articles_per_s=ARTICLES_PER_S), refresh_s=REFRESH_S)
        self.proxies: list[Proxy] = []
        self.starts = 0
        self._sections = sections or {}
        self.file_bytes_max = file_bytes_max
        self._process: asyncio.subprocess.Process | None = None
        self._stack = AsyncExitStack()
        self._to_ns = 0

    async def __aenter__(self) -> Rig:
        self.folder.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.upstreams)
            feeds: tuple[Upstream, ...] = (self.upstreams.finlight, self.upstreams.finance_query)
            for upstream in feeds:
                port = int(upstream.url.rpartition(":")[2])
                self.proxies.append(await stack.enter_async_context(Proxy(port, self.clock)))
            stack.push_async_callback(self.kill)
            self._stack = stack.pop_all()
        self._configure()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _configure(self) -> None:
        news, quotes = (f"ws://127.0.0.1:{proxy.port}" for proxy in self.proxies)
        sections: dict[str, dict[str, Any]] = {
            "seal": {"interval_s": 0.5},
            "redial": {"first_s": 0.1, "max_s": 1.0, "proven_s": 0.5, "handshake_timeout_s": 3.0},
            **self._sections,
            "feeds.news": {"kind": "finlight", "url": news, "ping_s": SILENCE_S / 3, "pong_timeout_s": SILENCE_S},
            "feeds.quotes": {
                "kind": "finance_query.quotes",
                "url": quotes,
                "symbols": ["AAPL", "MSFT"],
                "silence_s": SILENCE_S,
            },
        }
        lines = [f"data = {_toml(str(self.data))}"]
        for name, keys in sections.items():
            lines += [f"\n[{name}]", *(f"{key} = {_toml(value)}" for key, value in keys.items())]
        (self.folder / "config.toml").write_text("\n".join(lines) + "\n")

    # --- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """The process is there; it need not have begun to record."""
        keep = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "recorder", "run", "--no-serve", "--config", str(self.folder / "config.toml")),
                env=keep | {"RECORDER_SECRET_FINLIGHT": "drill"},
                stdin=asyncio.subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=self._before_exec,
            )
        self.starts += 1

    def _before_exec(self) -> None:
        _LIBC.prctl(PDEATHSIG, signal.SIGKILL)
        if self.file_bytes_max is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_bytes_max, self.file_bytes_max))

    async def kill(self) -> None:
        """`kill -9`."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM. Returns the exit code."""
        assert self._process is not None
        self._to_ns = self.clock.now().utc_ns  # what is published from now on is nobody's loss
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for its end, whatever brings it. Returns the exit code."""
        assert self._process is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                code = await self._process.wait()
        except TimeoutError:
            raise DrillFailed(f"the recorder did not end within {PATIENCE_S:g} s; its log is {self._log()}") from None
        return code

    def status(self) -> dict[str, Any] | None:
        """What the running recorder says of itself; None: nothing yet."""
        try:
            told: dict[str, Any] = orjson.loads((self.data / STATUS_FILE).read_bytes())
        except (FileNotFoundError, ValueError):  # the second: it is never synced, so a disk that failed has none of it
            return None
        return told if self._process and told["pid"] == self._process.pid else None

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a status, which is written once a second. Raises DrillFailed where the recorder ended instead."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (told := self.status()) is None or not holds(told):
                    if self._process is None or self._process.returncode is not None:
                        raise DrillFailed(f"the recorder has ended; its log is {self._log()}")
                    await asyncio.sleep(POLL_S)
                return told
        except TimeoutError:
            raise DrillFailed(f"waited {PATIENCE_S:g} s in vain; the recorder's log is {self._log()}") from None

    async def receiving(self) -> dict[str, Any]:
        """Wait until both feeds have proved alive and brought something."""
        return await self.until(
            lambda told: all(f["gap"] is None and f["messages"] > f["reconnects"] + 5 for f in told["feeds"].values())
        )

    # --- what is left of it -----------------------------------------------------------------------------------------

    def published(self) -> int:
        """The position up to which everything was told to be durable, by a recorder that is gone."""
        return lock.published(self.data)

    def durable(self) -> int:
        """The position up to which everything is there."""
        with closing(Store.open_readonly(self.data)) as store:
            return store.durable_position()

    def proof(self) -> Proof:
        """Reads everything; only when the recorder has been stopped or has ended."""
        with connect(self.data) as connection:
            ((from_ns,),) = connection.sql(FIRST).fetchall()
            span = Span(from_ns, self._to_ns)
            rows, gaps = evidence.rows(connection), evidence.gaps(connection)
            vanished = dict(zip(("finlight", "finance_query"), (p.vanished_ns for p in self.proxies), strict=True))
            verdicts = check(self.upstreams.ledger, CHANNELS, rows, gaps, span, vanished)
            dense = evidence.fingerprint(connection).dense
        total = Verdict()
        for verdict in verdicts.values():
            total.add(verdict)
        findings = verify(self.data).findings
        return Proof(total, tuple(f"{each.what}: {each.where}: {each.detail}" for each in findings), dense)

    def _log(self) -> Path:
        return self.folder / "log"


def _toml(value: object) -> str:
    """JSON of these simple values is TOML as well."""
    return orjson.dumps(value).decode()
