"""How fast one connection takes 500-byte messages from the socket, with nothing behind it.

The yardstick is a bare `websockets` receive loop that throws everything away (compression=None; max_queue 16, its
default, and 1024: the better of the two counts), against recorder's connection and a listener that only counts. What a
receiver does with the messages is its own business: `RECEIVERS` takes any function of an URL and a number of messages.
"""

# ruff: noqa: ARG002 - a listener is told more than this one wants to know

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from itertools import count

from _bench import Report, apart, arguments, run
from _sender import MESSAGE_BYTES, Sender
from websockets.asyncio.client import connect

from recorder.clock import Clock, Moment
from recorder.feeds.connection import Connection
from recorder.feeds.feed import Frame, Request
from recorder.settings import Limits, Redial

RATIO_MIN = 1.5

Receive = Callable[[str, int], float]  # messages a second


def bare(url: str, messages: int, max_queue: int) -> float:
    """The loop in websockets' own documentation."""

    async def receive() -> float:
        async with connect(url, compression=None, max_queue=max_queue) as socket:
            await socket.recv()  # the admit
            began = time.perf_counter()
            received = count(1)
            async for _ in socket:
                if next(received) == messages:
                    break
            return messages / (time.perf_counter() - began)

    return asyncio.run(receive())


class Counter:
    """A listener that counts, from the first call to the last message."""

    def __init__(self, wanted: int, done: asyncio.Future[float]) -> None:
        self._missing = wanted
        self._done = done
        self._began = 0.0

    def opened(self, handshake_ms: float) -> None:
        self._began = time.perf_counter()

    def received(self, frames: list[Frame], moment: Moment) -> None:
        self._missing -= len(frames)
        if self._missing == 0:
            self._done.set_result(time.perf_counter() - self._began)

    def refused(self, status: int, headers: dict[str, str], body: bytes) -> None:
        raise RuntimeError(f"refused with {status}")

    def failed(self, error: str) -> None:
        raise RuntimeError(error)

    def closed(self, code: int, reason: str, by_us: bool) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(f"closed with {code}, {self._missing} messages missing"))


def ours(url: str, messages: int) -> float:
    async def receive() -> float:
        done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        counter = Counter(messages + 1, done)  # and the admit
        connection = Connection(Request(url), counter, Clock(), Redial(), Limits())
        connection.dial()
        seconds = await done
        connection.abort()
        return messages / seconds

    return asyncio.run(receive())


RECEIVERS: dict[str, Receive] = {
    "bare loop, max_queue=16": partial(bare, max_queue=16),
    "bare loop, max_queue=1024": partial(bare, max_queue=1024),
    "recorder's connection": ours,
}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=300_000, help="to each receiver and round (default 300,000)")
    options = parser.parse_args()
    report = Report(f"Taking {MESSAGE_BYTES}-byte messages from one connection", as_json=options.json)
    with Sender() as sender:
        for turn in range(options.rounds):
            for name, receive in RECEIVERS.items():
                report.said(f"round {turn + 1}: {name}")
                rate = apart(_call, receive, sender.url(options.messages), options.messages)
                report.take(name, rate, "messages/s")
    *yardsticks, mine = RECEIVERS
    ratio = report.median(mine) / max(map(report.median, yardsticks))
    report.take("RATIO", ratio, "x the better bare loop")
    report.claim(f"at least {RATIO_MIN} of the bare loop: {ratio:.2f}", holds=ratio >= RATIO_MIN)
    return report.finish()


def _call(receive: Receive, url: str, messages: int) -> float:
    return receive(url, messages)


if __name__ == "__main__":
    run(main)
