"""`recorder sql` over messages that are partly sealed."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recorder.cli import main


def sql(data: Path, statement: str, *options: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["sql", statement, "--data", str(data), *options], input=stdin)


def rows(data: Path, statement: str) -> list[dict[str, Any]]:
    done = sql(data, statement, "--json")
    assert done.exit_code == 0, done.output
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_sealed_and_unsealed_messages_are_one_table(recording: Path) -> None:
    found = rows(recording, "SELECT position FROM messages ORDER BY position")
    assert [row["position"] for row in found] == list(range(1, 11))


def test_typed_tables_reach_to_the_last_durable_message(recording: Path) -> None:
    found = rows(recording, "SELECT symbol, price FROM quotes ORDER BY position, symbol")
    assert [(row["symbol"], row["price"]) for row in found] == [
        ("AAPL", 100.0),
        ("MSFT", 200.0),
        ("AAPL", 101.5),
        ("AAPL", 102.0),
    ]


def test_moments_keep_their_nanoseconds_and_zone(recording: Path) -> None:
    (row,) = rows(recording, "SELECT received_at FROM messages WHERE position = 1")
    assert row["received_at"] == "2026-01-31 12:00:01.000000000"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("sum(9223372036854775807)", 9223372036854775807),
        ("9223372036854775808::HUGEINT", "9223372036854775808"),  # more than the readers of JSON agree on
        ("1.50::DECIMAL(10, 2)", 1.5),
        ("NULL", None),
        ("'nan'::DOUBLE", None),
        ("'a\\x00\\xFF'::BLOB", "a\x00\\xff"),
        ("[1, 2]", [1, 2]),
        ("{'at': '2026-01-01 00:00:00.123456789'::TIMESTAMP_NS}", {"at": "2026-01-01 00:00:00.123456789"}),
        ("DATE '2026-01-31'", "2026-01-31"),
        ("'x'::ENUM('x', 'y')", "x"),
        ("'Ж\n'", "Ж\n"),
    ],
)
def test_json_holds_what_sql_can_say(expression: str, value: object, recording: Path) -> None:
    assert rows(recording, f"SELECT {expression} AS value") == [{"value": value}]


def test_json_of_no_rows_is_an_empty_array(recording: Path) -> None:
    assert rows(recording, "SELECT * FROM quotes WHERE false") == []


def test_csv_is_read_back_as_it_was(recording: Path) -> None:
    done = sql(recording, "SELECT 1 AS a, 'x,\"y\"\nz' AS b, [1, 2] AS c UNION ALL SELECT 2, NULL, []", "--csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [["a", "b", "c"], ["1", 'x,"y"\nz', "[1,2]"], ["2", "", "[]"]]


def test_table_stops_at_a_thousand_rows_and_says_so(recording: Path) -> None:
    done = sql(recording, "SELECT i FROM range(5000) t(i)")
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 1001
    assert "--csv and --json give all" in done.stderr
    assert len(rows(recording, "SELECT i FROM range(25000) t(i)")) == 25000


def test_brackets_in_a_value_are_no_markup(recording: Path) -> None:
    assert "[bold]x[/]" in sql(recording, "SELECT '[bold]x[/]' AS value").stdout


def test_statement_is_read_from_stdin(recording: Path) -> None:
    assert json.loads(sql(recording, "-", "--json", stdin="SELECT 1 AS one").stdout) == [{"one": 1}]


@pytest.mark.parametrize("statement", ["SELEC 1", "SELECT * FROM nowhere", "SELECT 1/0::INT + 'x'::INT", "data"])
def test_wrong_statement_is_one_message_and_exit_code_1(statement: str, recording: Path) -> None:
    done = sql(recording, statement)
    assert done.exit_code == 1
    assert done.stderr.startswith("recorder: ")
    assert "Error" in done.stderr
    assert "Traceback" not in done.output


def test_statement_without_a_result_is_no_error(recording: Path) -> None:
    assert sql(recording, "CREATE TABLE mine AS SELECT 1; DROP TABLE mine", "--json").exit_code == 0
    assert sql(recording, "/* nothing */").exit_code == 0


README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("statement", re.findall(r'(?m)^recorder sql "([^"]+)"', README))
def test_statements_in_readme_have_answers(statement: str, recording: Path) -> None:
    assert rows(recording, statement)


def test_folder_without_a_recording_says_so(tmp_path: Path) -> None:
    done = sql(tmp_path, "SELECT 1")
    assert done.exit_code == 1
    assert "nothing is recorded there" in done.stderr


def test_asking_leaves_the_recording_as_it_was(recording: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in recording.rglob("*.parquet")}
    sql(recording, "DELETE FROM messages")
    assert {path: path.stat().st_mtime_ns for path in recording.rglob("*.parquet")} == before
    assert len(rows(recording, "SELECT * FROM messages")) == 10


def test_reader_that_stops_early_stops_the_query_quietly(recording: Path) -> None:
    command = [sys.executable, "-m", "recorder", "sql", "SELECT i FROM range(1000000000000) t(i)", "--csv"]
    command += ["--data", str(recording)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout and writer.stderr
    assert writer.stdout.readline() == b"i\n"
    writer.stdout.close()
    assert writer.wait(60) == 0
    assert writer.stderr.read() == b""
    writer.stderr.close()
