from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from recorder import lifecycle, settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.errors import DataDirectoryBusy, JournalFailed
from recorder.journal.database import STORE_FILE
from recorder.journal.recover import Opening
from recorder.journal.registry import Part
from recorder.journal.standing import Gap, Standing
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Message, Stream

QUOTES = Stream("quotes", "finance_query.quotes")
NEWS = Stream("news", "finlight")
OWN = Stream("recorder", "recorder")
PATIENCE_S = 30.0
SLOW_COMMITS = settings.Journal(commit_interval_ms=10_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def payload(position: int, size: int = 100) -> bytes:
    return (b"%d " % position * (size // 2))[:size]


def append(journal: Journal, clock: Clock, count: int, size: int = 100) -> int:
    """Frames whose text says their position; answers the last one."""
    expected = journal._next_position
    payloads = [payload(position, size) for position in range(expected, expected + count)]
    first = journal.append(QUOTES, Kind.DATA, 1, payloads, Mark.NONE, clock.now())
    assert first == expected
    return first + count - 1


def recorded(data: Path) -> list[Message]:
    with closing(Store.open_readonly(data)) as store:
        return [message for group in store.each_group(0) for message in group]


async def test_what_is_durable_is_there_for_others(data: Path, limits: settings.Journal, clock: Clock) -> None:
    journal = Journal.open(data, limits, clock)
    moment = clock.now()
    assert journal.append(QUOTES, Kind.DATA, 3, [b"[1]", b"[2]"], Mark.INITIAL, moment) == 1
    assert journal.append(NEWS, Kind.REPLY, 4, [b"\xff"], Mark.BINARY, moment) == 3
    await journal.wait_durable(3)
    times = moment.utc_ns, moment.monotonic_ns
    assert recorded(data) == [
        Message(1, QUOTES, Kind.DATA, Mark.INITIAL, *times, 3, b"[1]"),
        Message(2, QUOTES, Kind.DATA, Mark.INITIAL, *times, 3, b"[2]"),
        Message(3, NEWS, Kind.REPLY, Mark.BINARY, *times, 4, b"\xff"),
    ]
    await journal.close()


async def test_positions_go_on_without_a_hole(data: Path, limits: settings.Journal, clock: Clock) -> None:
    for run in range(4):
        journal = Journal.open(data, limits, clock)
        assert (journal.durable, journal.opening) == (run * 10, Opening())
        for _ in range(5):
            last = append(journal, clock, 2)
        await journal.close()
        assert journal.durable == last == (run + 1) * 10
        assert sorted(path.name for path in data.iterdir()) == ["recorder.lock", STORE_FILE]
    assert [(m.position, m.payload) for m in recorded(data)] == [(p, payload(p)) for p in range(1, 41)]


async def test_what_arrives_within_the_interval_is_one_commit(data: Path, clock: Clock) -> None:
    journal = Journal.open(data, SLOW_COMMITS, clock)
    for _ in range(50):
        append(journal, clock, 3)
    await journal.close()
    figures = journal.figures
    assert (figures.groups, figures.messages, figures.commit.count) == (1, 150, 1)
    assert (figures.received_to_durable.count, figures.buffered_bytes) == (150, 0)


async def test_a_full_group_does_not_wait_for_the_interval(data: Path, clock: Clock) -> None:
    small = settings.Journal(commit_interval_ms=10_000, group_bytes_max=64 << 10)
    journal = Journal.open(data, small, clock)
    for _ in range(3):
        last = append(journal, clock, 1, size=70_000)
    async with asyncio.timeout(PATIENCE_S):
        await journal.wait_durable(last)
    assert journal.figures.groups == 3
    await journal.close()


async def test_nothing_appended_is_no_commit(data: Path, limits: settings.Journal, clock: Clock) -> None:
    journal = Journal.open(data, limits, clock)
    assert journal.append(QUOTES, Kind.DATA, 1, [], Mark.NONE, clock.now()) == 1
    await journal.wait_durable(0)
    await journal.close()
    assert (journal.figures.groups, journal.durable) == (0, 0)
    with pytest.raises(RuntimeError, match="closed"):
        append(journal, clock, 1)


async def test_commits_are_announced_in_order_on_the_event_loop(
    data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    loop, told = asyncio.get_running_loop(), []

    def tell(position: int) -> None:
        assert asyncio.get_running_loop() is loop
        told.append(position)

    journal.on_durable(tell)
    for _ in range(20):
        await journal.wait_durable(append(journal, clock, 1))
    await journal.close()
    assert told == sorted(told)
    assert told[-1] == 20


async def test_work_is_done_between_commits(data: Path, limits: settings.Journal, clock: Clock) -> None:
    journal = Journal.open(data, limits, clock)
    await journal.wait_durable(append(journal, clock, 10))
    part = Part("messages", "messages/hot/x.parquet", "hot", 1, 10, 1, 2, 10, 100, 3)
    await journal.call(lambda store: store.register([part], 10, Standing(10)))
    assert await journal.call(lambda store: store.forget_sealed()) == 1
    with pytest.raises(ZeroDivisionError):
        await journal.call(lambda _: 1 / 0)
    with pytest.raises(sqlite3.IntegrityError):  # whatever SQLite refuses, the next commit has a sound connection
        await journal.call(lambda store: store.append(b"", 5, 4, None, 1))  # type: ignore[arg-type]
    await journal.wait_durable(append(journal, clock, 1))
    assert await journal.call(lambda store: store.positions()) == (11, 11)
    await journal.close()
    with pytest.raises(RuntimeError, match="closed"):
        await journal.call(lambda _: None)


async def test_work_has_its_turn_though_a_group_is_always_due(data: Path, clock: Clock) -> None:
    journal = Journal.open(data, settings.Journal(group_bytes_max=64 << 10), clock)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Store) -> None:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(PATIENCE_S)

    holding = asyncio.create_task(journal.call(hold))
    await begun.wait()
    for _ in range(10):
        append(journal, clock, 1, size=70_000)
    asked = asyncio.create_task(journal.call(Store.durable_position))
    await asyncio.sleep(0)
    go_on.set()
    assert await asked == 1
    await holding
    await journal.close()
    assert journal.durable == 10


async def test_a_second_recorder_is_refused_and_the_first_goes_on(
    data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    with pytest.raises(DataDirectoryBusy, match="process"):
        Journal.open(data, limits, clock)
    await journal.wait_durable(append(journal, clock, 1))
    await journal.close()


async def test_the_next_recorder_knows_what_the_last_one_left(
    data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    ahead = Moment(clock.now().utc_ns + 3600 * SECOND_NS, 1)
    journal.append(NEWS, Kind.DATA, 7, [b"{}"], Mark.NONE, Moment(5, 1))
    gap = lifecycle.entry("gap.opened", since_ns=5, cause="closed")
    journal.append(NEWS, Kind.LIFECYCLE, 7, [gap], Mark.NONE, Moment(6, 1))
    journal.append(OWN, Kind.LIFECYCLE, 0, [lifecycle.entry("recorder.started")], Mark.NONE, ahead)
    await journal.close()

    another = Clock()
    journal = Journal.open(data, limits, another)
    assert journal.standing.streams[NEWS].gap == Gap(5, "closed")
    assert journal.standing.streams[NEWS].connection == 7
    assert not journal.standing.stopped
    assert another.now().utc_ns == ahead.utc_ns  # a wall clock that went back meanwhile is not obeyed
    await journal.close()


async def test_too_much_buffered_is_told_and_its_end_too(data: Path, clock: Clock) -> None:
    tight = settings.Journal(commit_interval_ms=1, buffer_bytes_max=1 << 20, group_bytes_max=256 << 10)
    journal = Journal.open(data, tight, clock)
    told: list[bool] = []
    journal.on_pressure(told.append)
    while not told:  # faster than any disk, as nothing here gives way
        last = append(journal, clock, 100, size=1000)
    assert (told, journal.figures.under_pressure) == ([True], True)
    async with asyncio.timeout(PATIENCE_S):
        await journal.wait_durable(last)
    assert (told, journal.figures.under_pressure) == ([True, False], False)
    assert journal.figures.under_pressure_times == 1
    assert journal.figures.under_pressure_ns > 0
    assert 1 << 20 < journal.figures.buffered_bytes_max < 2 << 20
    await journal.close()


# --- a disk that refuses ------------------------------------------------------------------------------------


Refusal = tuple[Path, Callable[[], None], Callable[[], None]]


@contextmanager
def full_disk(data: Path) -> Iterator[Refusal]:
    """ENOSPC, until the ballast is thrown off: a file system of 4 MB, where root may mount one."""
    ballast = data / "ballast"

    def fill() -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(data)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a file system of a few megabytes here")
    try:
        yield data, fill, ballast.unlink
    finally:
        subprocess.run(["umount", "-l", data], check=True)


@contextmanager
def file_size_limit(data: Path) -> Iterator[Refusal]:
    """EFBIG for whatever is written beyond 200 KB of a file, until the limit is lifted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    try:
        yield data, limit(200_000), limit(soft)
    finally:
        limit(soft)()


@pytest.fixture(params=[full_disk, file_size_limit])
def refusing(request: pytest.FixtureRequest, data: Path) -> Iterator[Refusal]:
    """A data directory, what makes the kernel refuse writes in it, and what ends that."""
    with request.param(data) as refusal:
        yield refusal


async def fail_commits(journal: Journal, clock: Clock, times: int) -> int:
    """Append until commits were refused that often; answers the last position accepted."""
    last = 0
    async with asyncio.timeout(PATIENCE_S):
        while journal.figures.commits_failed < times:
            if journal.figures.buffered_bytes < 1 << 20:
                last = append(journal, clock, 20, size=1000)
            await asyncio.sleep(0.001)
    return last


async def test_a_refused_commit_is_kept_and_repeated(refusing: Refusal, limits: settings.Journal, clock: Clock) -> None:
    data, refuse, permit = refusing
    journal = Journal.open(data, limits, clock)
    await journal.wait_durable(append(journal, clock, 10))
    refuse()
    try:
        last = await fail_commits(journal, clock, 3)
        assert journal.durable < last
        assert journal.failed is None
    finally:
        permit()
    async with asyncio.timeout(PATIENCE_S):
        await journal.wait_durable(append(journal, clock, 10))
    assert journal.figures.retries >= 3
    await journal.close()
    messages = recorded(data)
    assert [m.position for m in messages] == list(range(1, journal.durable + 1))
    assert all(m.payload == payload(m.position, len(m.payload)) for m in messages)
    journal = Journal.open(data, limits, clock)
    assert journal.opening == Opening()
    await journal.close()


async def test_a_full_disk_is_waited_out_but_not_at_the_end(data: Path, clock: Clock) -> None:
    with full_disk(data) as (_, refuse, _permit):
        impatient = settings.Journal(commit_interval_ms=1, retry_s=0.01, give_up_s=0.05)
        journal = Journal.open(data, impatient, clock)
        await journal.wait_durable(append(journal, clock, 10))
        refuse()
        last = await fail_commits(journal, clock, 20)  # 0.2 s at the least
        assert journal.failed is None
        assert journal.durable < last
        with pytest.raises(JournalFailed):
            await journal.close()


@pytest.mark.parametrize("refusing", [file_size_limit], indirect=True)
async def test_a_journal_that_gives_up_is_loud_and_acknowledges_nothing(refusing: Refusal, clock: Clock) -> None:
    data, refuse, permit = refusing
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1, retry_s=0.01, give_up_s=0.05), clock)
    told: list[JournalFailed] = []
    journal.on_failed(told.append)
    await journal.wait_durable(append(journal, clock, 10))
    refuse()
    try:
        last = 0
        async with asyncio.timeout(PATIENCE_S):
            while journal.failed is None:
                if journal.figures.buffered_bytes < 1 << 20:
                    last = append(journal, clock, 20, size=1000)
                await asyncio.sleep(0.001)
        with pytest.raises(JournalFailed, match=r"recorder\.sqlite cannot be written: .+ Free space"):
            append(journal, clock, 1)
        with pytest.raises(JournalFailed):
            await journal.wait_durable(last)
        with pytest.raises(JournalFailed):
            await journal.call(lambda store: store.positions())
        with pytest.raises(JournalFailed):
            await journal.close()
    finally:
        permit()
    assert told == [journal.failed]
    durable = journal.durable
    assert 10 <= durable < last

    journal = Journal.open(data, SLOW_COMMITS, clock)
    assert journal.opening == Opening()
    assert journal.durable >= durable
    await journal.close()
    assert [m.position for m in recorded(data)] == list(range(1, journal.durable + 1))


class Unconfirmed(Store):
    """A disk that does what it is told and then says it failed, as a failed fsync may. There is none to be had here."""

    def append(self, *group: Any) -> None:
        super().append(*group)
        raise sqlite3.OperationalError("disk I/O error")


async def test_a_commit_that_succeeded_after_all_is_not_doubled(
    data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    journal._store.close()
    journal._store = Unconfirmed(data / STORE_FILE, Store.open(data)._db)
    async with asyncio.timeout(PATIENCE_S):
        await journal.wait_durable(append(journal, clock, 10))
        await journal.wait_durable(append(journal, clock, 10))
    assert (journal.figures.commits_failed, journal.figures.retries) == (1, 1)
    assert type(journal._store) is Store  # what failed once is not trusted again
    await journal.close()
    assert [m.position for m in recorded(data)] == list(range(1, 21))


# --- other processes ----------------------------------------------------------------------------------------

READ = """
import sys
from contextlib import closing
from pathlib import Path
from recorder.journal.store import Store
data, seen, snapshots = Path(sys.argv[1]), 0, 0
print("reading", flush=True)
while seen < int(sys.argv[2]):
    with closing(Store.open_readonly(data)) as store:
        sealed, durable, groups = store.snapshot(seen)
        snapshots += 1
        messages = [m for group in groups for m in group if m.position > max(seen, sealed)]
        assert [m.position for m in messages] == list(range(max(seen, sealed) + 1, durable + 1))
        for m in messages:
            assert m.payload == (b"%d " % m.position * 50)[:100]
        seen = durable
print(snapshots, flush=True)
"""


@pytest.mark.slow
async def test_readers_in_other_processes_see_whole_groups_while_writing_and_sealing(
    data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    until = 6_000
    readers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", READ, str(data), str(until), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for reader in readers:
        assert reader.stdout
        assert await reader.stdout.readline() == b"reading\n"
    while journal.durable < until:
        await journal.wait_durable(append(journal, clock, 20))
        if journal.durable % 200 == 0:
            sealed = journal.durable - 100
            await journal.call(lambda store, sealed=sealed: store.register([], sealed, Standing(sealed)))  # type: ignore[misc]
            await journal.call(lambda store: store.forget_sealed())
    async with asyncio.timeout(PATIENCE_S):
        for reader in readers:
            output, errors = await reader.communicate()
            assert (reader.returncode, errors) == (0, b"")
            assert int(output) > 1
    await journal.close()


@pytest.mark.parametrize("name", [STORE_FILE, f"{STORE_FILE}-wal", "."])
async def test_what_is_written_to_a_file_without_a_name_is_never_announced(
    name: str, data: Path, limits: settings.Journal, clock: Clock
) -> None:
    journal = Journal.open(data, limits, clock)
    await journal.wait_durable(append(journal, clock, 1))
    if name == ".":
        data.rename(data.with_name("elsewhere"))
        data.mkdir()
    else:
        (data / name).unlink()
    with pytest.raises(JournalFailed, match="it was removed or replaced while it was being recorded to"):
        await journal.wait_durable(append(journal, clock, 1))
    assert journal.durable == 1
    with pytest.raises(JournalFailed):
        await journal.close()
