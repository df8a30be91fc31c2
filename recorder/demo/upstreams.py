"""Both upstreams on loopback, fed by the world, with faults to order: what the demo and the tests record from.

In: a world, and orders: method calls, a schedule, JSON. Out: their URLs and the ledger of all that was sent. Lives in
memory; only the ledger is written, when asked. `python -m recorder.demo.upstreams` runs it in a process of its own,
with orders as JSON lines on stdin and an answer to each on stdout; upstreams_process.py is the other end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from recorder.clock import SECOND_NS, Clock
from recorder.demo.rest_upstream import RestUpstream
from recorder.demo.upstream import FinanceQueryUpstream, FinlightUpstream, Upstream
from recorder.demo.world import World
from recorder.errors import RecorderError
from recorder.replay.port.server import Server
from recorder.replay.port.socket import BACKLOG_BYTES_MAX
from recorder.replay.upstreams.as_finance_query import FinanceQuery
from recorder.replay.upstreams.as_finlight import Finlight, Recent
from recorder.replay.upstreams.ledger import ENTRIES_MAX, Ledger, LedgerFull

NEWS_PACE_S = 0.005  # how long an article that is due may wait, so that bursts leave in one write


class Upstreams:
    """Both, from `async with` to its end. Every limit and pace can be set."""

    def __init__(
        self,
        world: World,
        *,
        refresh_s: float = 5.0,
        finlight_limit_s: float = 7200.0,
        finlight_idle_s: float = 600.0,
        keys: frozenset[str] | None = None,
        slots_max: int | None = None,
        connects_per_day_max: int | None = None,
        compression: bool = False,
        backlog_bytes_max: int = BACKLOG_BYTES_MAX,
        schedule: list[dict[str, Any]] | None = None,
        clock: Clock | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.world = world
        self.clock = clock or Clock()
        self.ledger = ledger or Ledger()
        self.compression = compression
        recent = Recent()
        finlight = Finlight(recent, keys=keys, slots_max=slots_max, limit_s=finlight_limit_s, idle_s=finlight_idle_s)
        finance_query = FinanceQuery(world, refresh_s=refresh_s, connects_per_day_max=connects_per_day_max)
        self.finlight = FinlightUpstream(finlight, recent, self.ledger, self.clock, backlog_bytes_max)
        self.finance_query = FinanceQueryUpstream(finance_query, self.ledger, self.clock, backlog_bytes_max)
        self.finlight_rest = RestUpstream(self.clock, keys)
        self.finlight.on_publish = self.finlight_rest.add
        self.schedule = sorted(schedule or [], key=lambda order: float(order["at_s"]))
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def finlight_url(self) -> str:
        return self.finlight.url

    @property
    def finlight_rest_url(self) -> str:
        return self.finlight_rest.url

    @property
    def finance_query_url(self) -> str:
        return self.finance_query.url

    async def __aenter__(self) -> Upstreams:
        async with AsyncExitStack() as stack:
            numbers = count(1)
            for upstream in (self.finlight, self.finance_query):
                server = Server({"": upstream.host}, compression=self.compression, numbers=numbers)
                await stack.enter_async_context(server)
                upstream.url = server.url
            await stack.enter_async_context(self.finlight_rest.server)
            self._stack = stack.pop_all()
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._follow_schedule())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops publishing and closes all connections. Raises what publishing failed of, a full ledger for one."""
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        if self.ledger.overflowed:
            raise LedgerFull(self.ledger.entries_max)

    async def _publish(self) -> None:
        """The world's articles as they fall due."""
        if self.world.news.articles_per_s <= 0:
            return
        while True:
            now = self.clock.now()
            for article in self.world.news.due(now.utc_ns):
                self.finlight.publish(article)
            assert self.world.news.next_ns is not None
            wait_s = (self.world.news.next_ns - self.clock.now().utc_ns) / SECOND_NS
            await asyncio.sleep(max(NEWS_PACE_S, wait_s))

    async def _follow_schedule(self) -> None:
        started_ns = self.clock.now().monotonic_ns
        for order in self.schedule:
            due_ns = started_ns + int(float(order["at_s"]) * SECOND_NS)
            await asyncio.sleep(max(0, due_ns - self.clock.now().monotonic_ns) / SECOND_NS)
            self.order({key: value for key, value in order.items() if key != "at_s"})

    def order(self, command: dict[str, Any]) -> None:
        """One order as JSON has it: {"op": "close_all", "upstream": "finlight", "code": 1001}. Raises ValueError."""
        arguments = dict(command)
        op, name = arguments.pop("op", None), arguments.pop("upstream", "finlight")
        upstreams: dict[str, Upstream | RestUpstream] = {
            "finlight": self.finlight,
            "finlight_rest": self.finlight_rest,
            "finance_query": self.finance_query,
        }
        upstream = upstreams.get(name)
        if upstream is None or op not in ORDERS or not hasattr(upstream, op):
            raise ValueError(f"no order {op!r} for {name!r}; there are {', '.join(sorted(ORDERS))}")
        try:
            getattr(upstream, op)(**arguments)
        except (TypeError, KeyError) as wrong:
            raise ValueError(f"order {op!r} for {name!r} cannot be followed: {wrong!r}") from wrong


ORDERS = frozenset(
    (
        *("close_all", "close", "cut", "refuse", "ignore", "hang_up", "mute", "mute_open", "unmute", "answer_pings"),
        *("heal", "send", "oversize", "kick", "error", "preempt", "gateway_error", "kill_channel", "kill_endpoint"),
        *("lag", "limit", "truncate"),
    )
)


# --- in a process of its own --------------------------------------------------------------------------------


def main() -> None:
    """Options in, URLs on the first line of stdout, orders from stdin until `stop` or its end."""
    parser = argparse.ArgumentParser(prog="python -m recorder.demo.upstreams", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--articles-per-s", type=float, default=2.0)
    parser.add_argument("--refresh-s", type=float, default=5.0)
    parser.add_argument("--finlight-limit-s", type=float, default=7200.0)
    parser.add_argument("--slots-max", type=int)
    parser.add_argument("--connects-per-day-max", type=int)
    parser.add_argument("--compression", action="store_true")
    parser.add_argument("--schedule", type=orjson.loads, default=[], metavar="JSON", help="orders, each with at_s")
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="where to write the ledger at the end (NDJSON)")
    parser.add_argument("--entries-max", type=int, default=ENTRIES_MAX, help="limit of the ledger in memory")
    options = vars(parser.parse_args())
    world = World(options.pop("seed"), articles_per_s=options.pop("articles_per_s"))
    file, ledger = options.pop("ledger"), Ledger(options.pop("entries_max"))
    asyncio.run(_serve(Upstreams(world, ledger=ledger, **options), file))


async def _serve(upstreams: Upstreams, file: Path | None) -> None:
    orders = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(orders)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    try:
        async with upstreams:
            _say(
                {
                    "finlight_url": upstreams.finlight_url,
                    "finlight_rest_url": upstreams.finlight_rest_url,
                    "finance_query_url": upstreams.finance_query_url,
                }
            )
            async for line in orders:
                answer = _follow(upstreams, line)
                if answer is None:
                    break
                _say(answer)
    except RecorderError as failure:
        last: dict[str, Any] = {"error": str(failure)}
    else:
        last = {"published": len(upstreams.ledger.entries)}
    if file is not None:
        upstreams.ledger.write(file)
    _say(last)


def _follow(upstreams: Upstreams, line: bytes) -> dict[str, Any] | None:
    """What to answer to an order, `count` only asks for that; None for `stop`."""
    try:
        command = orjson.loads(line)
        if command == {"op": "stop"}:
            return None
        if command != {"op": "count"}:
            upstreams.order(command)
    except (ValueError, TypeError) as wrong:
        return {"error": str(wrong)}
    return {"published": len(upstreams.ledger.entries)}


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
