"""What was recorded is known here by heart; after any damage each position is there exactly, or reported as lost."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from recorder import disk, lifecycle
from recorder.clock import Clock, Moment
from recorder.journal import recover
from recorder.journal.database import PAGE_BYTES, STORE_FILE
from recorder.journal.group import GroupBuilder
from recorder.journal.recover import QUARANTINE, REBUILDING, REBUILT, Opening, open_store
from recorder.journal.registry import Part
from recorder.journal.standing import Standing
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream

Make = Callable[..., list[Message]]
Append = Callable[..., None]

WAL_FILE = STORE_FILE + "-wal"
GROUPS = 24
PER_GROUP = 4
SEALED = 5 * PER_GROUP
LAST = GROUPS * PER_GROUP
STEP = 41  # every so manieth byte: all of them take a minute
SEALED_PART = "messages/hot/hour=2023111422/00000000000000000001-00000000000000000020.parquet"


@dataclass(frozen=True)
class Recorded:
    """A journal as kill -9 leaves it: five groups sealed, the last seven only in the write-ahead log."""

    files: Path
    messages: dict[int, Message]

    def copy(self, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.files, target)
        return target


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, make_messages: Make, append_groups: Append) -> Recorded:
    data = tmp_path_factory.mktemp("recorded") / "data"
    part_file = data / SEALED_PART
    part_file.parent.mkdir(parents=True)
    part_file.write_bytes(b"as if")
    # Some groups fit a leaf page, some need chains of overflow pages; the table needs interior pages.
    groups = [make_messages(i * PER_GROUP + 1, (i + 1) * PER_GROUP, (100, 9_000, 500)[i % 3]) for i in range(GROUPS)]
    with closing(Store.open(data)) as store:
        append_groups(store, groups[:12])
        part = Part("messages", SEALED_PART, "hot", 1, SEALED, 1, 2, SEALED, 5, 3)
        store.register([part], SEALED, Standing(SEALED, 7, False))
        append_groups(store, groups[12:17])
        assert store.checkpoint()
        append_groups(store, groups[17:])
        killed = Path(shutil.copytree(data, tmp_path_factory.mktemp("killed") / "data"))
    assert (killed / WAL_FILE).stat().st_size > 20 * PAGE_BYTES
    return Recorded(killed, {m.position: m for m in chain(*groups)})


def check(recorded: Recorded, data: Path, published: int = LAST) -> Opening:
    """Open it, twice: nothing wrong, nothing silently gone, nothing reused, and recording goes on."""
    store, standing, opening = open_store(data, published, Clock())
    with closing(store):
        there = {m.position: m for group in store.each_group(SEALED) for m in group if m.position > SEALED}
        lost = {p for loss in store.losses() for p in range(loss.first_position, loss.last_position + 1)}
        durable = store.durable_position()
        assert durable >= published
        assert store.sealed_position() == SEALED
        assert [part.path for part in store.parts()] == [SEALED_PART]
        for position, message in there.items():
            assert message == recorded.messages[position]
        assert not lost & there.keys()
        assert set(range(SEALED + 1, durable + 1)) == (lost | there.keys()) - set(range(1, SEALED + 1))
        assert standing.position == max(there, default=SEALED)
        assert bool(opening.lost) == bool(lost)
        assert not lost or (opening.cause and all(loss.cause == opening.cause for loss in opening.lost))
        assert bool(opening.cause) == bool(opening.set_aside)
        builder = GroupBuilder(durable + 1)
        builder.add(Stream("q", "q"), Kind.DATA, 1, [b"next"], Mark.NONE, Moment(1, 1))
        store.append(builder.pack(), durable + 1, durable + 1, 1, 1)
    again, _, second = open_store(data, durable + 1, Clock())
    with closing(again):
        assert (second.cause, second.set_aside, second.lost) == ("", (), opening.lost)
        assert again.durable_position() == durable + 1
    return opening


def test_a_whole_journal_is_left_alone(recorded: Recorded, tmp_path: Path) -> None:
    assert check(recorded, recorded.copy(tmp_path / "data")) == Opening()


def test_a_new_directory_is_empty_and_not_damaged(data: Path) -> None:
    store, standing, opening = open_store(data, 0, Clock())
    with closing(store):
        assert (store.durable_position(), standing, opening) == (0, Standing(), Opening())


def damages(whole: bytes, random_: random.Random, count: int) -> Iterator[bytes]:
    """Cut, flipped and zeroed at many offsets, page borders and their neighbours among them."""
    for _ in range(count):
        at = random_.randrange(len(whole))
        border = min(len(whole), max(1, at // PAGE_BYTES * PAGE_BYTES + random_.choice((-1, 0, 1, 8, 24, 32))))
        yield whole[:at]
        yield whole[:border]
        yield whole[:at] + bytes([whole[at] ^ (1 << random_.randrange(8))]) + whole[at + 1 :]
        yield whole[:at] + bytes(len(whole) - at)
        yield whole[:border] + bytes(min(PAGE_BYTES, len(whole) - border)) + whole[border + PAGE_BYTES :]


def damage_and_check(recorded: Recorded, folder: Path, name: str, seed: int, count: int) -> int:
    whole = (recorded.files / name).read_bytes()
    noticed = 0
    for damaged in damages(whole, random.Random(seed), count):
        data = recorded.copy(folder / "data")
        (data / name).write_bytes(damaged)
        opening = check(recorded, data)
        noticed += bool(opening.cause)
        if opening.cause:
            aside = {path.name.split("-", 1)[1]: path for path in opening.set_aside}
            assert aside[name].read_bytes() == damaged  # as it was found, for whoever can do more with it
    return noticed


@pytest.mark.parametrize("name", [STORE_FILE, WAL_FILE])
def test_damage_anywhere_is_exact_messages_or_a_reported_loss(recorded: Recorded, tmp_path: Path, name: str) -> None:
    assert damage_and_check(recorded, tmp_path, name, 1, 3) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [STORE_FILE, WAL_FILE])
@pytest.mark.parametrize("seed", range(2, 6))
def test_damage_at_many_places_is_exact_messages_or_a_reported_loss(
    recorded: Recorded, tmp_path: Path, name: str, seed: int
) -> None:
    assert damage_and_check(recorded, tmp_path, name, seed, 12) > 6


@pytest.mark.slow
def test_damage_to_schema_registry_and_facts_costs_no_message(recorded: Recorded, tmp_path: Path) -> None:
    whole = (recorded.files / STORE_FILE).read_bytes()
    pages = [page for page in range(6) if page != 1]  # the second is the root of `groups`
    written = [at for page in pages for at in range(page * PAGE_BYTES, (page + 1) * PAGE_BYTES) if whole[at]]
    for at in chain(range(100), written[::STEP]):
        for bits in (0x01, 0x80):
            data = recorded.copy(tmp_path / "data")
            (data / STORE_FILE).write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])
            assert not check(recorded, data).lost


def flip(path: Path, at: int, bits: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + bytes([whole[at] ^ bits]) + whole[at + 1 :])


def test_a_registry_whose_rows_went_missing_is_not_believed(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    flip(data / STORE_FILE, 2 * PAGE_BYTES + 4, 1)  # the third page holds `parts`: one cell becomes none
    assert check(recorded, data).parts_rebuilt


def test_a_fact_whose_name_was_damaged_is_not_taken_for_none(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    at = (data / STORE_FILE).read_bytes().find(b"sealed_position", 4 * PAGE_BYTES)
    flip(data / STORE_FILE, at, 1)
    assert check(recorded, data).cause


def test_a_lost_root_page_costs_no_message(recorded: Recorded, tmp_path: Path) -> None:
    for page in (1, 2):
        data = recorded.copy(tmp_path / "data")
        with (data / STORE_FILE).open("r+b") as file:
            file.seek((page - 1) * PAGE_BYTES)
            file.write(bytes(PAGE_BYTES))
        assert not check(recorded, data).lost


def test_a_cut_log_is_a_reported_loss_of_its_end(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    whole = (data / WAL_FILE).read_bytes()
    (data / WAL_FILE).write_bytes(whole[: 32 + 3 * (24 + PAGE_BYTES)])
    opening = check(recorded, data)
    assert opening.lost[-1].last_position == LAST
    assert f"has lost positions {opening.lost[0].first_position} to {LAST}" in opening.cause


def test_without_its_database_everything_unsealed_is_a_reported_loss(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    for path in data.glob(STORE_FILE + "*"):
        path.unlink()
    store, _, opening = open_store(data, LAST, Clock())
    with closing(store):
        assert [loss[:2] for loss in opening.lost] == [(SEALED + 1, LAST)]
        assert opening.parts_rebuilt
        assert store.durable_position() == LAST


def test_positions_go_on_behind_a_damaged_last_group_even_if_nobody_knows_what_was_published(
    recorded: Recorded, tmp_path: Path
) -> None:
    data = recorded.copy(tmp_path / "data")
    with closing(sqlite3.connect(data / STORE_FILE)) as db:
        db.execute("UPDATE groups SET packed = ? WHERE last_position = ?", (b"RECGROUP", LAST))
        db.commit()
    opening = check(recorded, data, published=0)
    assert [loss[:2] for loss in opening.lost] == [(LAST - PER_GROUP + 1, LAST)]


def test_a_hole_nobody_reported_is_a_loss(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    with closing(sqlite3.connect(data / STORE_FILE)) as db:
        db.execute("DELETE FROM groups WHERE first_position IN (41, 61)")
        db.commit()
    assert [loss[:2] for loss in check(recorded, data).lost] == [(41, 44), (61, 64)]


def test_a_loss_is_told_until_it_has_its_entry(recorded: Recorded, tmp_path: Path) -> None:
    data = recorded.copy(tmp_path / "data")
    published = LAST + 10
    opening = check(recorded, data, published)
    (loss,) = opening.lost
    store, _, opening = open_store(data, published + 1, Clock())
    with closing(store):
        assert opening.lost == (loss,)
        position = store.durable_position() + 1
        builder = GroupBuilder(position)
        entry = lifecycle.entry("journal.lost", **loss._asdict())
        builder.add(Stream("recorder", "recorder"), Kind.LIFECYCLE, 0, [entry], Mark.NONE, Moment(1, 1))
        store.append(builder.pack(), position, position, 1, 1)
    store, standing, opening = open_store(data, position, Clock())
    with closing(store):
        assert (opening, standing.told) == (Opening(), {(LAST + 1, LAST + 10)})


def test_an_interrupted_rebuild_is_done_again_or_finished(recorded: Recorded, tmp_path: Path) -> None:
    def begin() -> Path:
        data = recorded.copy(tmp_path / "data")
        whole = (data / STORE_FILE).read_bytes()
        (data / STORE_FILE).write_bytes(bytes(100) + whole[100:])
        return data

    data = begin()  # while the new database is made
    with closing(Store.open(recorded.copy(data / REBUILDING))) as half:
        half.set_fact("sealed_position", 999)
    assert not check(recorded, data).lost

    for moved in range(4):  # while files change places
        data = begin()
        recover._rebuild(data, LAST, "for the test")
        assert (data / REBUILT).exists() and not (data / REBUILDING).exists()
        damaged = sorted(data.glob(STORE_FILE + "*"), reverse=True)
        for path in damaged[:moved]:
            disk.set_aside(path, data / QUARANTINE, "20250101T000000Z")
        store, _, opening = open_store(data, LAST, Clock())
        with closing(store):
            assert store.durable_position() == LAST
            assert len(opening.set_aside) == max(0, len(damaged) - moved)
        assert not (data / REBUILT).exists()
        assert len(list((data / QUARANTINE).iterdir())) == len(damaged)


def test_a_start_that_was_cut_short_before_there_were_tables_is_repeated(data: Path) -> None:
    with closing(sqlite3.connect(data / STORE_FILE)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
    store, _, opening = open_store(data, 0, Clock())
    with closing(store):
        assert (opening, store.durable_position()) == (Opening(), 0)


def test_the_registry_can_be_made_again_from_names(data: Path) -> None:
    def file(name: str) -> str:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"1234")
        return name

    cold = file(f"messages/cold/date=2025-01-01/{1:020d}-{40:020d}.parquet")
    file(f"messages/hot/hour=2025010100/{1:020d}-{20:020d}.parquet")  # replaced by the cold one, waits for deletion
    file(f"messages/cold/date=2025-01-01/hour=00/{1:020d}-{40:020d}.parquet")  # the same
    hot = file(f"messages/hot/hour=2025010101/{41:020d}-{60:020d}.parquet")
    articles = file(f"articles/hot/hour=2025010101/{41:020d}-{60:020d}.parquet")
    file("messages/hot/_aside-1-x.parquet.tmp")
    file("messages/hot/seed.parquet")
    file(f"_quarantine/hot/{1:020d}-{99:020d}.parquet")
    store, _, opening = open_store(data, 0, Clock())
    with closing(store):
        assert opening.parts_rebuilt
        assert [part.path for part in store.parts()] == [articles, cold, hot]
        assert store.sealed_position() == store.durable_position() == 60
        assert {part.byte_count for part in store.parts()} == {4}
