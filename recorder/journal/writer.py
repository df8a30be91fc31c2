"""Group commit: what arrives becomes durable, in order, off the event loop.

In: frames as the event loop reads them. Out: their positions at once; the durable position one commit interval and one
fsync later. If the power fails, everything up to the durable position is there, and of what was behind it, whole
groups or nothing. A commit that fails acknowledges nothing and keeps its messages; it is tried again on a new
connection until it succeeds or the journal gives up, loudly. What damage did is recover.py's job; when to seal, the
daemon's.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.errors import JournalFailed
from recorder.journal.announcer import Announcer
from recorder.journal.database import STORE_FILE
from recorder.journal.group import STREAMS_MAX, GroupBuilder
from recorder.journal.lock import DirectoryLock
from recorder.journal.recover import Opening, open_store
from recorder.journal.standing import Standing
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Stream

T = TypeVar("T")


class Journal(Announcer):
    """The one writer of a data directory."""

    def __init__(
        self, data: Path, limits: settings.Journal, clock: Clock, lock: DirectoryLock, store: Store, standing: Standing
    ) -> None:
        super().__init__(store.durable_position(), limits.buffer_bytes_max, clock)
        self.standing = standing
        self.opening = Opening()
        self._data = data
        self._limits = limits
        self._lock = lock
        self._store = store
        self._trusted = True  # the connection: not after it failed
        self._place = _identity(data)
        self._next_position = self.durable + 1
        self._changed = threading.Condition()  # guards the four below
        self._queue: deque[GroupBuilder] = deque()  # the last one is being filled
        self._work: deque[Callable[[], None]] = deque()
        self._closing = False
        self._works_turn = False  # the writer thread's own
        self._committing: GroupBuilder | None = None
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)

    @classmethod
    def open(cls, data: Path, limits: settings.Journal, clock: Clock) -> Journal:
        """Lock the directory, bring the journal in order and start writing. May take seconds after damage.

        Raises DataDirectoryBusy or JournalFailed. The clock does not go below what was recorded before.
        """
        try:
            lock = DirectoryLock.acquire(data, clock)
        except OSError as error:
            raise JournalFailed(data, str(error)) from error
        try:
            store, standing, opening = open_store(data, lock.published, clock)
            journal = cls(data, limits, clock, lock, store, standing)
        except BaseException:
            lock.release()
            raise
        journal.opening = opening
        clock.not_before(standing.last_received_ns)
        lock.publish(journal.durable)
        journal._thread.start()
        return journal

    # --- the event loop's side ------------------------------------------------------------------------------

    def append(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> int:
        """Accept frames that arrived together; answers the position of the first. They are not durable yet.

        Never refuses for want of space: who reads sockets stops when told of pressure. Raises JournalFailed.
        """
        with self._changed:
            if self.failed:
                raise self.failed
            if self._closing:
                raise RuntimeError("the journal is closed")
            first = self._next_position
            if payloads:
                self._fill(stream, kind, connection, payloads, mark, moment)
        self._look_at_pressure()
        return first

    def _fill(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> None:
        if not self._queue or self._is_full(self._queue[-1]):
            self._queue.append(GroupBuilder(self._next_position))
        filling = self._queue[-1]
        begun = filling.count == 0
        grown = filling.add(stream, kind, connection, payloads, mark, moment)
        self._next_position += len(payloads)
        self.figures.buffered_bytes += grown
        self.figures.buffered_bytes_max = max(self.figures.buffered_bytes_max, self.figures.buffered_bytes)
        if begun or self._is_full(filling):
            self._changed.notify()

    def _is_full(self, group: GroupBuilder) -> bool:
        return group.byte_count >= self._limits.group_bytes_max or group.stream_count >= STREAMS_MAX

    async def call(self, work: Callable[[Store], T]) -> T:
        """Do something with the store on the writer's thread, between commits; keep it short. Raises what it raises."""
        done: Future[T] = Future()

        def run() -> None:
            if self.failed:
                done.set_exception(self.failed)
                return
            try:
                done.set_result(work(self._trustworthy()))
            except sqlite3.Error as error:
                self._trusted = False
                done.set_exception(error)
            except BaseException as error:
                done.set_exception(error)

        with self._changed:
            if self.failed:
                raise self.failed
            if self._closing:
                raise RuntimeError("the journal is closed")
            self._work.append(run)
            self._changed.notify()
        return await asyncio.wrap_future(done)

    @property
    def waiting_s(self) -> float:
        """How long the oldest message that is not durable has waited; 0 when all are."""
        with self._changed:
            oldest = self._committing or (self._queue[0] if self._queue else None)
        return (self._clock.monotonic_ns() - oldest.first_monotonic_ns) / SECOND_NS if oldest else 0.0

    async def close(self) -> None:
        """Make everything durable, leave the database in one file and let the directory go. Raises JournalFailed."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)
        self._lock.release()
        self._announce()
        if self.failed:
            raise self.failed

    # --- the writer's thread --------------------------------------------------------------------------------

    def _write(self) -> None:
        try:
            while task := self._next_task():
                if isinstance(task, GroupBuilder):
                    self._commit(task)
                else:
                    task()
            with suppress(sqlite3.Error):  # everything is durable in the log as well
                self._trustworthy().checkpoint()
        except JournalFailed as failed:
            self.failed = failed
        except BaseException as error:  # whatever it is, nobody may believe that recording goes on
            self.failed = JournalFailed(self._data / STORE_FILE, repr(error))
        self._store.close()
        with self._changed:
            self._closing = True
            work, self._work = self._work, deque()
        for run in work:
            run()
        self._tell_loop()

    def _next_task(self) -> GroupBuilder | Callable[[], None] | None:
        """A group whose time has come or a piece of work, in turns when both wait: a journal that is never idle must be
        sealed too. None when closing and nothing is left.
        """
        due = False
        with self._changed:
            while True:
                if self._work and self._works_turn:
                    self._works_turn = False
                    return self._work.popleft()
                wait_s: float | None = None
                if self._queue:
                    group = self._queue[0]
                    age_ns = max(0, self._clock.monotonic_ns() - group.first_monotonic_ns)
                    wait_s = self._limits.commit_interval_ms / 1000 - age_ns / SECOND_NS
                    if due or wait_s <= 0 or self._closing or self._is_full(group):
                        self._works_turn = True
                        self._committing = self._queue.popleft()
                        return self._committing
                if self._work:
                    return self._work.popleft()
                if self._closing and not self._queue:
                    return None
                due = not self._changed.wait(wait_s) and wait_s is not None

    def _commit(self, group: GroupBuilder) -> None:
        """Raises JournalFailed, with nothing announced of the group."""
        packed = group.pack()
        first, last = group.first_position, group.last_position
        began_ns = self._clock.monotonic_ns()
        failing_since_ns: int | None = None
        while True:
            try:
                store = self._trustworthy()
                if failing_since_ns is None or store.durable_position() < first:  # else it was only not confirmed
                    store.append(packed, first, last, *group.received_ns)
                break
            except (sqlite3.Error, OSError, JournalFailed) as error:
                self._trusted = False
                self.figures.commits_failed += 1
                self.figures.failing = str(error)
                now_ns = self._clock.monotonic_ns()
                failing_since_ns = failing_since_ns or now_ns
                # A full disk is waited out, however long: feeds are hung up meanwhile, and what was accepted is kept.
                full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL and not self._closing
                if not full and (now_ns - failing_since_ns) / SECOND_NS >= self._limits.give_up_s:
                    raise JournalFailed(self._data / STORE_FILE, str(error)) from error
            time.sleep(self._limits.retry_s)
            self.figures.retries += 1
            began_ns = self._clock.monotonic_ns()
        if _identity(self._data) != self._place:  # SQLite goes on writing to a file that has lost its name
            raise JournalFailed(self._data / STORE_FILE, "it was removed or replaced while it was being recorded to")
        self._publish(group, len(packed), began_ns)
        if store.checkpoint_due:
            self._checkpoint(store)

    def _publish(self, group: GroupBuilder, packed_bytes: int, began_ns: int) -> None:
        now_ns = self._clock.monotonic_ns()
        figures = self.figures
        figures.failing = ""
        figures.commit.take(now_ns - began_ns)
        figures.received_to_durable.take_since(group.arrivals(), now_ns)
        figures.messages += group.count
        figures.bytes += packed_bytes
        figures.groups += 1
        with self._changed:
            figures.buffered_bytes -= group.byte_count
            self._committing = None
        self._lock.publish(group.last_position)
        self.durable = group.last_position
        self._tell_loop()

    def _checkpoint(self, store: Store) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            store.checkpoint()
        except sqlite3.Error:  # nothing is lost by it; the log grows until it succeeds
            self._trusted = False
        self.figures.checkpoints += 1
        self.figures.checkpoint.take(self._clock.monotonic_ns() - began_ns)

    def _trustworthy(self) -> Store:
        """The store; after a failure a new connection, and only when all it shows was written to the disk again.

        After a failed fsync the kernel may hold pages it calls clean and never wrote, so what can be read back is no
        proof. A checkpoint writes every page of the log anew, to another file, and has its own fsync.
        """
        if not self._trusted:
            self._store.close()
            self._store = Store.open(self._data)
            if not self._store.checkpoint():
                raise sqlite3.OperationalError("a reader keeps the write-ahead log from being taken up")
            self._trusted = True
        return self._store


def _identity(data: Path) -> tuple[int, int] | None:
    """Which file has the journal's name, with its write-ahead log beside it; None: not both are there."""
    path = data / STORE_FILE
    try:
        os.stat(f"{path}-wal")  # noqa: PTH116 - twice a commit, and a Path takes three times as long
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino
