"""When and in which order sealing happens: the recorder's side of it.

In: a request to seal. Out: parts registered in the journal's store, sealed groups let go little by little, a catalogue
that shows them, and figures. The heavy work is done by a process of its own at low priority, which has the journal open
read-only: it can neither stall a commit nor take the recorder's interpreter lock. If the power fails between any two
steps, the range noted first is sealed again under the same names; groups go only after their parts were registered.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from recorder.clock import SECOND_NS, Clock
from recorder.errors import RecorderError
from recorder.journal.store import Store
from recorder.partitions import catalog
from recorder.partitions.apart import settle_down
from recorder.partitions.seal import Sealed, Step, no_step, plan, seal

NICENESS = 10
TRIES_MAX = 3  # of one piece of work whose process died under it
FORGET_GROUPS = 50  # at a time, between two commits: 1.5 ms of groups of 200 KB

T = TypeVar("T")


class Writer(Protocol):
    """The journal's writer: the one that may change the store, between two commits."""

    def call(self, do: Callable[[Store], T]) -> Awaitable[T]: ...


@dataclass(slots=True)
class Report:
    """What one `Sealer.seal` did."""

    rounds: int = 0
    sealed_position: int = 0
    rows: Counter[str] = field(default_factory=Counter)  # by table
    unparsed: Counter[str] = field(default_factory=Counter)  # table: frames without the feed's shape
    unread: Counter[str] = field(default_factory=Counter)  # table.column: values that are NULL for it
    payload_bytes: int = 0
    file_bytes: int = 0
    seconds: float = 0.0

    def add(self, sealed: Sealed) -> None:
        self.rounds += 1
        self.sealed_position = sealed.last_position
        self.unparsed.update(sealed.unparsed)
        self.unread.update(sealed.unread)
        self.payload_bytes += sealed.payload_bytes
        for part in sealed.parts:
            self.rows[part.table_name] += part.row_count
            self.file_bytes += part.byte_count


def worker_pool() -> Executor:
    """One process that works beside the recorder, yields to it and ends with it."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=settle_down, initargs=(NICENESS,))


class Sealer:
    """Seals everything durable, in rounds of bounded memory. One at a time: a second call waits for the first."""

    def __init__(
        self,
        data: Path,
        writer: Writer,
        bytes_max: int,
        clock: Clock,
        pool: Callable[[], Executor] = worker_pool,
        step: Step = no_step,
    ) -> None:
        self._data = data
        self._writer = writer
        self._bytes_max = bytes_max
        self._clock = clock
        self._new_pool = pool
        self._pool: Executor | None = None
        self._step = step
        self._turn = asyncio.Lock()
        self._shown = ""  # the generation of the catalogue

    async def seal(self) -> Report:
        """Seal what was durable when it began. Afterwards the journal holds nothing of it, and the catalogue shows it.

        Raises RecorderError, OSError or sqlite3.Error where the work fails; then the journal keeps everything that
        was not registered, and the next call begins anew.
        """
        async with self._turn:
            began = self._clock.now()
            report = Report(sealed_position=await self._writer.call(Store.sealed_position))
            until = await self._writer.call(Store.durable_position)
            await self._forget()  # what a recorder that died had registered only
            while (span := await self._work(partial(plan, self._data, self._bytes_max, until))) is not None:
                await self._round(*span, report)
            await self._show()
            report.seconds = (self._clock.now().monotonic_ns - began.monotonic_ns) / SECOND_NS
            return report

    async def show(self) -> str:
        """Have the catalogue say what is registered now. Returns its generation."""
        async with self._turn:
            return await self._show()

    async def close(self) -> None:
        """Let the working process go; it ends what it is doing first."""
        async with self._turn:
            if self._pool is not None:
                await asyncio.to_thread(self._pool.shutdown)
                self._pool = None

    async def _round(self, first: int, last: int, report: Report) -> None:
        await self._writer.call(lambda store: store.intend_seal(first, last))
        self._step("intended")
        sealed = await self._work(partial(seal, self._data, first, last, self._step))
        self._step("published")
        now_ns = self._clock.now().utc_ns
        parts = [replace(part, registered_ns=now_ns) for part in sealed.parts]
        await self._writer.call(lambda store: store.register(parts, sealed.last_position, sealed.standing))
        self._step("registered")
        await self._forget()
        report.add(sealed)

    async def _show(self) -> str:
        there = (self._data / catalog.CATALOG).exists()  # or somebody has deleted it
        self._shown = await self._work(partial(catalog.refresh, self._data, self._shown if there else ""))
        return self._shown

    async def _forget(self) -> None:
        while await self._writer.call(lambda store: store.forget_sealed(FORGET_GROUPS)):
            self._step("forgot some")

    async def _work(self, task: Callable[[], T]) -> T:
        """Do it in the other process, in a new one if that dies."""
        for _ in range(TRIES_MAX):
            if self._pool is None:
                self._pool = self._new_pool()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, task)
            except BrokenExecutor:
                self._pool.shutdown(wait=False)
                self._pool = None
        raise RecorderError(
            f"the process that seals {self._data} died {TRIES_MAX} times, perhaps for want of memory. "
            "Lower seal.bytes_max; nothing is lost, the journal keeps what is not sealed."
        )
