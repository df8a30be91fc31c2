"""`recorder run`: record until told to stop, once politely, twice at once; SIGHUP reads the configuration anew.

In: a way to read the settings, signals, and systemd's socket. Out: an exit code. A configuration that is not usable is
logged at SIGHUP and changes nothing. In a terminal SIGHUP is the end of the terminal, and a polite stop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import recorder.log
from recorder.beside import Beside
from recorder.configuration import feed_secrets, heartbeat_url
from recorder.daemon import Daemon
from recorder.errors import ConfigInvalid
from recorder.notify import Notify
from recorder.settings import Settings

log = logging.getLogger(__name__)

Load = Callable[[], Settings]


def main(load: Load, config: Path | None, *, serving: bool) -> int:
    """Returns 0 after a clean stop. Raises ConfigInvalid, DataDirectoryBusy or JournalFailed."""
    recorder.log.start()
    settings = load()
    beside = Beside(settings.data, config, settings.replay.token) if serving else None
    url = heartbeat_url(settings, os.environ)
    asyncio.run(_run(settings, feed_secrets(settings, os.environ), load, beside, url))
    return 0


async def _run(settings: Settings, secrets: dict[str, str], load: Load, beside: Beside | None, url: str | None) -> None:
    daemon = Daemon(settings, secrets, Notify(os.environ), url)
    loop = asyncio.get_running_loop()
    signalled = 0
    asked = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        nonlocal signalled
        signalled += 1
        if signalled > 1:
            # Whatever was published as durable is on disk; there is nothing that an orderly end would add to it.
            os._exit(128 + number)
        daemon.stop(f"stopped by {number.name}")

    ends = [signal.SIGTERM, signal.SIGINT]
    if sys.stdin and sys.stdin.isatty():
        ends.append(signal.SIGHUP)
    else:
        loop.add_signal_handler(signal.SIGHUP, asked.set)
    for number in ends:
        loop.add_signal_handler(number, on_signal, number)
    reloading = asyncio.create_task(_reload_whenever(asked, daemon, load))
    if beside:
        beside.start()
    try:
        await daemon.run()
    finally:
        reloading.cancel()
        if beside:
            await beside.stop()


async def _reload_whenever(asked: asyncio.Event, daemon: Daemon, load: Load) -> None:
    """One reload at a time; however often it was asked for during one, there is one more after it."""
    while await asked.wait():
        asked.clear()
        daemon.notify.tell(RELOADING=1, MONOTONIC_USEC=daemon.clock.monotonic_ns() // 1000)
        try:
            settings = load()
            await daemon.reload(settings, feed_secrets(settings, os.environ))
        except ConfigInvalid as refused:
            daemon.service.problem = f"reload refused, the old settings hold: {refused.problems[0]}"
            for problem in refused.problems:
                log.error("reload.refused", extra={"fields": {"source": refused.source, "problem": problem}})
        except Exception:  # a mistake of ours must not end the recording, nor the reloads to come
            daemon.service.problem = "reload failed, see the log"
            log.exception("reload.failed")
        if daemon.service.ready:
            daemon.notify.tell(READY=1)
