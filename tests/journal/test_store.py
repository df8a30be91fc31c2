from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.errors import Damaged, GroupDamaged, RecorderError
from recorder.journal.database import STORE_FILE
from recorder.journal.registry import Part, Retired
from recorder.journal.standing import Standing
from recorder.journal.store import Store

Make = Callable[..., list]  # type: ignore[type-arg]


def part(first: int, last: int, **changes: object) -> Part:
    path = f"messages/hot/hour=2025010100/{first:020d}-{last:020d}.parquet"
    whole = Part("messages", path, "hot", first, last, first * 10, last * 10, last - first + 1, 1000, 5)
    return replace(whole, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(data: Path) -> Iterator[Store]:
    with closing(Store.open(data)) as opened:
        yield opened


def test_every_commit_is_synced(store: Store) -> None:
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_groups_come_back_in_order_and_within_their_limit(
    store: Store, make_messages: Make, append_groups: Make
) -> None:
    messages = [make_messages(first, first + 9) for first in (1, 11, 21, 31)]
    append_groups(store, messages)
    assert [list(group) for group in store.groups(0, 1 << 30)] == messages
    assert [list(group) for group in store.groups(10, 1)] == messages[1:2]  # never less than one
    assert [list(group) for group in store.groups(15, 1 << 30)] == messages[1:]  # the one that holds 16 is wanted
    assert store.groups(40, 1 << 30) == []
    assert (store.positions(), store.durable_position()) == ((1, 40), 40)


def test_a_position_is_given_once(store: Store, make_messages: Make, append_groups: Make) -> None:
    append_groups(store, [make_messages(1, 5)])
    with pytest.raises(sqlite3.IntegrityError):
        append_groups(store, [make_messages(1, 7)])
    assert store.durable_position() == 5


def test_a_flipped_value_is_damaged_not_wrong(store: Store, make_messages: Make, append_groups: Make) -> None:
    append_groups(store, [make_messages(1, 5), make_messages(6, 9)])
    packed = store._db.execute("SELECT packed FROM groups WHERE first_position = 6").fetchone()[0]
    changes = {"packed": bytes([packed[0] ^ 1]) + packed[1:], "last_position": 8, "last_received_ns": 1}
    for column, value in changes.items():
        store._db.execute("SAVEPOINT whole")
        store._db.execute(f"UPDATE groups SET {column} = ? WHERE first_position = 6", (value,))
        with pytest.raises(GroupDamaged) as caught:
            store.groups(0, 1 << 30)
        assert caught.value.first_position == 6
        store._db.execute("ROLLBACK TO whole")
        store._db.execute("RELEASE whole")
    assert len(store.groups(0, 1 << 30)) == 2


def test_registering_is_one_step(store: Store, make_messages: Make, append_groups: Make) -> None:
    append_groups(store, [make_messages(1, 5), make_messages(6, 9)])
    store.intend_seal(1, 5)
    assert store.intended_seal() == (1, 5)
    standing = Standing(position=5, last_received_ns=50)
    broken = replace(part(1, 5), table_name=None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.register([part(1, 5), broken], 5, standing)
    assert (store.parts(), store.sealed_position(), store.intended_seal()) == ([], 0, (1, 5))

    store.register([part(1, 5)], 5, standing)
    assert (store.parts(), store.sealed_position(), store.intended_seal()) == ([part(1, 5)], 5, None)
    assert store.standing() == standing
    assert store.positions() == (6, 9)
    store.register([part(1, 5)], 5, standing)  # again, as after a crash
    assert store.parts("messages") == [part(1, 5)]
    assert store.parts("articles") == []


def test_parts_replace_parts_in_one_step(store: Store) -> None:
    store.register([part(1, 5), part(6, 9)], 9, Standing())
    cold = part(1, 9, tier="cold", path="messages/cold/date=2025-01-01/a.parquet")
    store.intend_compaction([cold.path])
    assert store.intended_compaction() == [cold.path]
    store.replace([part(1, 5), part(6, 9)], [cold], 7, hot_since="2026112120")
    assert store.parts() == [cold]
    assert store.intended_compaction() == []
    assert store.hot_since() == "2026112120"
    assert [(one.path, one.retired_ns) for one in store.retired()] == [(part(1, 5).path, 7), (part(6, 9).path, 7)]
    assert store.retired(6) == []
    store.forget_retired([part(1, 5).path])
    assert [one.path for one in store.retired()] == [part(6, 9).path]


def test_parts_that_have_changed_meanwhile_are_not_replaced(store: Store) -> None:
    store.register([part(1, 5)], 5, Standing())
    with pytest.raises(RecorderError, match="changed meanwhile"):
        store.replace([part(1, 5), part(6, 9)], [part(1, 9)], 7, hot_since="2026112120", let_go=9)
    assert store.parts() == [part(1, 5)]
    assert (store.retired(), store.hot_since(), store.let_go_position()) == ([], None, 0)


def test_what_is_let_go_on_purpose_is_remembered(store: Store) -> None:
    store.register([part(1, 5), part(6, 9)], 9, Standing())
    store.replace([part(1, 5)], [], 7, let_go=5)
    assert (store.let_go_position(), store.parts()) == (5, [part(6, 9)])


def test_a_damaged_retirement_is_not_believed(store: Store) -> None:
    store.retire([Retired("messages/hot/a", 1, 10)])
    store._db.execute("UPDATE retired SET path = 'messages/hot/b'")
    with pytest.raises(Damaged, match="retirement of messages/hot/b"):
        store.retired()


def test_a_store_of_the_layout_before_gets_what_it_lacks(tmp_path: Path) -> None:
    old = Store.open(tmp_path)
    old._db.executescript("DROP TABLE retired; PRAGMA user_version = 1;")
    assert old.retired() == []
    old.close()
    store = Store.open(tmp_path)
    store.retire([Retired("messages/hot/a", 1, 10)])
    assert store.retired() == [Retired("messages/hot/a", 1, 10)]
    store.close()


def test_a_damaged_registration_is_not_believed(store: Store) -> None:
    store.register([part(1, 5)], 5, Standing())
    store._db.execute("UPDATE parts SET last_position = 6")
    with pytest.raises(Damaged, match=r"registration of messages/hot"):
        store.parts()


def test_a_damaged_fact_is_not_believed(store: Store) -> None:
    store.set_fact("sealed_position", 5)
    store._db.execute("UPDATE facts SET value = ?", (b"6",))
    with pytest.raises(Damaged, match="fact sealed_position"):
        store.sealed_position()


def test_facts_are_any_json(store: Store) -> None:
    assert store.fact("compacted") is None
    values: list[object] = [{"a": [1, 2.5, None, "ü"]}, [], 0]
    for value in values:
        store.set_fact("compacted", value)
        assert store.fact("compacted") == value
    assert store.fact_keys() == ["compacted"]


def test_sealed_groups_go_a_few_at_a_time_and_unsealed_never(
    store: Store, make_messages: Make, append_groups: Make
) -> None:
    append_groups(store, [make_messages(first, first + 9) for first in range(1, 101, 10)])
    assert store.forget_sealed() == 0
    store.register([part(1, 70)], 70, Standing())
    assert [store.forget_sealed(limit=3) for _ in range(4)] == [3, 3, 1, 0]
    assert [group.first_position for group in store.groups(0, 1 << 30)] == [71, 81, 91]
    store.register([part(71, 100)], 100, Standing())
    while store.forget_sealed():
        pass
    assert (store.groups(0, 1 << 30), store.durable_position()) == ([], 100)


def test_a_snapshot_is_of_one_moment(data: Path, store: Store, make_messages: Make, append_groups: Make) -> None:
    messages = [make_messages(1, 5), make_messages(6, 9)]
    append_groups(store, messages)
    with closing(Store.open_readonly(data)) as reader:
        with reader.transaction():
            before = reader.durable_position()
            append_groups(store, [make_messages(10, 12)])
            store.register([part(1, 5)], 5, Standing())
            store.forget_sealed()
            assert (reader.durable_position(), reader.sealed_position()) == (before, 0)
            assert [list(group) for group in reader.each_group(0)] == messages
        snapshot = reader.snapshot()
        assert (snapshot.sealed_position, snapshot.durable_position) == (5, 12)
        assert [group.first_position for group in snapshot.groups] == [6, 10]
        assert [group.first_position for group in reader.snapshot(after=9).groups] == [10]


def test_parts_and_groups_are_found_by_position(store: Store, make_messages: Make, append_groups: Make) -> None:
    assert (store.parts_from("messages", 0, 9), store.last_part("messages")) == ([], None)
    assert (store.group_from(0), store.last_group()) == (None, None)
    other = part(1, 99, table_name="quotes", path="quotes/hot/hour=2025010100/a.parquet")
    store.register([part(21, 30), part(1, 10), part(11, 20), other], 30, Standing())
    assert [p.first_position for p in store.parts_from("messages", 10, 2)] == [1, 11]
    assert [p.first_position for p in store.parts_from("messages", 11, 9)] == [11, 21]
    assert store.parts_from("messages", 31, 9) == []
    assert store.last_part("messages") == part(21, 30)
    append_groups(store, [make_messages(31, 33), make_messages(36, 39)])
    found = [store.group_from(position) for position in (0, 31, 33, 34, 36, 39)]
    assert [span and span.first_position for span in found] == [31, 31, 31, 36, 36, 36]
    assert store.group_from(40) is None
    last = store.last_group()
    assert last is not None and last[:2] == (36, 39)
    assert last[2:] == tuple(make_messages(n, n)[0].received_ns for n in (36, 39))


def test_parts_are_looked_up_and_not_scanned(store: Store) -> None:
    plan = store._db.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM parts WHERE table_name = ? AND last_position >= ? ORDER BY last_position"
        " LIMIT ?",
        ("messages", 1, 1),
    ).fetchall()
    assert [row[-1] for row in plan] == [
        "SEARCH parts USING INDEX parts_by_position (table_name=? AND last_position>?)"
    ]


def test_a_reader_cannot_write(data: Path, store: Store) -> None:
    with closing(Store.open_readonly(data)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.set_fact("a", 1)


def test_a_checkpoint_waits_for_no_reader(data: Path, store: Store, make_messages: Make, append_groups: Make) -> None:
    append_groups(store, [make_messages(1, 5)])
    assert store.checkpoint()
    with closing(Store.open_readonly(data)) as reader, reader.transaction():
        assert reader.durable_position() == 5
        append_groups(store, [make_messages(6, 9)])
        append_groups(store, [make_messages(10, 12)])
        assert not store.checkpoint()
    assert store.checkpoint()


def test_a_checkpoint_is_due_after_its_bytes(store: Store, make_messages: Make, append_groups: Make) -> None:
    append_groups(store, [make_messages(1, 3, size=1 << 20)])
    assert not store.checkpoint_due
    append_groups(store, [make_messages(4, 4, size=1 << 20)])
    assert store.checkpoint_due
    store.checkpoint()
    assert not store.checkpoint_due
    assert store.wal_bytes > 4 << 20


def test_reading_where_nothing_was_recorded_says_what_to_do(data: Path) -> None:
    with pytest.raises(RecorderError, match="nothing is recorded there"):
        Store.open_readonly(data)
    (data / STORE_FILE).touch()
    with pytest.raises(RecorderError, match="still empty"):
        Store.open_readonly(data)


def test_a_newer_layout_is_refused(data: Path, store: Store) -> None:
    store._db.execute("PRAGMA user_version = 3")
    with pytest.raises(RecorderError, match="layout 3, this recorder reads 2"):
        Store.open_readonly(data)


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from recorder.journal.store import Store
os.setgid(65534); os.setuid(65534)
store = Store.open_readonly(Path(sys.argv[1]))
print(store.durable_position(), flush=True)
for _ in sys.stdin:
    print(store.durable_position(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody who may not write")
def test_who_may_not_write_can_read_with_and_without_a_recorder(make_messages: Make, append_groups: Make) -> None:
    folder = Path("/var/tmp") / f"recorder-test-{os.getpid()}"  # pytest's own folders are closed to others
    folder.mkdir(mode=0o755)
    try:
        store = Store.open(folder)
        append_groups(store, [make_messages(1, 5)])
        store.close()
        assert not list(folder.glob("*-*"))  # a clean stop leaves one file, and nobody else can make the others
        reader = subprocess.Popen(
            [sys.executable, "-c", READ_AS_NOBODY, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert reader.stdin and reader.stdout
        assert reader.stdout.readline() == "5\n"
        store = Store.open(folder)  # a recorder starts while they read
        append_groups(store, [make_messages(6, 9)])
        reader.stdin.write("again\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "9\n"
        reader.communicate()
        store.close()
    finally:
        shutil.rmtree(folder)
