from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import orjson
import pytest
import zstandard

from recorder import settings
from recorder.clock import Clock, Moment
from recorder.errors import RecorderError
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.catalog import CATALOG, connect
from recorder.partitions.sealer import TRIES_MAX, Sealer

Append = Callable[[Path, Iterable[Message], int], None]

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"
START_NS = 1_795_291_140 * 10**9
QUOTES = Stream("prices", "finance_query.quotes")
COUNTS = "SELECT count(*), count(DISTINCT position), coalesce(max(position), 0) FROM messages"


def quotes(count: int) -> list[Message]:
    payload = '[{{"symbol":"A","price":"{}.00"}}]'
    return [
        Message(n, QUOTES, Kind.DATA, Mark.NONE, START_NS + n * 10**9, n, 1, payload.format(n).encode())
        for n in range(1, count + 1)
    ]


def opened(data: Path) -> Journal:
    return Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())


def one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


@pytest.fixture
async def threaded(tmp_path: Path) -> AsyncIterator[tuple[Path, Journal, Sealer]]:
    """A data directory, its journal and a sealer that works in a thread, for what is not about processes."""
    journal = opened(tmp_path)
    made = Sealer(tmp_path, journal, 64 << 20, Clock(), one_thread)
    yield tmp_path, journal, made
    await made.close()
    await journal.close()


async def append(journal: Journal, *payloads: bytes) -> None:
    first = journal.append(QUOTES, Kind.DATA, 1, payloads, Mark.NONE, Clock().now())
    await journal.wait_durable(first + len(payloads) - 1)


def counts(connection: duckdb.DuckDBPyConnection) -> tuple[int, int, int]:
    with connection:
        (row,) = connection.sql(COUNTS).fetchall()
    return row[0], row[1], row[2]


def published(data: Path) -> tuple[int, int, int]:
    return counts(duckdb.connect(str(data / CATALOG), read_only=True))


async def test_what_is_durable_is_sealed_and_leaves_the_journal(threaded: tuple[Path, Journal, Sealer]) -> None:
    data, journal, made = threaded
    for _ in range(3):
        await append(journal, b"[]", b'[{"symbol":"A"}]')
    report = await made.seal()
    assert (report.rounds, report.sealed_position, report.payload_bytes) == (1, 6, 54)
    assert dict(report.rows) == {"messages": 6, "quotes": 3, "traffic": 1}
    assert report.file_bytes > 0
    assert await journal.call(lambda store: (store.groups(0, 1 << 30), store.sealed_position())) == ([], 6)
    assert published(data) == (6, 6, 6)


async def test_sealing_nothing_or_twice_is_harmless(threaded: tuple[Path, Journal, Sealer]) -> None:
    data, journal, made = threaded
    assert (await made.seal()).rounds == 0
    assert published(data) == (0, 0, 0)
    await append(journal, b"[]")
    reports = await asyncio.gather(made.seal(), made.seal(), made.seal())
    assert [report.rounds for report in reports] == [1, 0, 0]
    assert [report.sealed_position for report in reports] == [1, 1, 1], "also where there was nothing to do"
    assert published(data) == (1, 1, 1)


async def test_rounds_are_bounded_by_bytes(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(50), 5)
    writer = opened(tmp_path)
    made = Sealer(tmp_path, writer, 1, Clock(), one_thread)
    report = await made.seal()
    assert (report.rounds, report.sealed_position) == (10, 50)
    assert published(tmp_path) == (50, 50, 50)
    await made.close()
    await writer.close()


async def test_frames_that_do_not_parse_are_counted(threaded: tuple[Path, Journal, Sealer]) -> None:
    _, journal, made = threaded
    await append(journal, b"nonsense", b'[{"symbol":"A","price":"many"}]')
    report = await made.seal()
    assert (report.unparsed, report.unread) == ({"quotes": 1}, {"quotes.price": 1})
    assert report.rows == {"messages": 2, "quotes": 1, "traffic": 1}


async def test_ten_minutes_of_the_real_server_come_back_byte_for_byte(
    threaded: tuple[Path, Journal, Sealer],
) -> None:
    data, journal, made = threaded
    frames = FRAMES / "recording.ndjson.zst"
    lines = zstandard.ZstdDecompressor().stream_reader(frames.read_bytes()).read().splitlines()
    sent = []
    for number, line in enumerate(map(orjson.loads, lines)):
        endpoint, _, symbol = line["path"].strip("/").partition("/")
        payload, received_ns = line["text"].encode(), line["received_ns"]
        stream = Stream(endpoint, f"finance_query.{endpoint}", symbol)
        journal.append(stream, Kind.DATA, 1, [payload], Mark.NONE, Moment(received_ns, number))
        sent.append((endpoint, symbol, received_ns, number, payload))
    await journal.wait_durable(len(sent))
    report = await made.seal()
    assert not report.unparsed and not report.unread
    with duckdb.connect(str(data / CATALOG), read_only=True) as connection:
        stored = connection.sql(
            "SELECT feed, channel, epoch_ns(received_at), monotonic_ns, text FROM messages ORDER BY position"
        ).fetchall()
        assert [(*row[:4], row[4].encode()) for row in stored] == sent
        assert connection.sql("SELECT count(*) FROM quotes").fetchall() == [(2360,)]
        assert connection.sql("SELECT count(*) FROM profiles").fetchall() == [(236,)]
        assert connection.sql("SELECT count(*) FROM movers").fetchall() == [(118 * 150,)]


CRASHING = """
import asyncio, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from recorder import settings
from recorder.clock import Clock
from recorder.journal.writer import Journal
from recorder.partitions.sealer import Sealer

def step(name):
    if name == sys.argv[2]:
        os._exit(9)

async def main():
    data = Path(sys.argv[1])
    journal = Journal.open(data, settings.Journal(), Clock())
    sealer = Sealer(data, journal, 64 << 20, Clock(), lambda: ThreadPoolExecutor(1), step)
    await sealer.seal()
    await sealer.close()
    await journal.close()

asyncio.run(main())
"""


def run_sealer(data: Path, crash_at: str) -> int:
    return subprocess.run([sys.executable, "-c", CRASHING, str(data), crash_at], check=False, timeout=60).returncode


def hashes(data: Path) -> dict[str, str]:
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in data.rglob("hot/hour=[12]*/*")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "step", ["intended", "published messages", "published quotes", "published", "registered", "forgot some"]
)
def test_a_crash_at_any_step_loses_nothing_doubles_nothing_and_ends_in_the_same_bytes(
    tmp_path: Path, journal: Append, step: str
) -> None:
    crashed, undisturbed = tmp_path / "crashed", tmp_path / "undisturbed"
    messages = quotes(300)  # over an hour's end, in more groups than are let go at once
    for data in (crashed, undisturbed):
        data.mkdir()
        journal(data, messages, 4)
    assert run_sealer(crashed, step) == 9
    with connect(crashed) as connection:  # what a person sees before the recorder is back
        assert [
            text.encode() for (text,) in connection.sql("SELECT text FROM messages ORDER BY position").fetchall()
        ] == [message.payload for message in messages]
    assert run_sealer(crashed, "never") == 0
    assert run_sealer(undisturbed, "never") == 0
    assert hashes(crashed) == hashes(undisturbed)
    assert len(hashes(crashed)) == 6
    assert published(crashed) == (300, 300, 300)
    store = Store.open_readonly(crashed)
    assert store.groups(0, 1 << 30) == []
    assert {part.path for part in store.parts()} == set(hashes(crashed))
    store.close()


async def kill_workers(how_many: int) -> None:
    killed: set[int] = set()
    while len(killed) < how_many:
        for child in multiprocessing.active_children():
            if child.pid is not None and child.pid not in killed:
                os.kill(child.pid, signal.SIGKILL)
                killed.add(child.pid)
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_working_process_that_is_killed_is_replaced(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(20), 5)
    writer = opened(tmp_path)
    made = Sealer(tmp_path, writer, 64 << 20, Clock())
    _, report = await asyncio.gather(kill_workers(1), made.seal())
    assert report.sealed_position == 20
    assert published(tmp_path) == (20, 20, 20)
    await made.close()
    await writer.close()


@pytest.mark.slow
async def test_a_process_that_always_dies_is_an_error_and_the_journal_keeps_all(
    tmp_path: Path, journal: Append
) -> None:
    journal(tmp_path, quotes(20), 5)
    writer = opened(tmp_path)
    made = Sealer(tmp_path, writer, 64 << 20, Clock())
    killing = asyncio.create_task(kill_workers(TRIES_MAX))
    with pytest.raises(RecorderError, match="died 3 times"):
        await made.seal()
    await killing
    assert counts(connect(tmp_path)) == (20, 20, 20)
    assert (await made.seal()).sealed_position == 20
    await made.close()
    await writer.close()


@pytest.mark.slow
async def test_an_error_in_the_working_process_arrives_as_it_was(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(20), 5)
    (tmp_path / "messages").write_bytes(b"a file where a folder belongs")
    writer = opened(tmp_path)
    made = Sealer(tmp_path, writer, 64 << 20, Clock())
    with pytest.raises(OSError):
        await made.seal()
    (tmp_path / "messages").unlink()
    assert (await made.seal()).sealed_position == 20
    await made.close()
    await writer.close()


ORPHAN = """
import os
from recorder.partitions.sealer import worker_pool
if __name__ == "__main__":
    print(worker_pool().submit(os.getpid).result(), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_the_working_process_does_not_outlive_a_recorder_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    # The worker has the pipe too: it ends only when both have, and `run` raises TimeoutExpired if it does not.
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 1
