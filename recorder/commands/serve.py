"""`recorder serve`: plays the recording to clients, from one port, until told to stop.

In: settings. Out: a line on stdout that says where, then nothing but logs on stderr. Only reads the data directory, so
that whatever its clients do to it, recording does not notice; it can be started and killed at any time.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import orjson

from recorder import log
from recorder.clock import Clock
from recorder.replay.native import Native
from recorder.replay.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Settings


def main(settings: Settings, *, host: str | None = None, port: int | None = None, as_json: bool = False) -> int:
    """Returns 0 at SIGTERM or Ctrl-C. `host` and `port` are over the settings."""
    over = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    log.start()
    asyncio.run(_serve(settings.model_copy(update={"replay": settings.replay.model_copy(update=over)}), as_json))
    return 0


async def _serve(settings: Settings, as_json: bool) -> None:
    limits = settings.replay
    sessions = Sessions(Timeline(settings.data), Clock(), limits)
    server = Server(
        {"/replay": Native(sessions)},
        address=limits.host,
        port=limits.port,
        clients_max=limits.listeners_max,
        message_bytes_max=limits.message_bytes_max,
        handshake_timeout_s=limits.handshake_timeout_s,
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        said = {"url": server.url, "host": server.address, "port": server.port}
        print(orjson.dumps(said).decode() if as_json else f"Replaying {settings.data} on {server.url}", flush=True)
        await stopped.wait()
    sys.stdout.flush()
