"""The replay server beside the recorder: a process of its own, without the recorder's keys, started again when it ends.

In: where the recording is. Out: a child whose stdin is a pipe of ours: it ends when that closes, so also when we are
killed. Whatever becomes of it, recording goes on; nothing here is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from recorder.configuration import SECRET_VARIABLE

log = logging.getLogger(__name__)

FIRST_S, MAX_S = 1.0, 60.0  # waits before starting it again
STEADY_S = 60.0  # having run so long, it is started again at once
FAREWELL_S = 3.0


class Beside:
    """Keeps `recorder serve` running between `start` and `stop`."""

    def __init__(self, data: Path, config: Path | None, token: str) -> None:
        self._arguments = ["serve", "--until-stdin-closes", "--data", str(data)]
        if config:
            self._arguments += ["--config", str(config)]
        kept = SECRET_VARIABLE + token.upper() if token else None
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith(SECRET_VARIABLE) or k == kept}
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process and self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), FAREWELL_S)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()

    async def _keep(self) -> None:
        loop, wait_s = asyncio.get_running_loop(), FIRST_S
        while True:
            began_s = loop.time()
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "recorder", *self._arguments, env=self._environ, stdin=asyncio.subprocess.PIPE
            )
            code = await self._process.wait()
            wait_s = FIRST_S if loop.time() - began_s >= STEADY_S else min(2 * wait_s, MAX_S)
            log.warning("serve.ended", extra={"fields": {"code": code, "again_in_s": wait_s}})
            await asyncio.sleep(wait_s)
