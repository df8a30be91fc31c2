"""What the event loop is told of the journal: what became durable, that too much waits, that it has given up.

In: facts that the writer's thread changes, and its word that they did. Out: calls on the event loop, one for however
many commits there were since the last. Holds nothing that must survive. Committing is writer.py's job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from recorder.clock import Clock
from recorder.errors import JournalFailed
from recorder.journal.figures import Figures


class Announcer:
    """Everything but `durable`, `failed` and `figures` belongs to the event loop."""

    def __init__(self, durable: int, buffer_bytes_max: int, clock: Clock) -> None:
        self.durable = durable
        self.failed: JournalFailed | None = None
        self.figures = Figures()
        self._buffer_bytes_max = buffer_bytes_max
        self._clock = clock
        self._announcing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_durable: list[Callable[[int], None]] = []
        self._on_pressure: list[Callable[[bool], None]] = []
        self._on_failed: list[Callable[[JournalFailed], None]] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._pressed_ns = 0

    def on_durable(self, callback: Callable[[int], None]) -> None:
        """Call it on the event loop with the durable position after a commit, or after several at once."""
        self._loop = asyncio.get_running_loop()
        self._on_durable.append(callback)

    def on_pressure(self, callback: Callable[[bool], None]) -> None:
        """Call it on the event loop with True when too much is buffered, with False when half of that is."""
        self._loop = asyncio.get_running_loop()
        self._on_pressure.append(callback)

    def on_failed(self, callback: Callable[[JournalFailed], None]) -> None:
        """Call it on the event loop, once, when the journal has given up."""
        self._loop = asyncio.get_running_loop()
        self._on_failed.append(callback)
        if self.failed:
            self._tell_loop()

    async def wait_durable(self, position: int) -> None:
        """Return when `position` is durable. Raises JournalFailed when it will not be."""
        self._loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((position, future))
        self._announce()
        await future

    def _tell_loop(self) -> None:
        """From any thread: something changed."""
        if self._loop is not None and not self._announcing:
            self._announcing = True
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._announce)

    def _announce(self) -> None:
        self._announcing = False
        durable, failed = self.durable, self.failed
        for callback in self._on_durable:
            callback(durable)
        waiting, self._waiting = self._waiting, []
        for position, future in waiting:
            if future.done():
                continue
            if position <= durable:
                future.set_result(None)
            elif failed:
                future.set_exception(failed)
            else:
                self._waiting.append((position, future))
        self._look_at_pressure()
        if failed:
            callbacks, self._on_failed = self._on_failed, []
            for told in callbacks:
                told(failed)

    def _look_at_pressure(self) -> None:
        figures = self.figures
        if figures.under_pressure and figures.buffered_bytes * 2 <= self._buffer_bytes_max:
            self._press(False)
        elif not figures.under_pressure and figures.buffered_bytes > self._buffer_bytes_max:
            self._press(True)

    def _press(self, under_pressure: bool) -> None:
        now_ns = self._clock.monotonic_ns()
        self.figures.under_pressure = under_pressure
        if under_pressure:
            self.figures.under_pressure_times += 1
            self._pressed_ns = now_ns
        else:
            self.figures.under_pressure_ns += now_ns - self._pressed_ns
        for callback in self._on_pressure:
            callback(under_pressure)
