"""What is lost and doubled at 1,000 messages a second through 50 rotations and then 50 closes by the server.

`recorder run` and, for comparison, the official `finlight-client` are connected to one imitation of Finlight at the
same time, each in a process of its own, both asked to renew their connection every 0.7 s (their defaults are 110 and
115 minutes). After the rotations the server closes all connections with 1001, again and again. What was published is in
the imitation's ledger; recorder is judged by its sealed Parquet, the official client by what it took from its sockets.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
from _bench import SPAWN, Report, apart, arguments, run, scratch
from _losses import Comparison, Heard, compare
from finlight_client import ApiConfig, WebSocketClient
from finlight_client.models import GetArticlesWebSocketParams

from recorder import lifecycle
from recorder.clock import MS_NS
from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.message import Kind
from recorder.partitions.schema import MESSAGES
from recorder.replay.upstreams.as_finlight import ENHANCED
from recorder.replay.upstreams.ledger import digest

ROTATE_S = 0.7
CLOSE_S = (0.45, 0.85)  # between two closes: some before a rotation is due, some after
POLL_S = 0.2
NEVER_NS = 1 << 62
KEY = "benchmark"
STATUS_FILE = "_status.json"

# `proven_s` is shortened as the lives of connections are: what ends after less than 5 s of its 110 minutes has proved
# nothing and is not dialled again at once. All else is as it is by default.
CONFIG = """
data = "{data}"
[redial]
proven_s = 0.001
[feeds.news]
kind = "finlight"
url = "{url}"
rotate_s = {rotate_s}
overlap_s = 0.5
"""


@dataclass(slots=True)
class Recording:
    heard: list[Heard] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def count(self, event: str, **fields: str) -> int:
        return sum(each["event"] == event and each.items() >= fields.items() for each in self.events)


def recorded(data: Path) -> Recording:
    """What the sealed files say."""
    found = Recording()
    for path in sorted((data / MESSAGES / "hot").rglob("*-*.parquet"), key=lambda path: path.name):
        table = pq.read_table(path, columns=["kind", "received_at", "text"], partitioning=None)
        received = table["received_at"].cast("int64").to_pylist()
        for kind, received_ns, text in zip(table["kind"].to_pylist(), received, table["text"].to_pylist(), strict=True):
            if kind == Kind.DATA.word:
                found.heard.append((digest(text.encode()), received_ns))
            elif kind == Kind.LIFECYCLE.word:
                event = lifecycle.read(text.encode())
                found.events.append(event)
                if event["event"] == "gap.closed":
                    found.gaps.append((event["since_ns"], event["until_ns"]))
    return found


def official(url: str, stop: Event) -> tuple[list[Heard], int]:
    """The official client until `stop`: the articles it took from its sockets, and how many connections it had."""
    logging.disable(logging.CRITICAL)

    class Client(WebSocketClient):  # type: ignore[misc]  # it has no types
        heard: list[Heard] = []  # noqa: RUF012 - there is one
        connections = 0

        async def _handle_message(self, message: str, on_article: Any, ws: Any) -> None:
            if message.startswith('{"action":"sendArticle"'):
                self.heard.append((digest(message.encode()), time.time_ns()))
            await super()._handle_message(message, on_article, ws)

        def _reset_backoff(self) -> None:
            self.connections += 1
            super()._reset_backoff()

    async def listen() -> None:
        wanted = GetArticlesWebSocketParams(includeUpdates=True)
        listening = asyncio.create_task(client.connect(wanted, lambda _: None))
        await asyncio.to_thread(stop.wait)
        listening.cancel()

    client = Client(ApiConfig(api_key=KEY, wss_url=url), connection_lifetime=ROTATE_S)
    asyncio.run(listen())
    return client.heard, client.connections


async def rotated(data: Path, times: int, ended: asyncio.Task[int]) -> None:
    """Wait until the recorder says that it has rotated so often, or has ended."""
    state: dict[str, Any] = {"rotations": 0}
    while state["rotations"] < times and not ended.done():
        await asyncio.sleep(POLL_S)
        if (data / STATUS_FILE).exists():
            state = orjson.loads((data / STATUS_FILE).read_bytes())["feeds"]["news"]


async def measure(folder: Path, times: int, per_s: float, report: Report) -> None:
    data, config = folder / "data", folder / "config.toml"
    async with UpstreamsProcess(folder / "ledger", articles_per_s=per_s) as upstreams:
        url = upstreams.finlight_url
        config.write_text(CONFIG.format(data=data, url=url, rotate_s=ROTATE_S))
        stop = SPAWN.Event()
        theirs = asyncio.create_task(asyncio.to_thread(apart, official, url, stop))
        ours = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder", "run", "--config", str(config)),
            env=os.environ | {"RECORDER_SECRET_FINLIGHT": KEY},
            stderr=(folder / "log").open("wb"),
        )
        ended = asyncio.create_task(ours.wait())
        report.said(f"{times} rotations …")
        await rotated(data, times, ended)
        closes_ns = time.time_ns()
        report.said(f"{times} closes …")
        dice = random.Random(6)
        for _ in range(times):
            await asyncio.sleep(dice.uniform(*CLOSE_S))
            await upstreams.order(op="close_all", code=1001)
        await asyncio.sleep(2)
        if not ended.done():
            ours.send_signal(signal.SIGTERM)
        assert await ended == 0, (folder / "log").read_text()
        stop.set()
        heard, connections = await theirs
    entries = [e for e in upstreams.ledger.entries if (e.upstream, e.channel, e.role) == ("finlight", ENHANCED, "data")]
    recording = recorded(data)
    mine, other = compare(entries, recording.heard), compare(entries, heard)
    verdict(report, mine, recording, closes_ns)
    report.take("official client: connections", connections, "")
    _losses(report, "official client", other, closes_ns)
    report.take("official client: lost by one close", other.lost(closes_ns, NEVER_NS) / times, "messages")
    ratio = mine.lost(0, NEVER_NS) / max(1, other.lost(0, NEVER_NS))
    report.take("RATIO, all that was lost", ratio, "x the official client's")


def verdict(report: Report, mine: Comparison, recording: Recording, closes_ns: int) -> None:
    rotations, closes = recording.count("rotation.done"), recording.count("connection.closed", by="upstream")
    outside = sum(hole.lost for hole in mine.holes if not hole.is_within(recording.gaps))
    gap_ms = [(until_ns - since_ns) / MS_NS for since_ns, until_ns in recording.gaps[1:]]  # the first is the start
    report.take("recorder: rotations", rotations, "")
    report.take("recorder: closes by the server", closes, "")
    _losses(report, "recorder", mine, closes_ns)
    report.take("recorder: lost by one close", mine.lost(closes_ns, NEVER_NS) / max(1, closes), "messages")
    report.take("recorder: lost outside a recorded gap", outside, "messages")
    report.take("recorder: doubled", mine.doubled, "messages")
    report.take("recorder: gaps after the start", len(gap_ms), "")
    report.take("recorder: median gap", statistics.median(gap_ms or [0.0]), "ms")
    lost = mine.lost(0, closes_ns)
    report.claim(f"{rotations} rotations lose nothing: {lost} lost", holds=lost == 0)
    report.claim(f"nothing is doubled: {mine.doubled}; nothing is foreign: {mine.foreign}", holds=not mine.doubled)
    report.claim(f"what {closes} closes cost is within recorded gaps: {outside} outside", holds=outside == 0)


def _losses(report: Report, who: str, compared: Comparison, closes_ns: int) -> None:
    report.take(f"{who}: published while it was there", compared.published, "messages")
    report.take(f"{who}: lost in the rotations", compared.lost(0, closes_ns), "messages")
    report.take(f"{who}: lost by the closes", compared.lost(closes_ns, NEVER_NS), "messages")


def main() -> int:
    parser = arguments(__doc__, rounds=None)
    parser.add_argument("--times", type=int, default=50, help="rotations, and closes (default 50)")
    parser.add_argument("--per-s", type=float, default=1000.0, help="articles, in bursts (default 1000)")
    options = parser.parse_args()
    report = Report(
        f"{options.times} rotations and {options.times} closes at {options.per_s:g} messages/s", as_json=options.json
    )
    with scratch(options.dir) as folder:
        asyncio.run(measure(Path(folder), options.times, options.per_s, report))
    return report.finish()


if __name__ == "__main__":
    run(main)
