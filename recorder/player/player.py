"""The player on a terminal: reads frames and keys, draws some times a second.

In: an open connection to a replay, a console. Out: pictures, operations. Ends at `q`, Ctrl-C, SIGTERM and when the
terminal is gone, and leaves the terminal as it was. At the end of the replay it stays, so that what is typed is not the
shell's. At Ctrl-Z the replay stands still as well, unless it is shared.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import Any

from rich.console import Console
from rich.live import Live
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from recorder.clock import Clock
from recorder.player.keys import Keys, operation
from recorder.player.picture import picture
from recorder.player.shown import Shown
from recorder.player.terminal import Keyboard
from recorder.replay.client import Rate

DRAWN_EVERY_S = 0.1
OPERATIONS_PER_S = 30  # a server hangs up on who asks for too much, and keys repeat and text is pasted
ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Player:
    """`run` it once."""

    def __init__(self, client: ClientConnection, shown: Shown, console: Console, *, title: str, shared: bool) -> None:
        self._client = client
        self._shown = shown
        self._console = console
        self._title = title
        self._shared = shared
        self._clock = Clock()
        self._keys = Keys()
        self._rate = Rate(OPERATIONS_PER_S, self._clock.monotonic_ns())
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self._stopped = asyncio.Event()
        self._to_stand = False
        self._helping = False
        self._again: str | None = None

    async def run(self) -> str | None:
        """Returns where to play from again, if so wished. Raises ConnectionClosed where it is lost before the end."""
        loop = asyncio.get_running_loop()
        for number in ENDS:
            loop.add_signal_handler(number, self._stopped.set)
        loop.add_signal_handler(signal.SIGTSTP, self._stand_soon)
        reading = asyncio.create_task(self._read())
        others = [asyncio.create_task(self._send()), asyncio.create_task(self._stopped.wait())]
        try:
            with ExitStack() as stack:
                keyboard = (
                    stack.enter_context(Keyboard(sys.stdin.fileno(), self._typed)) if sys.stdin.isatty() else None
                )
                live = stack.enter_context(Live(console=self._console, screen=True, auto_refresh=False))
                while not self._stopped.is_set() and (keyboard or not reading.done()):
                    if self._to_stand:
                        await self._stand(live, keyboard)
                    self._draw(live)
                    changes = (others[1],) if reading.done() else (others[1], reading)
                    await asyncio.wait(changes, timeout=DRAWN_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
                    if reading.done():
                        reading.result()
            return self._again
        finally:
            for task in (reading, *others):
                task.cancel()
            await asyncio.gather(reading, *others, return_exceptions=True)

    async def _read(self) -> None:
        while self._shown.end is None:
            self._shown.take(await self._client.recv(decode=False), self._clock.monotonic_ns())

    async def _send(self) -> None:
        with suppress(ConnectionClosed):  # the reader says so
            while True:
                await self._client.send(await self._asked.get())

    def _draw(self, live: Live) -> None:
        now, height = self._clock.now(), self._console.size.height
        drawn = picture(
            self._shown, now.monotonic_ns, now.utc_ns, height=height, title=self._title, helping=self._helping
        )
        live.update(drawn, refresh=True)

    def _typed(self, data: bytes) -> None:
        if not data:
            self._stopped.set()
        for key in self._keys.typed(data):
            shown = self._shown
            if key == "q":
                self._stopped.set()
            elif key == "?":
                self._helping = not self._helping
            elif shown.end is None:
                self._ask(operation(key, paused=shown.paused, speed=shown.speed, begin=shown.begin))
            elif (again := shown.again(key)) is not None:
                self._again = again
                self._stopped.set()

    def _ask(self, asked: dict[str, Any] | None) -> None:
        if asked is not None and self._rate.allows(self._clock.monotonic_ns()):
            self._asked.put_nowait(self._shown.asking(asked))

    def _stand_soon(self) -> None:
        self._to_stand = True

    async def _stand(self, live: Live, keyboard: Keyboard | None) -> None:
        """Ctrl-Z: give the terminal back until the shell lets us go on."""
        self._to_stand = False
        holds = not self._shared and not self._shown.paused and self._shown.end is None
        if holds:
            with suppress(ConnectionClosed):
                await self._client.send(self._shown.asking({"op": "pause"}))
        live.stop()
        if keyboard is not None:
            keyboard.close()
        os.kill(os.getpid(), signal.SIGSTOP)
        if keyboard is not None:
            keyboard.open()
        live.start()
        if holds:
            with suppress(ConnectionClosed):
                await self._client.send(self._shown.asking({"op": "resume"}))
