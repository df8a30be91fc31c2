"""Keeping the recording small and quick to read: compaction, retention, rebuilding, and deleting what they left.

In: requests to do one of them. Out: parts that stand for others, registered in one transaction; a catalogue that shows
them; files deleted when every reader had its grace. The heavy work is done in a process of its own at low
priority. One thing is done at a time; a second call waits for the first.

If the power fails between any two steps, nothing is missing and nothing is there twice: until it is registered a file
is told to nobody, and noted first, so the next run removes what one that broke off has made; afterwards its inputs are
told to nobody new. They stay for the grace time: for queries under way, for connections that know the catalogue before,
for replays. Such connections lose their sentinel before the first file goes: they fail aloud, instead of missing rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from recorder import __version__, settings
from recorder.clock import SECOND_NS, Clock
from recorder.errors import PartDamaged, RecorderError
from recorder.journal.registry import Part, Rebuilding
from recorder.journal.store import Store
from recorder.partitions import compact, retain
from recorder.partitions.apart import Apart, Killed
from recorder.partitions.compact import Work
from recorder.partitions.merge import Keep, merge
from recorder.partitions.rebuild import Piece, asked, hot_messages, known, plan, rebuild
from recorder.partitions.replaced import delete, due
from recorder.partitions.replacing import Beside, Replacing
from recorder.partitions.retain import LetGo
from recorder.partitions.schema import FEED, MESSAGES, SCHEMA_VERSION
from recorder.partitions.seal import Step, no_step
from recorder.partitions.sealer import Writer

NICENESS = 15  # sealing goes before it with 10; with 19, queries on all cores would keep it from ever getting done
FORGET_PATHS = 200  # at a time, between two commits
REBUILD_S = 30.0  # at a time; then whatever else there is has its turn
T = TypeVar("T")
BY = f"{__version__}, schema {SCHEMA_VERSION}"


class LeftAsItIs(RecorderError):
    """Something is damaged; all else was done."""

    def __init__(self, what: Iterable[str]) -> None:
        super().__init__(f"left as it is: {'; '.join(what)}")


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
        self._step = step
        self._replacing = Replacing(data, writer, clock, beside or Apart(NICENESS), step, keep_free_bytes)
        self._left: dict[str, str] = {}  # work: why it cannot be done; not tried again by this recorder
        self._rebuild_due = True  # something may be there to rebuild, by an earlier recorder's order perhaps

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._replacing.busy

    async def close(self) -> None:
        """End what is under way, at once: the next recorder does it again."""
        await self._replacing.close()

    async def compact(self, told: Callable[[Work, int], None] = lambda *_: None, present_hour: str = "") -> Compacted:
        """Compact all there is to compact, and delete what had its grace.

        `told` of each piece of work when it is done, and of how many bytes are planned behind it. `present_hour`: see
        compact.plan. Raises LeftAsItIs where something is damaged, OSError where the disk refused, both after all else
        was done; sqlite3.Error.
        """
        done = Compacted()
        refused: OSError | None = None
        async with self._replacing.alone():
            try:
                await self._compact(done, told, present_hour)
            except OSError as error:  # what had its grace goes all the more
                refused = error
            await self._delete(done)
        if refused:
            raise refused
        if self._left:
            raise LeftAsItIs(self._left.values())
        return done

    async def retain(self, limits: settings.Retain, told: Callable[[LetGo], None]) -> None:
        """Let go of what is too old or too much, and tell; the files are deleted by `compact`, after their grace.

        Raises PartDamaged for a part that would have to be written anew, OSError or sqlite3.Error.
        """
        async with self._replacing.alone():
            begun = False
            while going := await self._replacing.do(partial(to_let_go, self._data, limits, self._clock.now().utc_ns)):
                await self._let_go(going[0])
                told(going[0])
                begun = True
            if begun:
                await self._show()

    async def rebuild(self, told: Callable[[dict[str, Rebuilding]], None] = lambda _: None) -> None:
        """Make anew what was asked for, as far as it is cold; what is not follows when this is called again.

        `told` of the tables under way and how far they are. Raises LeftAsItIs for what could not be made, after all
        else was done, OSError or sqlite3.Error.
        """
        left: list[str] = []
        while self._rebuild_due or asked(self._data):
            async with self._replacing.alone():  # in turns, with compaction and whatever else there is
                if wanted := asked(self._data):
                    if wanted.tables:
                        await self.begin_rebuild(wanted.tables)
                    wanted.done()
                self._rebuild_due = await self._rebuild(told, left)
                await self._show()
        if left:
            raise LeftAsItIs(left)

    async def look(self, task: Callable[[], T]) -> T:
        """What only reads, when it is its turn. Raises what the task raises, Killed where the recorder stops."""
        async with self._replacing.alone():
            return await self._replacing.do(task)
        raise Killed("the recorder stops.")

    async def begin_rebuild(self, tables: Sequence[str]) -> None:
        """Have these tables made anew by `rebuild`, all for none. Raises RequestInvalid."""
        names = known(tables)
        await self._writer.call(lambda store: store.begin_rebuild(names, BY))
        self._rebuild_due = True

    async def _compact(self, done: Compacted, told: Callable[[Work, int], None], present_hour: str) -> None:
        look = partial(to_do, self._data, present_hour)
        while works := [work for work in await self._replacing.do(look) if work.what not in self._left]:
            planned = sum(work.byte_count for work in works)
            for work in works:
                try:
                    done.add(work, await self._compacted(work))
                except PartDamaged as damage:
                    self._left[work.what] = f"{work.what}: {damage}"
                planned -= work.byte_count
                self._rebuild_due = True
                told(work, planned)

    async def _rebuild(self, told: Callable[[dict[str, Rebuilding]], None], left: list[str]) -> bool:
        """All that there is time for. Returns whether to go on at once."""
        until_ns = self._clock.now().monotonic_ns + int(REBUILD_S * SECOND_NS)
        under_way = await self._writer.call(Store.rebuilding)
        if other := [table for table, how in under_way.items() if how.by != BY]:  # an upgrade in between
            await self.begin_rebuild(other)
            return True
        for table in under_way:
            pieces, waiting = await self._replacing.do(partial(to_rebuild, self._data, table))
            for piece in pieces:
                try:
                    await self._rebuilt(piece)
                except PartDamaged as damage:
                    left.append(f"{table} at positions {piece.first_position} to {piece.last_position}: {damage}")
                    await self._writer.call(partial(_pass_over, piece))
                told(await self._writer.call(Store.rebuilding))
                if self._clock.now().monotonic_ns >= until_ns:
                    return True
            if not waiting:
                await self._writer.call(partial(_end_rebuild, table))
                told(await self._writer.call(Store.rebuilding))
        return False

    async def _compacted(self, work: Work, keep: Keep | None = None) -> list[Part]:
        paths = [output.path for output in work.outputs]
        make = partial(merge, self._data, work, self._limits.level, self._step, keep)

        def register(store: Store, parts: list[Part], now_ns: int) -> None:
            store.replace(work.inputs, parts, now_ns, hot_since=work.hot_since)

        return await self._replacing.replace(work.what, work.byte_count, paths, make, register)

    async def _rebuilt(self, piece: Piece) -> None:
        what = f"{piece.table} from position {piece.first_position} on"
        make = partial(rebuild, self._data, piece, self._limits.level)

        def register(store: Store, parts: list[Part], now_ns: int) -> None:
            store.replace(piece.retired, parts, now_ns, rebuilt=(piece.table, piece.last_position))

        await self._replacing.replace(what, piece.byte_count, [piece.path], make, register)

    async def _let_go(self, going: LetGo) -> None:
        if going.feed is None:
            now_ns = self._clock.now().utc_ns
            await self._writer.call(lambda store: store.replace(going.parts, [], now_ns, let_go=going.last_position))
            self._step("let go")
            return
        feed = going.feed
        for part in going.parts:
            if await self._replacing.do(partial(holds_feed, self._data, part, feed)):
                await self._compacted(retain.thinning(part), partial(retain.without, feed=feed))
        await self._writer.call(lambda store: store.let_go_of_feed(feed, going.last_position))

    async def _delete(self, done: Compacted) -> None:
        """Delete the files that were retired a grace time ago, and before them the sentinels of whoever knows them."""
        until_ns = self._clock.now().utc_ns - int(self._limits.grace_s * SECOND_NS)
        if done.works or await self._replacing.do(partial(due, self._data, until_ns)):
            shown = await self._show()
            self._step("shown")
            gone = await self._replacing.do(partial(delete, self._data, until_ns, shown, self._step))
            for start in range(0, len(gone), FORGET_PATHS):
                paths = [one.path for one in gone[start : start + FORGET_PATHS]]
                await self._writer.call(partial(_forget, paths))
                self._step("forgot")
            done.deleted_files += len(gone)
            done.deleted_bytes += sum(one.byte_count for one in gone)


def to_do(data: Path, present_hour: str = "") -> list[Work]:
    """What there is to compact now."""
    with closing(Store.open_readonly(data)) as store:
        return compact.plan(store.parts(), present_hour)


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


def to_rebuild(data: Path, table: str) -> tuple[list[Piece], bool]:
    """What of a table that is under way can be made now, and whether there is more that has to wait."""
    with closing(Store.open_readonly(data)) as store, store.transaction():
        how, parts, let_go = store.rebuilding()[table], store.parts(), store.let_go_position()
        taken = {one.path for one in store.retired()}
    return plan(parts, table, how, let_go, taken), bool(hot_messages(parts, how))


def _pass_over(piece: Piece, store: Store) -> None:
    store.rebuilt(piece.table, piece.last_position)


def _end_rebuild(table: str, store: Store) -> None:
    store.end_rebuild(table)


def _forget(paths: Sequence[str], store: Store) -> None:
    store.forget_retired(paths)
