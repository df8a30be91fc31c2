from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder.errors import PartDamaged
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.partitions import compact, layout, merge, schema
from recorder.partitions.compact import Output, Work
from recorder.partitions.merge import conformed
from recorder.partitions.schema import MESSAGES
from recorder.partitions.tables_finance_query import QUOTES

Fill = Callable[[Path, int], int]

LEVEL = 3


@pytest.fixture
def parts(tmp_path: Path, sealed_hours: Fill) -> dict[str, list[Part]]:
    """What lies in `tmp_path`, by table: two hours."""
    sealed_hours(tmp_path, 2)
    with closing(Store.open_readonly(tmp_path)) as store:
        return {table: store.parts(table) for table in (MESSAGES, "quotes", "articles", "lifecycle")}


def day_of(parts: list[Part]) -> Work:
    first, last = parts[0], parts[-1]
    path = layout.cold_path(first.table_name, "2024112120", first.first_position, last.last_position, day=True)
    return Work("day", (Output(first.table_name, path, tuple(parts)),))


def rows(data: Path, paths: list[str]) -> pa.Table:
    return pa.concat_tables([pq.ParquetFile(data / path).read() for path in paths])


@pytest.mark.parametrize("table", [MESSAGES, "quotes", "articles", "lifecycle"])
def test_a_file_holds_the_rows_of_its_inputs(tmp_path: Path, parts: dict[str, list[Part]], table: str) -> None:
    work = day_of(parts[table])
    (made,) = merge.merge(tmp_path, work, LEVEL)
    inputs, output = rows(tmp_path, [part.path for part in parts[table]]), rows(tmp_path, [made.path])
    assert output.schema.equals(inputs.schema, check_metadata=True)
    assert output.equals(inputs)
    first, last = parts[table][0], parts[table][-1]
    assert made == Part(
        table,
        work.outputs[0].path,
        "cold",
        first.first_position,
        last.last_position,
        first.first_received_ns,
        last.last_received_ns,
        inputs.num_rows,
        (tmp_path / made.path).stat().st_size,
        0,
    )


def test_symbols_stand_together_in_what_stays_and_in_nothing_else(
    tmp_path: Path, parts: dict[str, list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MANY_ROWS", 2)  # as a frame has here
    monkeypatch.setattr(merge, "CLUSTER_ROWS", 20)
    work = day_of(parts["quotes"])
    (made,) = merge.merge(tmp_path, work, LEVEL)
    symbols = rows(tmp_path, [made.path])["symbol"].to_pylist()
    assert symbols == (["A"] * 10 + ["B"] * 10) * 2 + ["A"] * 4 + ["B"] * 4
    inputs = rows(tmp_path, [part.path for part in parts["quotes"]])
    order = [("position", "ascending"), ("symbol", "ascending")]
    assert rows(tmp_path, [made.path]).sort_by(order).equals(inputs.sort_by(order))
    hour = Work("hour", work.outputs, schema.FAST_LEVEL)
    (made,) = merge.merge(tmp_path, hour, LEVEL)
    assert rows(tmp_path, [made.path])["symbol"].to_pylist() == ["B", "A"] * 24


def test_row_groups_are_cut_by_rows_and_by_bytes_and_whole_in_between(
    tmp_path: Path, parts: dict[str, list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "ROW_GROUP_ROWS", 50)
    (made,) = merge.merge(tmp_path, day_of(parts[MESSAGES]), LEVEL)
    footer = pq.ParquetFile(tmp_path / made.path).metadata
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [50, 50, 20]
    monkeypatch.setattr(merge, "GROUP_BYTES_MAX", 1)
    monkeypatch.setattr(merge, "READ_ROWS", 30)
    (made,) = merge.merge(tmp_path, day_of(parts[MESSAGES]), LEVEL)
    footer = pq.ParquetFile(tmp_path / made.path).metadata
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [20] * 6  # a part each


def test_merging_twice_makes_the_same_bytes(
    tmp_path: Path, parts: dict[str, list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "MANY_ROWS", 2)
    work = day_of(parts["quotes"])
    merge.merge(tmp_path, work, LEVEL)
    before = (tmp_path / work.outputs[0].path).read_bytes()
    merge.merge(tmp_path, work, LEVEL)
    assert (tmp_path / work.outputs[0].path).read_bytes() == before


def test_rows_of_an_older_schema_are_null_where_it_had_no_column() -> None:
    now = QUOTES.schema
    old = pa.table({"symbol": ["A"], "price": pa.array([1], pa.int32()), "gone": ["x"], "position": [7]})
    row = conformed(old, now)
    assert row.schema.equals(now, check_metadata=True)
    there = {name: value for name, value in row.to_pylist()[0].items() if value is not None}
    assert there == {"symbol": "A", "price": 1.0, "position": 7}


def damaged(data: Path, part: Part, how: str, tmp: Path) -> None:
    path = data / part.path
    rows = pq.ParquetFile(path).read()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 3] ^= 0xFF
        path.write_bytes(whole)
    elif how == "fewer rows":
        pq.write_table(rows.slice(1), path)
    elif how == "out of order":
        pq.write_table(rows.take([1, 0, *range(2, len(rows))]), path)
    elif how == "other positions":
        pq.write_table(rows.set_column(0, "position", pa.array(range(1000, 1000 + len(rows)), pa.int64())), path)


@pytest.mark.parametrize("how", ["missing", "flipped", "fewer rows", "out of order", "other positions"])
def test_an_input_that_is_not_what_was_registered_makes_no_file(
    tmp_path: Path, parts: dict[str, list[Part]], how: str
) -> None:
    damaged(tmp_path, parts[MESSAGES][2], how, tmp_path)
    work = day_of(parts[MESSAGES])
    with pytest.raises(PartDamaged) as told:
        merge.merge(tmp_path, work, LEVEL)
    assert told.value.path == tmp_path / parts[MESSAGES][2].path
    assert not (tmp_path / work.outputs[0].path).exists()
    assert list((tmp_path / MESSAGES / "cold").rglob("_aside*")) == []


def test_a_file_that_reads_otherwise_gets_no_name(
    tmp_path: Path, parts: dict[str, list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = pq.ParquetWriter.write_table

    def forgetful(self: pq.ParquetWriter, table: pa.Table, **options: object) -> None:
        write(self, table.slice(0, len(table) - 1), **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", forgetful)
    work = day_of(parts[MESSAGES])
    with pytest.raises(PartDamaged, match="reads otherwise"):
        merge.merge(tmp_path, work, LEVEL)
    assert not (tmp_path / work.outputs[0].path).exists()


def test_only_what_is_kept_is_written_and_what_has_nothing_is_a_file_all_the_same(
    tmp_path: Path, parts: dict[str, list[Part]]
) -> None:
    for keep_from, expected in ((61, 60), (1000, 0)):

        def keep(some: pa.Table, keep_from: int = keep_from) -> pa.Table:
            return some.filter(pa.compute.greater_equal(some["position"], keep_from))

        (made,) = merge.merge(tmp_path, day_of(parts[MESSAGES]), LEVEL, keep=keep)
        assert (made.row_count, made.first_position, made.last_position) == (expected, 1, 120)
        assert pq.ParquetFile(tmp_path / made.path).metadata.num_rows == expected


def test_times_come_from_the_rows_where_the_registry_does_not_know_them(
    tmp_path: Path, parts: dict[str, list[Part]]
) -> None:
    known = day_of(parts[MESSAGES])
    unknown = [
        Part(p.table_name, p.path, p.tier, p.first_position, p.last_position, 0, 0, 0, 1, 0) for p in parts[MESSAGES]
    ]
    (made,) = merge.merge(tmp_path, day_of(unknown), LEVEL)
    assert (made.first_received_ns, made.last_received_ns) == (
        known.inputs[0].first_received_ns,
        known.inputs[-1].last_received_ns,
    )
    assert made.row_count == 120


def test_a_plan_over_real_parts_is_done_as_planned(tmp_path: Path, sealed_hours: Fill) -> None:
    sealed_hours(tmp_path, 2)
    with closing(Store.open_readonly(tmp_path)) as store:
        (work,) = compact.plan(store.parts())
    made = merge.merge(tmp_path, work, LEVEL)
    assert [part.path for part in made] == [output.path for output in work.outputs]
    assert {part.row_count for part in made if part.table_name == MESSAGES} == {60}
