"""`recorder verify` on recordings that are whole, and that somebody has been at."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from recorder.cli import main
from recorder.commands.verify import positions
from recorder.commands.verify import verify as read_all
from recorder.journal.database import STORE_FILE


def verify(data: Path) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["verify", "--data", str(data), "--json"])
    assert done.exit_code in (0, 3), done.output
    return done.exit_code, json.loads(done.stdout)


def findings(data: Path) -> list[tuple[str, str]]:
    code, told = verify(data)
    found = [(finding["what"], finding["where"]) for finding in told["findings"]]
    assert code == (3 if found else 0)
    return found


def part(data: Path, table: str = "messages") -> Path:
    (path,) = (data / table).glob("hot/hour=2*/*.parquet")
    return path


def test_whole_recording_is_found_whole(recording: Path) -> None:
    code, told = verify(recording)
    assert code == 0
    assert told["findings"] == []
    assert (told["groups"], told["unsealed_messages"], told["durable_position"]) == (4, 4, 10)
    files = list(recording.glob("*/hot/hour=2*/*.parquet"))
    assert (told["parts"], told["bytes"]) == (len(files), sum(path.stat().st_size for path in files))


def test_people_are_told_that_all_is_well(recording: Path) -> None:
    done = CliRunner().invoke(main, ["verify", "--data", str(recording)])
    assert done.exit_code == 0
    assert "all well up to position 10" in done.stdout


def test_part_that_is_gone_is_missing(recording: Path) -> None:
    path = part(recording)
    path.unlink()
    assert findings(recording) == [("part missing", str(path.relative_to(recording)))]


@pytest.mark.parametrize("table", ["messages", "quotes"])
@pytest.mark.parametrize("keep", [0, 3, 0.5, -1])
def test_part_that_was_cut_is_damaged(table: str, keep: float, recording: Path) -> None:
    path = part(recording, table)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep) if 0 < keep < 1 else int(keep)])
    assert set(findings(recording)) == {("part damaged", str(path.relative_to(recording)))}


def test_part_with_other_rows_is_damaged(recording: Path) -> None:
    path = part(recording)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 5), path)
    assert set(findings(recording)) == {("part damaged", str(path.relative_to(recording)))}


def test_part_with_rows_in_another_order_is_damaged(recording: Path) -> None:
    path = part(recording)
    table = pq.read_table(path)
    pq.write_table(table.take([1, 0, 2, 3, 4, 5]), path)
    assert ("part damaged", str(path.relative_to(recording))) in findings(recording)


def test_file_nobody_registered_is_a_stranger(recording: Path) -> None:
    path = part(recording)
    copy = path.with_name("00000000000000000001-00000000000000000003.parquet")
    odd = path.with_name("mine.parquet")
    shutil.copy(path, copy)
    shutil.copy(path, odd)
    assert findings(recording) == [
        ("stranger", str(copy.relative_to(recording))),
        ("stranger", str(odd.relative_to(recording))),
    ]


def test_file_of_a_seal_under_way_is_no_finding(recording: Path) -> None:
    path = part(recording)
    shutil.copy(path, path.with_name("00000000000000000007-00000000000000000010.parquet"))
    assert findings(recording) == []


@pytest.mark.slow
def test_recording_and_sealing_meanwhile_is_no_finding(
    recording: Path, record: Callable[..., None], entries: list[Any]
) -> None:
    def work() -> None:
        for _ in range(4):
            record(recording, entries, seal=True)

    recorder = threading.Thread(target=work)
    recorder.start()
    looks = 0
    while recorder.is_alive() or looks == 0:
        assert read_all(recording).findings == []
        looks += 1
    recorder.join()
    assert looks > 1
    assert read_all(recording).durable_position == 50


def change(data: Path, statement: str) -> None:
    with sqlite3.connect(data / STORE_FILE) as db:
        assert db.execute(statement).rowcount == 1
    db.close()


def test_group_that_was_flipped_is_damaged_and_its_positions_are_missing(recording: Path) -> None:
    flipped = "CAST(substr(packed, 1, 60) || x'ff' || substr(packed, 62) AS BLOB)"
    change(recording, f"UPDATE groups SET packed = {flipped} WHERE first_position = 9")
    assert findings(recording) == [("group damaged", "position 9"), ("missing", "positions 9 to 10")]


def test_group_that_is_gone_is_missing(recording: Path) -> None:
    change(recording, "DELETE FROM groups WHERE first_position = 8")
    assert findings(recording) == [("missing", "positions 8 to 8")]


def test_registration_that_was_changed_is_damaged(recording: Path) -> None:
    change(recording, "UPDATE parts SET row_count = row_count + 1 WHERE table_name = 'messages'")
    assert [what for what, _ in findings(recording)] == ["registry damaged"]


@pytest.mark.parametrize(
    ("spans", "durable", "lost", "found"),
    [
        ([(1, 5), (6, 9)], 9, [], []),
        ([], 0, [], []),
        ([(6, 9), (1, 5)], 9, [], []),  # in any order
        ([(1, 5), (8, 9)], 9, [], ["missing 6 to 7"]),
        ([(1, 5)], 9, [], ["missing 6 to 9"]),
        ([(3, 9)], 9, [], ["missing 1 to 2"]),
        ([(1, 5), (8, 9)], 9, [(6, 7)], []),
        ([(1, 3), (8, 9)], 9, [(5, 6)], ["missing 4 to 4", "missing 7 to 7"]),
        ([(1, 3)], 9, [(4, 9)], []),
        ([(1, 5), (5, 9)], 9, [], ["doubled 5 to 5"]),
        ([(1, 9), (2, 3)], 9, [], ["doubled 2 to 3"]),
        ([(1, 9), (10, 12)], 9, [], []),  # written while we read
    ],
)
def test_positions_are_each_in_one_place_or_on_record_as_lost(
    spans: list[tuple[int, int]], durable: int, lost: list[tuple[int, int]], found: list[str]
) -> None:
    told = positions(spans, durable, lost)
    assert [f"{finding.what} {finding.where.removeprefix('positions ')}" for finding in told] == found
