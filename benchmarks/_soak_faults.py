"""What goes wrong in a soak, and when: one fault after the other, round and round.

In: a place to break: proxies, orders to the upstreams, the recorder's processes. Out: the fault, begun and mended.
Nothing is measured here.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from _soak_rig import SoakRig

DOWN_S = 15.0  # what has to be mended lasts so long
STALL_S = 3.0

Action = Callable[[SoakRig], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Fault:
    words: str
    begin: Action


def _ordered(*orders: dict[str, object]) -> Action:
    async def begin(rig: SoakRig) -> None:
        for order in orders:
            await rig.upstreams.order(**order)

    return begin


def _order(upstream: str, op: str, **arguments: object) -> dict[str, object]:
    return {"upstream": upstream, "op": op, **arguments}


def _proxied(which: str, order: str, *arguments: float, down_s: float = DOWN_S, then_reset: bool = False) -> Action:
    """An order to the proxy before `which`, and `down_s` later its end."""

    async def begin(rig: SoakRig) -> None:
        proxy = rig.proxies[which]
        getattr(proxy, order)(*arguments)
        if then_reset:
            proxy.reset()
        if down_s:
            await asyncio.sleep(down_s)
            proxy.heal()

    return begin


async def _stop_the_process(rig: SoakRig) -> None:
    """As a machine that swaps, or a virtual one that is moved."""
    os.kill(rig.pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALL_S)
    finally:
        os.kill(rig.pid, signal.SIGCONT)


async def _kill_the_server(rig: SoakRig) -> None:
    os.kill(rig.server_pid(), signal.SIGKILL)


async def kill_the_recorder(rig: SoakRig) -> None:
    await rig.kill()
    await rig.start()


FINLIGHT, FINANCE_QUERY = "finlight", "finance_query"
KILL = Fault("the recorder is killed with SIGKILL and started again", kill_the_recorder)
COURSE: tuple[Fault, ...] = (
    Fault("Finlight: every connection is reset", _proxied(FINLIGHT, "reset", down_s=0)),
    Fault("Finance Query: half-open, new connections vanish too", _proxied(FINANCE_QUERY, "vanish")),
    Fault("Finlight: open connections are mute, pings answered", _ordered(_order(FINLIGHT, "mute_open"))),
    Fault(
        "Finlight: closed with 1012, then three times 429",
        _ordered(_order(FINLIGHT, "refuse", status=429, times=3), _order(FINLIGHT, "close_all", code=1012, reason="")),
    ),
    Fault(
        "Finance Query: cut, then five times accepted and hung up at once",
        _ordered(_order(FINANCE_QUERY, "hang_up", times=5), _order(FINANCE_QUERY, "cut")),
    ),
    Fault("Finlight: admin_kick for 2 s", _ordered(_order(FINLIGHT, "kick", retry_after_ms=2000))),
    Fault("the recorder's process stands still for 3 s", _stop_the_process),
    Fault(
        "Finance Query: the channels of quotes and profiles are dead, pings answered",
        _ordered(
            _order(FINANCE_QUERY, "kill_endpoint", endpoint="quotes"),
            _order(FINANCE_QUERY, "kill_endpoint", endpoint="profile"),
        ),
    ),
    Fault("the replay server is killed with SIGKILL", _kill_the_server),
    Fault("Finlight: everything is held for 2 s and comes in bursts", _proxied(FINLIGHT, "coalesce", 2.0)),
    Fault("Finlight: half-open, new connections vanish too", _proxied(FINLIGHT, "vanish")),
    Fault(
        "Finance Query: the channels of market and hours are dead, pings answered",
        _ordered(
            _order(FINANCE_QUERY, "kill_endpoint", endpoint="market"),
            _order(FINANCE_QUERY, "kill_endpoint", endpoint="hours"),
        ),
    ),
    Fault("Finlight: half-close, a FIN and no close frame", _proxied(FINLIGHT, "half_close", down_s=0)),
    Fault("Finance Query: reset, then nobody listens", _proxied(FINANCE_QUERY, "refuse", down_s=10.0, then_reset=True)),
    Fault(
        "Finlight: cut, then handshakes that are never answered",
        _ordered(_order(FINLIGHT, "ignore", times=2), _order(FINLIGHT, "cut")),
    ),
    Fault(
        "both send what no protocol knows",
        _ordered(
            _order(FINLIGHT, "send", payload='{"action":"sendPodcast","data":{"link":"https://example.com/1"}}'),
            _order(FINANCE_QUERY, "send", payload="<html>502 Bad Gateway</html>"),
        ),
    ),
)
