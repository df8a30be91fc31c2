"""Files that come to stand for others: one step of keeping the recording small.

In: a function that makes the files, and one that registers them in place of what was there. Out: both done, in this
order. The heavy work is done in a process of its own at low priority; one thing is done at a time, a second one waits.

If the power fails between any two steps, nothing is missing and nothing is there twice: until it is registered a file
is told to nobody, and noted first, so the next run removes what one that broke off has made; afterwards what it stands
for is told to nobody new.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from recorder.clock import Clock
from recorder.errors import RecorderError
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions.apart import Killed
from recorder.partitions.replaced import remove_begun
from recorder.partitions.seal import Step
from recorder.partitions.sealer import Writer

CLOSE_EVERY_S = 0.02  # a process that has just begun may be missed by the first kill

T = TypeVar("T")


class Beside(Protocol):
    """Where the heavy work is done."""

    def do(self, task: Callable[[], T]) -> Awaitable[T]: ...

    def kill(self) -> None: ...

    async def end(self) -> None: ...


class Replacing:
    """In one data directory, whose writer is `writer`. Nothing is made that would leave less than `keep_free_bytes`."""

    def __init__(
        self, data: Path, writer: Writer, clock: Clock, beside: Beside, step: Step, keep_free_bytes: int
    ) -> None:
        self._data = data
        self._writer = writer
        self._clock = clock
        self._beside = beside
        self._step = step
        self._keep_free_bytes = keep_free_bytes
        self._turn = asyncio.Lock()
        self._closing = False
        self._tidied = False

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._turn.locked()

    async def do(self, task: Callable[[], T]) -> T:
        """Something heavy that changes nothing of what is registered."""
        return await self._beside.do(task)

    async def replace(
        self,
        what: str,
        byte_count: int,
        paths: Sequence[str],
        make: Callable[[], list[Part]],
        register: Callable[[Store, list[Part], int], None],
    ) -> list[Part]:
        """Make the files of a piece of work, of up to so many bytes, and have them stand for what was there."""
        if self._closing:
            raise Killed("the recorder stops.")
        disk_ = os.statvfs(self._data)
        if disk_.f_bavail * disk_.f_frsize < self._keep_free_bytes + byte_count:
            needed = f"{what} needs up to {byte_count} bytes beside the {self._keep_free_bytes} to be kept free"
            raise OSError(errno.ENOSPC, f"too little room to compact: {needed}", str(self._data))
        await self._writer.call(lambda store: store.intend_compaction(paths))
        self._step("intended")
        try:
            made = await self._beside.do(make)
        except (RecorderError, OSError):
            if not self._closing:
                await self._beside.do(partial(remove_begun, self._data, paths))
            raise
        self._step("made")
        now_ns = self._clock.now().utc_ns
        parts = [replace(part, registered_ns=now_ns) for part in made]
        await self._writer.call(lambda store: register(store, parts, now_ns))
        self._step("registered")
        return parts

    async def close(self) -> None:
        """End what is under way, at once: the next recorder does it again."""
        self._closing = True
        while self._turn.locked():
            self._beside.kill()
            await asyncio.sleep(CLOSE_EVERY_S)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """One at a time, for `do` and `replace`; ended by `close`, and the process that did the work goes with it."""
        async with self._turn:
            try:
                await self._tidy_up()
                yield
            except Killed:
                if not self._closing:
                    raise
            finally:
                await self._beside.end()

    async def _tidy_up(self) -> None:
        """Once: remove what a run that broke off has made."""
        if not self._tidied:
            begun = await self._writer.call(Store.intended_compaction)
            await self._beside.do(partial(remove_begun, self._data, begun))
            self._tidied = True
