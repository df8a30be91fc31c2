"""Both upstreams on loopback, fed by the world, with faults to order: what the demo and the tests record from.

In: a world, and orders: method calls, a schedule, JSON. Out: two URLs and the ledger of all that was sent. Lives in
memory; only the ledger is written, when asked.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

from recorder.clock import SECOND_NS, Clock
from recorder.demo.upstream import FinanceQueryUpstream, FinlightUpstream, Upstream
from recorder.demo.world import World
from recorder.replay.as_finance_query import FinanceQuery
from recorder.replay.as_finlight import Finlight, Recent
from recorder.replay.ledger import Ledger
from recorder.replay.server import Server
from recorder.replay.socket import BACKLOG_BYTES_MAX

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
        self.schedule = sorted(schedule or [], key=lambda order: float(order["at_s"]))
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def finlight_url(self) -> str:
        return self.finlight.url

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
        upstream: Upstream | None = {"finlight": self.finlight, "finance_query": self.finance_query}.get(name)
        if upstream is None or op not in ORDERS or not hasattr(upstream, op):
            raise ValueError(f"no order {op!r} for {name!r}; there are {', '.join(sorted(ORDERS))}")
        try:
            getattr(upstream, op)(**arguments)
        except (TypeError, KeyError) as wrong:
            raise ValueError(f"order {op!r} for {name!r} cannot be followed: {wrong!r}") from wrong


ORDERS = frozenset(
    (
        *("close_all", "close", "cut", "refuse", "ignore", "hang_up", "mute", "unmute", "answer_pings", "heal", "send"),
        *("oversize", "kick", "error", "preempt", "gateway_error", "kill_channel"),
    )
)
