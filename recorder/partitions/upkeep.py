"""Keeping the recording small and quick to read: compaction, retention and the deletion of what they left.

In: requests to do one of them. Out: parts that stand for others, registered in one transaction; a catalogue that shows
them; files deleted when every reader had its grace. The heavy work is done in a process of its own at low
priority. One thing is done at a time; a second call waits for the first.

If the power fails between any two steps, nothing is missing and nothing is there twice: until it is registered a file
is told to nobody, and noted first, so the next run removes what one that broke off has made; afterwards its inputs are
told to nobody new. They stay for the grace time: for queries under way, for connections that know the catalogue before,
for replays. Such connections lose their sentinel before the first file goes: they fail aloud, instead of missing rows.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from recorder import disk, settings
from recorder.clock import SECOND_NS, Clock
from recorder.errors import PartDamaged, RecorderError
from recorder.journal.registry import Part, Retired
from recorder.journal.store import Store
from recorder.partitions import compact, layout, retain
from recorder.partitions.apart import Apart, Killed
from recorder.partitions.compact import Work
from recorder.partitions.merge import Keep, merge
from recorder.partitions.retain import LetGo
from recorder.partitions.schema import FEED, MESSAGES
from recorder.partitions.seal import Step, no_step
from recorder.partitions.sealer import Writer
from recorder.partitions.views import STORED

NICENESS = 15  # sealing goes before it with 10; with 19, queries on all cores would keep it from ever getting done
CLOSE_EVERY_S = 0.02  # a process that has just begun may be missed by the first kill
FORGET_PATHS = 200  # at a time, between two commits

T = TypeVar("T")


class Beside(Protocol):
    """Where the heavy work is done."""

    def do(self, task: Callable[[], T]) -> Awaitable[T]: ...

    def kill(self) -> None: ...

    async def end(self) -> None: ...


@dataclass(slots=True)
class Compacted:
    """What one `Upkeep.compact` did."""

    works: int = 0
    parts_before: int = 0
    parts_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    deleted_files: int = 0
    deleted_bytes: int = 0
    left: list[str] = field(default_factory=list)  # what could not be done, and why

    def add(self, work: Work, parts: Sequence[Part]) -> None:
        self.works += 1
        self.parts_before += len(work.inputs)
        self.parts_after += len(parts)
        self.bytes_before += work.byte_count
        self.bytes_after += sum(part.byte_count for part in parts)


class Upkeep:
    """Of one data directory, whose writer is `writer`; `show` publishes the catalogue and says its generation.

    Nothing is compacted that would leave less than `keep_free_bytes` free on the disk.
    """

    def __init__(
        self,
        data: Path,
        writer: Writer,
        limits: settings.Compact,
        clock: Clock,
        show: Callable[[], Awaitable[str]],
        beside: Beside | None = None,
        step: Step = no_step,
        *,
        keep_free_bytes: int = 0,
    ) -> None:
        self._data = data
        self._writer = writer
        self._limits = limits
        self._clock = clock
        self._show = show
        self._beside = beside or Apart(NICENESS)
        self._step = step
        self._keep_free_bytes = keep_free_bytes
        self._turn = asyncio.Lock()
        self._closing = False
        self._tidied = False
        self._left: dict[str, str] = {}  # work: why it cannot be done; not tried again by this recorder

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._turn.locked()

    async def compact(self, told: Callable[[Work, int], None] = lambda *_: None) -> Compacted:
        """Compact all there is to compact, and delete what had its grace.

        `told` of each piece of work when it is done, and of how many bytes are planned behind it. Raises RecorderError
        where something had to be left as it is, OSError where the disk refused, both after all else was done;
        sqlite3.Error.
        """
        done = Compacted()
        refused: OSError | None = None
        async with self._alone():
            await self._tidy_up()
            try:
                await self._compact(done, told)
            except OSError as error:  # what had its grace goes all the more
                refused = error
            await self._delete(done)
        if refused:
            raise refused
        if self._left:
            raise RecorderError(f"left as it is: {'; '.join(self._left.values())}")
        return done

    async def retain(self, limits: settings.Retain, told: Callable[[LetGo], None]) -> None:
        """Let go of what is too old or too much, and tell; the files are deleted by `compact`, after their grace.

        Raises PartDamaged for a part that would have to be written anew, OSError or sqlite3.Error.
        """
        async with self._alone():
            await self._tidy_up()
            begun = False
            while going := await self._beside.do(partial(to_let_go, self._data, limits, self._clock.now().utc_ns)):
                await self._let_go(going[0])
                told(going[0])
                begun = True
            if begun:
                await self._show()

    async def close(self) -> None:
        """End what is under way, at once: the next recorder does it again."""
        self._closing = True
        while self._turn.locked():
            self._beside.kill()
            await asyncio.sleep(CLOSE_EVERY_S)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One at a time; ended by `close`, and the process that did the work goes with it."""
        async with self._turn:
            try:
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

    async def _compact(self, done: Compacted, told: Callable[[Work, int], None]) -> None:
        while works := [w for w in await self._beside.do(partial(to_do, self._data)) if w.what not in self._left]:
            planned = sum(work.byte_count for work in works)
            for work in works:
                try:
                    done.add(work, await self._replace(work))
                except PartDamaged as damage:
                    self._left[work.what] = f"{work.what}: {damage}"
                planned -= work.byte_count
                told(work, planned)

    async def _replace(self, work: Work, keep: Keep | None = None) -> list[Part]:
        """Make the files of a piece of work and have them stand for their inputs."""
        if self._closing:
            raise Killed("the recorder stops.")
        disk_ = os.statvfs(self._data)
        if disk_.f_bavail * disk_.f_frsize < self._keep_free_bytes + work.byte_count:
            needed = (
                f"{work.what} needs up to {work.byte_count} bytes beside the {self._keep_free_bytes} to be kept free"
            )
            raise OSError(errno.ENOSPC, f"too little room to compact: {needed}", str(self._data))
        paths = [output.path for output in work.outputs]
        await self._writer.call(lambda store: store.intend_compaction(paths))
        self._step("intended")
        try:
            made = await self._beside.do(partial(merge, self._data, work, self._limits.level, self._step, keep))
        except (RecorderError, OSError):
            if not self._closing:
                await self._beside.do(partial(remove_begun, self._data, paths))
            raise
        self._step("made")
        now_ns = self._clock.now().utc_ns
        parts = [replace(part, registered_ns=now_ns) for part in made]
        await self._writer.call(lambda store: store.replace(work.inputs, parts, now_ns, hot_since=work.hot_since))
        self._step("registered")
        return parts

    async def _let_go(self, going: LetGo) -> None:
        if going.feed is None:
            now_ns = self._clock.now().utc_ns
            await self._writer.call(lambda store: store.replace(going.parts, [], now_ns, let_go=going.last_position))
            self._step("let go")
            return
        feed = going.feed
        for part in going.parts:
            if await self._beside.do(partial(holds_feed, self._data, part, feed)):
                await self._replace(retain.thinning(part), partial(retain.without, feed=feed))
        await self._writer.call(lambda store: store.let_go_of_feed(feed, going.last_position))

    async def _delete(self, done: Compacted) -> None:
        """Delete the files that were retired a grace time ago, and before them the sentinels of whoever knows them."""
        until_ns = self._clock.now().utc_ns - int(self._limits.grace_s * SECOND_NS)
        if done.works or await self._beside.do(partial(due, self._data, until_ns)):
            shown = await self._show()
            self._step("shown")
            gone = await self._beside.do(partial(delete, self._data, until_ns, shown, self._step))
            for start in range(0, len(gone), FORGET_PATHS):
                paths = [one.path for one in gone[start : start + FORGET_PATHS]]
                await self._writer.call(partial(_forget, paths))
                self._step("forgot")
            done.deleted_files += len(gone)
            done.deleted_bytes += sum(one.byte_count for one in gone)


def to_do(data: Path) -> list[Work]:
    """What there is to compact now."""
    with closing(Store.open_readonly(data)) as store:
        return compact.plan(store.parts())


def to_let_go(data: Path, limits: settings.Retain, now_ns: int) -> list[LetGo]:
    """What goes now by these limits."""
    with closing(Store.open_readonly(data)) as store, store.transaction():
        parts, gone, hot_since = store.parts(), store.feeds_let_go(), store.hot_since()
    return retain.plan(parts, now_ns, limits.days, limits.bytes_max, limits.feeds, gone, hot_since)


def holds_feed(data: Path, part: Part, feed: str) -> bool:
    """Whether a part has anything that goes with the feed."""
    path = data / part.path
    try:
        columns = [FEED.name, "kind"] if part.table_name == MESSAGES else [FEED.name]
        with pq.ParquetFile(path) as file:
            rows = file.read(columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise PartDamaged(path, str(error).partition("\n")[0]) from error
    return len(retain.without(rows, feed)) < len(rows)


def remove_begun(data: Path, begun: Sequence[str]) -> None:
    """Remove the files of a compaction that was never registered."""
    with closing(Store.open_readonly(data)) as store:
        registered = {part.path for part in store.parts()}
    for path in set(begun) - registered:
        (data / path).unlink(missing_ok=True)
    for stored in STORED:
        disk.sweep(data / stored.name / "cold")


def due(data: Path, until_ns: int) -> bool:
    """Whether any file waits for its deletion since then."""
    with closing(Store.open_readonly(data)) as store:
        return bool(store.retired(until_ns))


def delete(data: Path, until_ns: int, shown: str, step: Step = no_step) -> list[Retired]:
    """Delete the files retired until then. Returns what can be forgotten.

    First go the sentinels of catalogues from before the newest of those retirements: whoever still goes by one of them
    is told to reconnect. `shown` is the generation of the present one, which names none of these files.
    """
    with closing(Store.open_readonly(data)) as store, store.transaction():
        gone, registered = store.retired(until_ns), {part.path for part in store.parts()}
    if not gone:
        return []
    newest_ns = max(one.retired_ns for one in gone)
    for stored in STORED:
        present = data / layout.sentinel_path(stored.name, shown)
        for sentinel in present.parent.glob("*.parquet"):
            if sentinel != present and sentinel.stat().st_mtime_ns <= newest_ns:
                sentinel.unlink()
    step("expired")
    for one in gone:
        if one.path not in registered:  # a registry made again from names may know it again
            path = data / one.path
            path.unlink(missing_ok=True)
            for folder in path.parents[:2]:
                if "=" in folder.name:
                    with suppress(OSError):  # not empty
                        folder.rmdir()
    step("deleted")
    return gone


def _forget(paths: Sequence[str], store: Store) -> None:
    store.forget_retired(paths)
