"""What recording feels of four listeners at speed=max: received to durable at 2,000 messages/s, with and without them.

One recorder all the time, sealing every 5 s; its upstream is the imitation of Finlight, in a process of its own; beside
it `recorder serve`, as `recorder run` starts it. Each round has a time without listeners, which is the yardstick, and
one with four: each in a process of its own, with a session of its own, that loops over a recording of 250-byte messages
in the same data directory and throws everything away. Both times are of the same length; the first second is left out.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import _recording
import orjson
from _bench import SPAWN, Report, apart, arguments, quantile, run, scratch

from recorder.clock import MS_NS, SECOND_NS
from recorder.daemon import Daemon
from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.journal.figures import Histogram
from recorder.settings import Settings

PER_S = 2000
LISTENERS = 4
TIMES_MAX = 2.0
PACE_MIN = 0.95  # of PER_S; an upstream that cannot keep it would make everything look easy
SEAL_S = 5.0
NEVER_S = 86_400.0
HOURS = 4
SETTLE_S = 1.0  # after listeners have come or gone
READY_S = 60.0


@dataclass(slots=True)
class Commits(Histogram):
    """The journal's figure, which also keeps each arrival: when, how many messages, and when they were durable."""

    each: list[tuple[int, int, int]] = field(default_factory=list)

    def take_since(self, arrivals: list[tuple[int, int]], until_ns: int) -> None:
        Histogram.take_since(self, arrivals, until_ns)
        self.each += [(arrival_ns, number, until_ns) for arrival_ns, number in arrivals]


class Recorder:
    """`with Recorder(url, data) as recorder: … recorder.stop()`: a whole recorder in a process of its own."""

    def __init__(self, url: str, data: Path) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_record, args=(theirs, url, data))  # it has children of its own
        self._process.start()
        theirs.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()

    def wait_until_it_receives(self) -> None:
        if not self._pipe.poll(READY_S):
            raise RuntimeError("the recorder receives nothing")
        self._pipe.recv()

    def stop(self) -> list[tuple[int, int, int]]:
        """All arrivals."""
        self._pipe.send(None)
        each: list[tuple[int, int, int]] = self._pipe.recv()
        return each


def _record(pipe: Connection, url: str, data: Path) -> None:
    pipe.send(asyncio.run(_recorded(pipe, url, data)))
    os._exit(0)


async def _recorded(pipe: Connection, url: str, data: Path) -> list[tuple[int, int, int]]:
    logging.disable(logging.WARNING)
    feed = {"kind": "finlight", "url": url, "backfill": False}
    given = {
        "data": data,
        "seal": {"interval_s": SEAL_S},
        "compact": {"interval_s": NEVER_S},
        "feeds": {"news": feed},
    }
    daemon = Daemon(Settings.model_validate(given), {"news": "key"})
    commits = daemon.journal.figures.received_to_durable = Commits()
    receiving = asyncio.Event()
    daemon.journal.on_durable(lambda _: receiving.set() if commits.count > PER_S else None)
    running = asyncio.create_task(daemon.run())
    await receiving.wait()
    pipe.send(None)
    await asyncio.to_thread(pipe.recv)
    daemon.stop()
    await running
    return commits.each


class Listener:
    """One that reads when it is told to, in a process of its own that is there from the start."""

    def __init__(self, port: int, last: int) -> None:
        self._pipe, theirs = SPAWN.Pipe()
        path = f"/replay?speed=max&loop=true&to=@{last + 1}"
        self._process = SPAWN.Process(target=_listen, args=(theirs, port, path), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe.recv()

    def read(self, seconds: float) -> None:
        self._pipe.send(seconds)

    def stop(self) -> None:
        self._pipe.send(None)
        self._process.join()

    def read_bytes(self) -> int:
        count: int = self._pipe.recv()
        return count


def _listen(pipe: Connection, port: int, path: str) -> None:
    pipe.send(None)
    room = bytearray(1 << 20)
    key = base64.b64encode(os.urandom(16)).decode()
    while (seconds := pipe.recv()) is not None:
        until = time.monotonic() + seconds
        taken = 0
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            while time.monotonic() < until:
                taken += peer.recv_into(room) or sys.exit("the replay ended early")
        pipe.send(taken)


def served(data: Path, stack: ExitStack) -> int:
    """`recorder serve` as `recorder run` starts it; its port."""
    command = [sys.executable, "-m", "recorder", "serve", "--data", str(data), "--port", "0", "--json"]
    command.append("--until-stdin-closes")
    pipe = subprocess.PIPE
    process = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL))
    stack.callback(process.terminate)
    assert process.stdout is not None
    port: int = orjson.loads(process.stdout.readline())["port"]
    return port


async def measure(rounds: int, seconds: float, data: Path, last: int, report: Report) -> None:
    upstreams = UpstreamsProcess(data.parent / "sent.ndjson", articles_per_s=PER_S, refresh_s=3600.0)
    async with upstreams:
        await asyncio.to_thread(_measure, rounds, seconds, upstreams.finlight_url, data, last, report)


def _measure(rounds: int, seconds: float, url: str, data: Path, last: int, report: Report) -> None:
    phases: list[tuple[str, int, int]] = []
    with Recorder(url, data) as recorder, ExitStack() as stack:
        recorder.wait_until_it_receives()
        port = served(data, stack)
        listeners = [Listener(port, last) for _ in range(LISTENERS)]
        for turn in range(rounds):
            for name, some in (("without listeners", []), (f"with {LISTENERS} at max", listeners)):
                report.said(f"round {turn + 1}: {name}")
                for listener in some:
                    listener.read(SETTLE_S + seconds)
                time.sleep(SETTLE_S)
                began_ns = time.monotonic_ns()
                time.sleep(seconds)
                phases.append((name, began_ns, time.monotonic_ns()))
                if some:
                    count = sum(listener.read_bytes() for listener in some)
                    report.take("replayed meanwhile", count / (SETTLE_S + seconds) / 1e6, "MB/s")
        for listener in listeners:
            listener.stop()
        each = recorder.stop()
    for name, began_ns, ended_ns in phases:
        took_ms = [
            (until_ns - arrival_ns) / MS_NS
            for arrival_ns, number, until_ns in each
            if began_ns <= arrival_ns < ended_ns
            for _ in range(number)
        ]
        for share, word in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
            report.take(f"{name}: {word}", quantile(took_ms, share), "ms")
        report.take(f"{name}: recorded", len(took_ms) * SECOND_NS / (ended_ns - began_ns), "messages/s")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="with and without, a round (default 10)")
    parser.add_argument("--messages", type=int, default=1_000_000, help="to be replayed (default 1,000,000)")
    options = parser.parse_args()
    report = Report(f"Recording at {PER_S:,} messages/s beside {LISTENERS} listeners at max", as_json=options.json)
    with scratch(options.dir) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        report.said(f"making a recording of {options.messages} messages")
        apart(_recording.make, data, options.messages, HOURS)
        asyncio.run(measure(options.rounds, options.seconds, data, options.messages, report))
    without, beside = "without listeners", f"with {LISTENERS} at max"
    without_ms, with_ms = report.median(f"{without}: p99"), report.median(f"{beside}: p99")
    report.take("RATIO p99", with_ms / without_ms, "x that without listeners")
    sentence = f"p99 is at most {TIMES_MAX:g} x that without listeners"
    report.claim(f"{sentence}: {with_ms:.1f} and {without_ms:.1f} ms", holds=with_ms <= TIMES_MAX * without_ms)
    slowest = min(report.median(f"{name}: recorded") for name in (without, beside))
    paced = f"the upstream keeps {PACE_MIN:.0%} of its pace all the time: {slowest:,.0f} messages/s"
    report.claim(paced, holds=slowest >= PACE_MIN * PER_S)
    return report.finish()


if __name__ == "__main__":
    run(main)
