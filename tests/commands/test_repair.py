"""`recorder repair` on recordings that were really damaged."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from recorder.cli import main
from recorder.journal.recover import QUARANTINE
from recorder.journal.store import Store
from recorder.partitions import schema
from recorder.partitions.catalog import connect


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def told(data: Path) -> tuple[int, dict[str, Any]]:
    code, output = call("repair", "--data", str(data), "--json")
    return code, json.loads(output)


def part_of(data: Path, table: str) -> Path:
    with closing(Store.open_readonly(data)) as store:
        return data / store.parts(table)[0].path


def positions(data: Path) -> list[int]:
    with connect(data) as connection:
        return [position for (position,) in connection.sql("SELECT position FROM messages ORDER BY 1").fetchall()]


def flip(file: Path, at: int) -> bytes:
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)
    return bytes(content)


def test_what_is_whole_is_left_alone(recording: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in recording.rglob("*.parquet")}
    assert told(recording) == (0, {"journal": {"cause": "", "set_aside": [], "lost": []}, "parts": []})
    assert before == {path: path.stat().st_mtime_ns for path in recording.rglob("*.parquet")}
    assert call("repair", "--data", str(recording)) == (0, "all well up to position 10\n")


@pytest.mark.parametrize("damage", ["a bit", "the footer", "the file"])
def test_a_damaged_part_of_messages_is_set_aside_and_the_rest_is_served(damage: str, recording: Path) -> None:
    part = part_of(recording, "messages")
    damaged = b""
    if damage == "the file":
        part.unlink()
    else:
        damaged = flip(part, part.stat().st_size - 6 if damage == "the footer" else 300)
    assert call("verify", "--data", str(recording))[0] == 3
    code, said = told(recording)
    assert code == 3
    (one,) = said["parts"]
    assert one["lost"] == [{"first_position": 1, "last_position": 6, "cause": one["cause"]}]
    assert positions(recording) == [7, 8, 9, 10]
    quarantined = [path.read_bytes() for path in (recording / QUARANTINE).glob("*-messages-*.parquet")]
    assert quarantined == ([damaged] if damaged else [])
    code, output = call("verify", "--data", str(recording))
    assert code == 0
    assert "on record as lost: positions 1 to 6" in output
    assert call("sql", "SELECT count(*) FROM quotes", "--data", str(recording))[0] == 0
    assert told(recording)[0] == 0, "once is enough"


def test_row_groups_that_can_be_read_are_saved(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = part_of(recording, "messages")
    rows = pq.read_table(part)
    pq.write_table(rows, part, row_group_size=2, **schema.how_to_write(schema.MESSAGE_COLUMNS, 3))
    with pq.ParquetFile(part) as file:
        flip(part, file.metadata.row_group(1).column(9).data_page_offset + 30)
    whole = dict(zip(rows["position"].to_pylist(), rows["text"].to_pylist(), strict=True))
    code, said = told(recording)
    assert code == 3
    (one,) = said["parts"]
    assert one["saved_rows"] == 4
    assert [(loss["first_position"], loss["last_position"]) for loss in one["lost"]] == [(3, 4)]
    assert positions(recording) == [1, 2, 5, 6, 7, 8, 9, 10]
    with connect(recording) as connection:
        saved = dict(connection.sql("SELECT position, text FROM messages WHERE position < 7").fetchall())
    assert saved == {position: text for position, text in whole.items() if position not in (3, 4)}
    assert (checked := call("verify", "--data", str(recording)))[0] == 0, checked


def test_a_damaged_typed_part_is_set_aside_and_loses_no_message(recording: Path) -> None:
    part = part_of(recording, "quotes")
    flip(part, part.stat().st_size - 6)
    code, said = told(recording)
    assert code == 3
    (one,) = said["parts"]
    assert (one["rebuild"], one["lost"]) == ("quotes", [])
    assert positions(recording) == list(range(1, 11))
    assert (checked := call("verify", "--data", str(recording)))[0] == 0, checked
    assert call("sql", "SELECT symbol FROM quotes", "--data", str(recording))[0] == 0


DAMAGE: dict[str, Callable[[Path], object]] = {
    "the header": lambda file: flip(file, 3),
    "the schema": lambda file: flip(file, 100),
    "half of it": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "all of it": lambda file: file.unlink(),
    "its text": lambda file: file.write_bytes(b"not a database" * 1000),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_database_is_an_error_that_says_what_to_do_and_is_made_anew(damage: str, recording: Path) -> None:
    DAMAGE[damage](recording / "recorder.sqlite")
    for command in (["sql", "SELECT 1 FROM messages"], ["info"], ["gaps"], ["tail", "-n", "0"], ["verify"]):
        code, output = call(*command, "--data", str(recording))
        assert code in (1, 3), (command, output)
        assert "Traceback" not in output
        assert "recorder.sqlite" in output
    code, said = told(recording)
    assert code == 3
    assert said["journal"]["cause"]
    assert positions(recording)[:6] == [1, 2, 3, 4, 5, 6], "what was sealed is all there"
    there = positions(recording)
    lost = [p for loss in said["journal"]["lost"] for p in range(loss["first_position"], loss["last_position"] + 1)]
    assert sorted(there + lost) == list(range(1, 11)), "each position is there or named"
    assert (checked := call("verify", "--data", str(recording)))[0] == 0, checked


def test_where_somebody_records_it_is_refused(recording: Path) -> None:
    with (recording / "recorder.lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = call("repair", "--data", str(recording))
    assert code == 1
    assert "Stop it first" in output


def test_where_nothing_is_recorded_that_is_said(tmp_path: Path) -> None:
    assert call("repair", "--data", str(tmp_path / "none"))[0] == 1
    assert not (tmp_path / "none").exists()
    shutil.rmtree(tmp_path)
