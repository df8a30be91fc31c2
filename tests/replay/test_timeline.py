from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder import settings
from recorder.clock import SECOND_NS, Clock
from recorder.errors import GroupDamaged, PartDamaged, RecorderError
from recorder.journal.database import STORE_FILE
from recorder.journal.registry import Part
from recorder.journal.standing import Standing
from recorder.journal.store import Loss, Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import layout, schema
from recorder.partitions.sealer import Sealer
from recorder.replay import batch as batches
from recorder.replay.timeline import BATCH_SCHEMA, Bounds, Selection, Timeline

Record = Callable[..., None]

START_NS = 1_795_291_140 * SECOND_NS + 7  # a minute before an hour's end, and no round number
QUOTES = Stream("prices", "finance_query.quotes")
NEWS = Stream("news", "finlight")


def message(position: int, **other: Any) -> Message:
    """One a second, quotes and news in turn."""
    stream = NEWS if position % 3 == 0 else QUOTES
    payload = b'{"n":%d}' % position
    made = Message(position, stream, Kind.DATA, Mark.NONE, START_NS + position * SECOND_NS, position, 1, payload)
    return replace(made, **other)


def some(first: int, last: int) -> list[Message]:
    return [message(position) for position in range(first, last + 1)]


def read(found: Iterable[pa.RecordBatch]) -> list[Message]:
    return [message for batch in found for message in batches.messages(batch)]


def positions(found: Iterable[pa.RecordBatch]) -> list[int]:
    return [position for batch in found for position in batch["position"].to_pylist()]


@pytest.fixture
def recorded(tmp_path: Path, record: Record) -> Path:
    """Messages 1 to 240 over an hour's end: parts 1-59, 60-100, 101-150, groups 151-160 up to 231-240."""
    record(tmp_path / "data", some(1, 240), seals=(100, 150))
    return tmp_path / "data"


def exchange(store: Store, gone: Iterable[Part], instead: Sequence[Part]) -> None:
    """In the registry, other parts stand for those that are gone."""
    with store.transaction("IMMEDIATE"):
        store._db.executemany("DELETE FROM parts WHERE path = ?", [(part.path,) for part in gone])
        store._insert(instead)


class Counting(pq.ParquetFile):  # type: ignore[misc]
    """Notes each row group that is read, with its columns."""

    read_groups: ClassVar[list[tuple[int, tuple[str, ...] | None]]] = []

    def iter_batches(
        self, *args: Any, row_groups: Sequence[int] | None = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        self.read_groups.extend((index, None) for index in row_groups or ())
        return super().iter_batches(*args, row_groups=row_groups, **options)  # type: ignore[no-any-return]

    def read_row_group(self, i: int, columns: Sequence[str], **options: Any) -> pa.Table:
        self.read_groups.append((i, tuple(columns)))
        return super().read_row_group(i, columns, **options)

    def read(self, *args: Any, **options: Any) -> pa.Table:
        raise AssertionError("a whole part is read")


@pytest.fixture
def row_groups(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...] | None]]:
    """Every row group that is read from now on."""
    Counting.read_groups = []
    monkeypatch.setattr(pq, "ParquetFile", Counting)
    return Counting.read_groups


# --- order -------------------------------------------------------------------------------------------------------


def test_every_message_comes_once_in_order_as_it_was_recorded(recorded: Path) -> None:
    assert read(Timeline(recorded).batches(1)) == some(1, 240)


def test_from_every_position_comes_exactly_the_rest(recorded: Path) -> None:
    timeline = Timeline(recorded)
    for first in range(242):
        assert positions(timeline.batches(first)) == list(range(max(1, first), 241))


def test_until_every_position_comes_nothing_behind_it(recorded: Path) -> None:
    timeline = Timeline(recorded)
    for last in (0, 1, 59, 60, 61, 149, 150, 151, 155, 239, 240, 1000):
        assert positions(timeline.batches(30, until_position=last)) == list(range(30, min(last, 240) + 1))


def test_groups_that_are_sealed_and_not_yet_let_go_come_once(tmp_path: Path, record: Record) -> None:
    record(tmp_path, some(1, 50))
    with closing(Store.open(tmp_path)) as store:
        made = part_file_of(tmp_path, 1, 30)
        store.register(made, 30, Standing())
        assert len(store.groups(0, 1 << 30)) == 5
    assert positions(Timeline(tmp_path).batches(1)) == list(range(1, 51))


def part_file_of(data: Path, first: int, last: int) -> list[Any]:
    from recorder.partitions.seal import seal

    return seal(data, first, last).parts


def test_a_part_that_was_published_and_not_registered_is_not_read(recorded: Path) -> None:
    part_file_of(recorded, 151, 200)
    assert positions(Timeline(recorded).batches(140)) == list(range(140, 241))


def test_what_was_lost_is_passed_over(tmp_path: Path, record: Record) -> None:
    there = [*some(5, 40), *some(61, 90), *some(111, 130)]
    record(tmp_path, there, seals=(80,))
    with closing(Store.open(tmp_path)) as store:
        store.set_fact("lost", [list(Loss(131, 150, "damage"))])
    timeline = Timeline(tmp_path)
    assert read(timeline.batches(0)) == there
    for first in (1, 39, 41, 50, 60, 61, 91, 100, 111):
        assert positions(timeline.batches(first)) == [m.position for m in there if m.position >= first]
    assert timeline.position_at(START_NS + 50 * SECOND_NS) == 61
    assert timeline.position_at(START_NS + 100 * SECOND_NS) == 111
    assert timeline.bounds() == Bounds(5, 130, START_NS + 5 * SECOND_NS, START_NS + 130 * SECOND_NS)


async def _follow(timeline: Timeline, last: int, slices: int) -> list[int]:
    """As a session does: ask for the bounds, read up to them, begin again behind."""

    def follow() -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < last:
            span = timeline.bounds()
            if span is not None and (not seen or span.last_position > seen[-1]):
                begin = seen[-1] + 1 if seen else 1
                seen += positions(timeline.batches(begin, until_position=span.last_position, rows_max=slices))
        return seen

    return await asyncio.to_thread(follow)


@pytest.mark.slow
async def test_nothing_is_missed_or_doubled_while_a_writer_appends_and_sealing_goes_on(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, settings.Journal(commit_interval_ms=1), Clock())
    sealer = Sealer(tmp_path, journal, 1 << 16, Clock(), lambda: ThreadPoolExecutor(1))
    clock, last = Clock(), 20_000
    journal.append(QUOTES, Kind.DATA, 1, [b"first"], Mark.NONE, clock.now())
    await journal.wait_durable(1)
    readers = [asyncio.create_task(_follow(Timeline(tmp_path), last, rows)) for rows in (65_536, 7)]
    again = threading.Event()

    def begin_anew() -> list[list[int]]:
        """Read everything from the start, over and over."""
        timeline, found = Timeline(tmp_path), []
        while not again.is_set():
            found.append(positions(timeline.batches(1)))
        return found

    from_the_start = asyncio.create_task(asyncio.to_thread(begin_anew))
    seals = 0
    for first in range(2, last + 1, 100):
        payloads = [b"%d" % n for n in range(first, min(first + 100, last + 1))]
        at = journal.append(QUOTES, Kind.DATA, 1, payloads, Mark.NONE, clock.now())
        await journal.wait_durable(at + len(payloads) - 1)
        if first % 2000 < 100:
            seals += (await sealer.seal()).rounds
    seen = await asyncio.gather(*readers)
    again.set()
    assert seals > 5
    assert all(each == list(range(1, last + 1)) for each in seen)
    passes = await from_the_start
    assert passes
    assert all(each == list(range(1, len(each) + 1)) for each in passes)
    await sealer.close()
    await journal.close()


# --- moments -----------------------------------------------------------------------------------------------------


def test_any_moment_leads_to_the_first_message_at_or_after_it(recorded: Path) -> None:
    timeline = Timeline(recorded)
    assert timeline.position_at(0) == 1
    assert timeline.position_at(START_NS) == 1
    for position in range(1, 241):
        at_ns = START_NS + position * SECOND_NS
        assert timeline.position_at(at_ns) == position
        assert timeline.position_at(at_ns + 1) == position + 1  # to the nanosecond
    assert timeline.position_at(1 << 62) == 241


def test_of_messages_that_came_together_a_moment_leads_to_the_first(tmp_path: Path, record: Record) -> None:
    together = [message(position, received_ns=START_NS + position // 20) for position in range(1, 101)]
    record(tmp_path, together, seals=(30, 55))  # the border of parts and groups is among equal times
    timeline = Timeline(tmp_path)
    assert [timeline.position_at(START_NS + each) for each in range(6)] == [1, 20, 40, 60, 80, 100]


def test_bounds_are_those_of_what_is_durable(recorded: Path, tmp_path: Path, record: Record) -> None:
    timeline = Timeline(recorded)
    assert timeline.bounds() == Bounds(1, 240, START_NS + SECOND_NS, START_NS + 240 * SECOND_NS)
    record(recorded, some(241, 241))
    assert timeline.bounds() == Bounds(1, 241, START_NS + SECOND_NS, START_NS + 241 * SECOND_NS)
    Store.open(tmp_path).close()
    empty = Timeline(tmp_path)
    assert (empty.bounds(), empty.position_at(START_NS), list(empty.batches(1))) == (None, 1, [])


def test_moments_are_found_with_a_registry_that_was_rebuilt_from_names(recorded: Path) -> None:
    with closing(Store.open(recorded)) as store:
        bare = [replace(part, first_received_ns=0, last_received_ns=0, row_count=0) for part in store.parts()]
        exchange(store, bare, bare)
    timeline = Timeline(recorded)
    assert timeline.bounds() == Bounds(1, 240, START_NS + SECOND_NS, START_NS + 240 * SECOND_NS)
    assert [timeline.position_at(START_NS + n * SECOND_NS) for n in (0, 1, 60, 61, 150, 151, 241)] == [
        *(1, 1, 60, 61, 150, 151, 241)
    ]
    assert positions(timeline.batches(1)) == list(range(1, 241))


@pytest.fixture
def many_row_groups(tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty parts of 100 messages in ten row groups each."""
    monkeypatch.setattr(schema, "ROW_GROUP_ROWS", 10)
    messages = [message(n, received_ns=START_NS + n) for n in range(1, 2001)]
    record(tmp_path / "many", messages, per_group=100, seals=range(100, 2001, 100))
    return tmp_path / "many"


def test_a_seek_reads_one_row_group_and_of_it_two_columns(
    many_row_groups: Path, row_groups: list[tuple[int, tuple[str, ...] | None]]
) -> None:
    timeline = Timeline(many_row_groups)
    for position in (1, 10, 11, 777, 1234, 2000):
        row_groups.clear()
        assert timeline.position_at(START_NS + position) == position
        assert row_groups in ([], [((position - 1) % 100 // 10, ("position", "received_at"))])
        row_groups.clear()
        assert next(timeline.batches(position))["position"][0].as_py() == position
        assert row_groups == [((position - 1) % 100 // 10, None)]


def test_only_the_row_groups_of_the_range_are_read(
    many_row_groups: Path, row_groups: list[tuple[int, tuple[str, ...] | None]]
) -> None:
    assert positions(Timeline(many_row_groups).batches(195, until_position=225)) == list(range(195, 226))
    assert row_groups == [(9, None), (0, None), (1, None), (2, None)]


def test_row_groups_that_cannot_hold_what_is_selected_are_not_read(
    tmp_path: Path,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    row_groups: list[tuple[int, tuple[str, ...] | None]],
) -> None:
    monkeypatch.setattr(schema, "ROW_GROUP_ROWS", 10)
    messages = [message(n, stream=NEWS if 41 <= n <= 45 else QUOTES) for n in range(1, 101)]
    record(tmp_path, messages, seals=(100,))
    row_groups.clear()
    found = read(Timeline(tmp_path).batches(1, Selection(feeds=frozenset({"news"}))))
    assert found == messages[40:45]
    assert row_groups == [(4, None)]
    row_groups.clear()
    assert list(Timeline(tmp_path).batches(1, Selection(kinds=frozenset({Kind.LIFECYCLE})))) == []
    assert row_groups == []


# --- size --------------------------------------------------------------------------------------------------------


def test_batches_are_bounded_by_rows_and_by_bytes(tmp_path: Path, record: Record) -> None:
    # Ten long frames among short ones, sealed and not, so that an average says nothing of them.
    messages = [message(n, payload=b"x" * (42_000 if 20 <= n % 50 < 30 else 20)) for n in range(1, 201)]
    record(tmp_path, messages, seals=(100,))
    timeline = Timeline(tmp_path)
    for rows_max, bytes_max in ((65_536, 100_000), (7, 1 << 20), (1, 1 << 20), (65_536, 1000)):
        found = list(timeline.batches(1, rows_max=rows_max, bytes_max=bytes_max))
        assert read(found) == messages
        assert all(0 < batch.num_rows <= rows_max for batch in found)
        assert all(batch.nbytes <= bytes_max or batch.num_rows == 1 for batch in found)


@pytest.mark.slow
def test_memory_is_bounded_over_any_range(tmp_path: Path, record: Record) -> None:
    # 100 MB of frames like those of /market, half of them not sealed.
    messages = [message(n, payload=os.urandom(21_000).hex().encode()) for n in range(1, 2401)]
    record(tmp_path, messages, per_group=50, seals=(1200,))
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        assert sum(batch.num_rows for batch in Timeline(tmp_path).batches(1)) == 2400
    finally:
        pa.set_memory_pool(before)
    assert 4 << 20 < pool.max_memory() < 24 << 20


def test_a_batch_has_the_columns_of_messages_and_times_as_int64(recorded: Path) -> None:
    for batch in Timeline(recorded).batches(1):
        assert batch.schema.equals(BATCH_SCHEMA)
        assert batch.schema.field("received_ns").type == pa.int64()
        batch.validate(full=True)
    assert BATCH_SCHEMA.names == [name.replace("received_at", "received_ns") for name in schema.MESSAGES_SCHEMA.names]


# --- where it lies -----------------------------------------------------------------------------------------------


def test_a_directory_that_was_moved_is_read_where_it_is(recorded: Path) -> None:
    assert positions(Timeline(recorded.rename(recorded.with_name("it's [moved] *"))).batches(1)) == list(range(1, 241))


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from recorder.replay.timeline import Timeline
os.setgid(65534); os.setuid(65534)
timeline = Timeline(Path(sys.argv[1]))
print([n for batch in timeline.batches(1) for n in batch["position"].to_pylist()] == list(range(1, 241)))
print(timeline.position_at(int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody who may not write")
def test_who_may_not_write_reads_everything(recorded: Path) -> None:
    folder = Path("/var/tmp") / f"recorder-timeline-{os.getpid()}"  # pytest's own folders are closed to others
    try:
        shutil.copytree(recorded, folder)
        folder.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", READ_AS_NOBODY, folder, str(START_NS + 77 * SECOND_NS)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert (done.stdout, done.stderr) == ("True\n77\n", "")
    finally:
        shutil.rmtree(folder)


def test_parquet_files_alone_are_read_by_their_names(recorded: Path) -> None:
    for left in recorded.glob(f"{STORE_FILE}*"):
        left.unlink()
    shutil.rmtree(recorded / "quotes", ignore_errors=True)
    timeline = Timeline(recorded)
    assert timeline.bounds() == Bounds(1, 150, START_NS + SECOND_NS, START_NS + 150 * SECOND_NS)
    assert read(timeline.batches(1)) == some(1, 150)
    for first in (0, 60, 61, 100, 150, 151):
        assert positions(timeline.batches(first)) == list(range(max(1, first), 151))
    assert [timeline.position_at(START_NS + n * SECOND_NS + 1) for n in (0, 59, 60, 149, 150)] == [1, 60, 61, 150, 151]
    assert timeline.feeds() == {"prices", "news"}


def test_parquet_files_alone_that_overlap_give_each_message_once(recorded: Path) -> None:
    # As a copy taken in the middle of a compaction: the day's file, and some of those it was made of.
    (recorded / STORE_FILE).unlink()
    hot = sorted(recorded.glob("messages/hot/hour=[12]*/*.parquet"))
    cold = recorded / "messages" / "cold" / "date=2026-11-21" / f"{1:020d}-{100:020d}.parquet"
    cold.parent.mkdir(parents=True)
    schema.write(pa.concat_tables(pq.ParquetFile(path).read() for path in hot[:2]), schema.MESSAGE_COLUMNS, cold)
    hot[0].unlink()
    assert positions(Timeline(recorded).batches(1)) == list(range(1, 151))
    assert positions(Timeline(recorded).batches(70)) == list(range(70, 151))


def test_where_nothing_is_recorded_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecorderError, match=r"nothing is recorded in .*neither recorder.sqlite nor parts"):
        Timeline(tmp_path).bounds()


def test_feeds_are_known_without_reading_a_part(
    recorded: Path, row_groups: list[tuple[int, tuple[str, ...] | None]], record: Record
) -> None:
    record(recorded, [message(241, stream=Stream("late", "finlight"))])
    assert Timeline(recorded).feeds() == {"prices", "news", "late"}
    assert Timeline(recorded).feeds(frozenset({"news"})) == {"prices", "news"}
    assert row_groups == []


# --- what goes wrong ---------------------------------------------------------------------------------------------


def compact(data: Path) -> None:
    """All registered parts of messages become one, and are gone."""
    with closing(Store.open(data)) as store:
        parts = store.parts("messages")
        first, last = parts[0].first_position, parts[-1].last_position
        path = f"messages/cold/date=2026-11-21/{first:020d}-{last:020d}.parquet"
        rows = pa.concat_tables(pq.ParquetFile(data / part.path).read() for part in parts)
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        schema.write(rows, schema.MESSAGE_COLUMNS, data / path)
        one = replace(
            parts[0], path=path, tier="cold", last_position=last, row_count=rows.num_rows,
            last_received_ns=parts[-1].last_received_ns,
        )  # fmt: skip
        exchange(store, parts, [one])
    for part in parts:
        (data / part.path).unlink()


def test_a_part_that_is_gone_when_its_turn_comes_is_looked_up_again(recorded: Path) -> None:
    found = Timeline(recorded).batches(1, rows_max=25)
    seen = positions([next(found)])
    compact(recorded)
    assert seen + positions(found) == list(range(1, 241))


def test_sealing_while_an_iterator_waits_changes_nothing(recorded: Path) -> None:
    found = Timeline(recorded).batches(1, rows_max=25, bytes_max=1000)
    seen = [next(found) for _ in range(12)]
    with closing(Store.open(recorded)) as store:
        store.register(part_file_of(recorded, 151, 240), 240, Standing())
        while store.forget_sealed():
            pass
    compact(recorded)
    assert positions(seen) + positions(found) == list(range(1, 241))


def test_retention_ahead_of_an_iterator_is_a_hole_and_no_error(recorded: Path) -> None:
    found = Timeline(recorded).batches(1, rows_max=25)
    seen = positions([next(found)])
    with closing(Store.open(recorded)) as store:
        gone = store.parts("messages")[1:]
        exchange(store, gone, [])
    for part in gone:
        (recorded / part.path).unlink()
    assert seen + positions(found) == [*range(1, 60), *range(151, 241)]


def test_a_registered_part_that_is_nowhere_is_an_error_that_names_it(recorded: Path) -> None:
    second = sorted(recorded.glob("messages/hot/hour=[12]*/*.parquet"))[1]
    second.unlink()
    found = Timeline(recorded).batches(1)
    assert positions([next(found)]) == list(range(1, 60))
    with pytest.raises(PartDamaged, match="registered and not there") as caught:
        list(found)
    assert caught.value.path == second


@pytest.mark.parametrize("what", ["flipped", "cut", "emptied", "other rows"])
def test_a_damaged_part_is_an_error_that_names_it_and_no_hole(recorded: Path, what: str) -> None:
    second = sorted(recorded.glob("messages/hot/hour=[12]*/*.parquet"))[1]
    content = bytearray(second.read_bytes())
    if what == "flipped":
        text = pq.read_metadata(second).row_group(0).column(9)
        content[text.data_page_offset + text.total_compressed_size - 1] ^= 0x10  # the last byte of the texts
    elif what == "cut":
        del content[len(content) // 2 :]
    elif what == "emptied":
        content.clear()
    else:
        content = bytearray(sorted(recorded.glob("messages/hot/hour=[12]*/*.parquet"))[2].read_bytes())
    second.write_bytes(content)
    seen = []
    with pytest.raises(PartDamaged) as caught:
        for batch in Timeline(recorded).batches(1):
            seen += positions([batch])
    assert caught.value.path == second
    assert str(second) in str(caught.value)
    assert seen == list(range(1, 60))


def test_no_byte_of_a_part_can_change_without_an_error_or_harm(tmp_path: Path, record: Record) -> None:
    # The footer is left out: some of its bytes make Arrow's C++ end the process.
    record(tmp_path, some(1, 40), seals=(40,))
    (part,) = tmp_path.glob("messages/hot/hour=[12]*/*.parquet")
    content = part.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for at in range(0, footer, 3):
        part.write_bytes(content[:at] + bytes((content[at] ^ 0x24,)) + content[at + 1 :])
        try:
            assert read(Timeline(tmp_path).batches(1)) == some(1, 40), at
        except PartDamaged:
            refused += 1
    assert refused > footer // 3 // 2


def test_a_damaged_group_is_an_error_that_names_it(recorded: Path) -> None:
    with closing(Store.open(recorded)) as store:
        store._db.execute("UPDATE groups SET packed = zeroblob(length(packed)) WHERE first_position = 171")
    with pytest.raises(GroupDamaged, match="171"):
        list(Timeline(recorded).batches(1))


def test_a_journal_that_is_none_is_an_error(recorded: Path) -> None:
    (recorded / STORE_FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(RecorderError, match="is damaged"):
        Timeline(recorded).bounds()


def test_names_outside_the_layout_are_passed_over(recorded: Path) -> None:
    (recorded / STORE_FILE).unlink()
    aside = recorded / "messages" / "_aside" / f"{151:020d}-{999:020d}.parquet"
    aside.parent.mkdir()
    aside.write_bytes(b"")
    seed = recorded / layout.seed_path("messages")
    seed.parent.mkdir(parents=True)
    seed.write_bytes(b"")
    (recorded / "messages" / "hot" / "notes.parquet").write_bytes(b"")
    assert positions(Timeline(recorded).batches(1)) == list(range(1, 151))
