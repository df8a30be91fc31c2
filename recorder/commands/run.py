"""`recorder run`: record until told to stop, once politely, twice at once."""

from __future__ import annotations

import asyncio
import os
import signal

from recorder import log
from recorder.configuration import feed_secrets
from recorder.daemon import Daemon
from recorder.settings import Settings


def main(settings: Settings) -> int:
    """Returns 0 after a clean stop. Raises DataDirectoryBusy or JournalFailed."""
    log.start()
    secrets = feed_secrets(settings, os.environ)
    asyncio.run(_run(settings, secrets))
    return 0


async def _run(settings: Settings, secrets: dict[str, str]) -> None:
    daemon = Daemon(settings, secrets)
    loop = asyncio.get_running_loop()
    signalled = 0

    def on_signal(number: signal.Signals) -> None:
        nonlocal signalled
        signalled += 1
        if signalled > 1:
            # Whatever was published as durable is on disk; there is nothing that an orderly end would add to it.
            os._exit(128 + number)
        daemon.stop(f"stopped by {number.name}")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    await daemon.run()
