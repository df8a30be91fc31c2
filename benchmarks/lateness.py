"""How late replayed messages reach a listener: Poisson arrivals of 200/s, at 1x and at 100x.

The yardstick is the loop everybody would write: a task that awaits asyncio.sleep() until each message is due and sends
it over websockets. Both send to the same reader, which sits in recv() in a process of its own and notes when each came.
Lateness is counted from the least late message of a run: what the way over loopback takes is left out, a late start is
not. Drift is the median of the last quarter less that of the first. It wants two cores with nothing else to do.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import socket
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from _bench import Report, apart, arguments, beside, quantile, run, scratch
from websockets.asyncio.server import ServerConnection, serve

from recorder.clock import Clock, Moment
from recorder.commands.serve import be_prompt
from recorder.journal.group import GroupBuilder
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Stream
from recorder.partitions.seal import seal
from recorder.replay.native import Native
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

PER_S = 200
START_NS = 1_769_860_800_000_000_000
PER_GROUP = 1_000
P50_MS_MAX, P99_MS_MAX = 0.1, 0.7
P99_FAST_MS_MAX = 1.0
DRIFT_MS_MAX = 0.1
_TEXT = '{"position":%d,"data":"%s"}'


def arrivals(seconds: float) -> list[int]:
    """When messages were received, ns from the start: Poisson, and the same each time."""
    dice = random.Random(1)
    gaps = (dice.expovariate(PER_S) for _ in itertools.count())
    return [int(at * 1e9) for at in itertools.takewhile(lambda at: at < seconds, itertools.accumulate(gaps))]


def record(data: Path, seconds: float) -> None:
    """One recording of them, sealed."""
    data.mkdir()
    times = arrivals(seconds)
    with closing(Store.open(data)) as store:
        for first in range(0, len(times), PER_GROUP):
            group = GroupBuilder(first + 1)
            for at in times[first : first + PER_GROUP]:
                moment = Moment(START_NS + at, at)
                group.add(Stream("news", "finlight"), Kind.DATA, 1, [b'"%s"' % (b"x" * 230)], Mark.NONE, moment)
            store.append(group.pack(), first + 1, group.last_position, *group.received_ns)
        made = seal(data, 1, len(times))
        store.register(made.parts, len(times), made.standing)


def _serve(port_to: Connection, data: Path) -> None:
    async def replay_and_sleep() -> None:
        async with (
            Server({"/replay": Native(Sessions(Timeline(data), Clock(), Replay()))}) as server,
            serve(_sleeping, "127.0.0.1", 0, compression=None, ping_interval=None) as sleeping,
        ):
            be_prompt()
            port_to.send((server.port, next(iter(sleeping.sockets)).getsockname()[1]))
            await asyncio.Event().wait()

    asyncio.run(replay_and_sleep())


async def _sleeping(connection: ServerConnection) -> None:
    """The yardstick. The path is /SECONDS/SPEED."""
    assert connection.request is not None
    seconds, speed = map(float, connection.request.path.split("/")[1:])
    began = time.monotonic()
    for position, at in enumerate(arrivals(seconds), 1):
        await asyncio.sleep(began + at / 1e9 / speed - time.monotonic())
        await connection.send(_TEXT % (position, "x" * 330))
    await connection.send('{"end":{}}')
    await connection.wait_closed()


@dataclass(frozen=True)
class Lateness:
    p50_ms: float
    p99_ms: float
    max_ms: float
    drift_ms: float


def listen(port: int, path: str, seconds: float, speed: float) -> Lateness:
    """Sit in recv() and note when each position came."""
    times = arrivals(seconds)
    came: list[int] = []
    buffer = b""
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in buffer:
            buffer += peer.recv(1 << 16)
        buffer = buffer.partition(b"\r\n\r\n")[2]
        ended = False
        while not ended:
            read = peer.recv(1 << 18)
            now = time.monotonic_ns()
            buffer += read
            start = 0
            while (stop := _end_of_frame(buffer, start)) is not None:
                text = buffer[start:stop]
                came += [now] * (b'{"position":' in text)
                ended = ended or b'{"end":' in text
                start = stop
            buffer = buffer[start:]
    assert len(came) == len(times), f"{len(came)} of {len(times)} came"
    late = [at - due / speed for at, due in zip(came, times, strict=True)]
    least = min(late)
    late_ms = [(each - least) / 1e6 for each in late]
    quarter = len(late_ms) // 4
    drift_ms = statistics.median(late_ms[-quarter:]) - statistics.median(late_ms[:quarter])
    return Lateness(quantile(late_ms, 0.5), quantile(late_ms, 0.99), max(late_ms), drift_ms)


def _end_of_frame(buffer: bytes, start: int) -> int | None:
    if len(buffer) < start + 4:
        return None
    size, head = buffer[start + 1], 2
    if size == 126:
        size, head = int.from_bytes(buffer[start + 2 : start + 4], "big"), 4
    stop = start + head + size
    return stop if stop <= len(buffer) else None


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (default 20)")
    options = parser.parse_args()
    report = Report(f"Lateness at the listener, Poisson {PER_S}/s", as_json=options.json)
    with scratch(options.dir) as folder:
        data = Path(folder) / "data"
        report.said("recording")
        apart(record, data, options.seconds * 100)
        ends = {speed: len(arrivals(options.seconds * speed)) + 1 for speed in (1, 100)}
        with beside(_serve, data) as (replay, sleeping):
            for turn in range(options.rounds):
                for speed in (1, 100):
                    report.said(f"round {turn + 1}, {speed}x")
                    seconds = options.seconds * speed
                    for name, port, path in (
                        ("bare sleep", sleeping, f"/{seconds}/{speed}"),
                        ("replay", replay, f"/replay?speed={speed}&to=@{ends[speed]}"),
                    ):
                        found = apart(listen, port, path, seconds, speed)
                        for figure in ("p50_ms", "p99_ms", "max_ms", "drift_ms"):
                            report.take(f"{name} {speed}x {figure[:-3]}", getattr(found, figure), "ms")
    for name, most in (
        ("replay 1x p50", P50_MS_MAX),
        ("replay 1x p99", P99_MS_MAX),
        ("replay 1x drift", DRIFT_MS_MAX),
        ("replay 100x p99", P99_FAST_MS_MAX),
    ):
        report.claim(f"{name} is at most {most} ms: {report.median(name):.3f}", holds=report.median(name) <= most)
    return report.finish()


if __name__ == "__main__":
    run(main)
