"""`recorder export`: tables and answers as files, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from recorder.cli import main
from recorder.commands.export import WINDOW_BYTES, _windows
from recorder.message import Kind, Stream
from recorder.partitions.layout import HOUR_NS
from recorder.partitions.schema import META_TABLE
from recorder.partitions.tables_finance_query import QUOTES

PATIENCE_S = 30
ENDLESS = "SELECT i FROM range(1000000000000) t(i)"
PEAK = """if True:
    import re, pathlib
    from recorder.cli import main
    main(standalone_mode=False)
    print(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""  # the greatest ever resident of what runs, without what it was forked from
RECORDER = (sys.executable, "-m", "recorder", "export")


def export(data: Path, *arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments), "--data", str(data)])


def prices(data: Path, out: Path, *options: object) -> list[tuple[int, str, float]]:
    """(position, symbol, price) of the quotes that an export with these options has."""
    done = export(data, "quotes", "--out", out, "--force", *options)
    assert done.exit_code == 0, done.output
    table = pq.read_table(out, columns=["position", "symbol", "price"])
    return [(row["position"], row["symbol"], row["price"]) for row in table.to_pylist()]


ALL = [(1, "AAPL", 100.0), (1, "MSFT", 200.0), (6, "AAPL", 101.5), (9, "AAPL", 102.0)]


def test_parquet_has_every_row_in_order_with_the_types_of_the_table(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "quotes.parquet"
    assert prices(recording, out) == ALL
    written = pq.read_schema(out)
    assert written.equals(QUOTES.schema)
    assert written.metadata[META_TABLE] == b"quotes"


def test_csv_has_one_header_over_many_stretches_of_time(old_recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.csv"
    assert export(old_recording, "messages", "--out", out).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [int(row["position"]) for row in rows] == list(range(1, 61))
    assert rows[0]["received_at"] == "2024-01-31 12:00:00.000000000"


def test_ndjson_is_an_object_a_line(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "articles.ndjson"
    assert export(recording, "articles", "--out", out).exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["position"], row["title"], row["confidence"]) for row in rows] == [(3, "Täst", 0.9), (10, "Täst", 0.9)]


@pytest.mark.parametrize(
    ("options", "positions"),
    [
        (["--symbol", "MSFT"], [1]),
        (["--symbol", "MSFT", "--symbol", "AAPL"], [1, 1, 6, 9]),
        (["--feed", "news"], []),
        (["--feed", "quotes"], [1, 1, 6, 9]),
        (["--from", "2026-01-31T12:00:06"], [6, 9]),
        (["--to", "2026-01-31T12:00:06Z"], [1, 1]),
        (["--from", "2026-01-31T13:00:02+01:00", "--to", "2026-01-31 12:00:08"], [6]),
        (["--symbol", "'; DROP VIEW quotes; --"], []),
    ],
    ids=str,
)
def test_filters_choose_rows(options: list[str], positions: list[int], recording: Path, tmp_path: Path) -> None:
    found = prices(recording, tmp_path / "some.parquet", *options)
    assert [position for position, _, _ in found] == positions


def test_symbols_of_articles_are_their_tickers(record: Callable[..., None], tmp_path: Path) -> None:
    def article(*tickers: str) -> bytes:
        said = {"link": "u", "companies": [{"ticker": ticker} for ticker in tickers]}
        return json.dumps({"action": "sendArticle", "data": said}).encode()

    news = Stream("news", "finlight")
    record(tmp_path / "data", [(news, Kind.DATA, article(*some)) for some in (("NVDA", "AMD"), ("AMD",))])
    out = tmp_path / "articles.ndjson"
    assert export(tmp_path / "data", "articles", "--symbol", "NVDA", "--out", out).exit_code == 0
    assert [json.loads(line)["tickers"] for line in out.read_text().splitlines()] == [["NVDA", "AMD"]]


def test_answers_to_questions_are_written_as_well(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "bars.csv"
    assert export(recording, "--sql", "FROM ohlc('AAPL', '1 minute')", "--out", out).exit_code == 0
    header, bar = out.read_text().splitlines()
    assert header == "symbol,begin_at,open,high,low,close,quotes"
    assert bar == "AAPL,2026-01-31 12:00:00.000000,100.0,102.0,100.0,102.0,3"


def test_what_was_written_is_told_to_people_and_machines(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "quotes.jsonl"
    done = export(recording, "quotes", "--out", out, "--json")
    told = {"out": str(out), "format": "ndjson", "rows": 4, "bytes": out.stat().st_size}
    assert (json.loads(done.stdout), done.stderr) == (told, "")
    done = export(recording, "quotes", "--out", out, "--force")
    assert (done.stdout, done.stderr) == ("", f"{out}: 4 rows, {out.stat().st_size} B\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quote", "--out", "q.csv"], "there are articles, connections"),
        (["quotes; DROP VIEW quotes", "--out", "q.csv"], "there are articles"),
        (["quotes", "--out", "q.xlsx"], "without --format its name ends in one of .parquet"),
        (["quotes", "--out", "q.csv", "--from", "yesterday"], "possible is ISO 8601"),
        (["gaps", "--out", "q.csv", "--symbol", "AAPL"], "its columns are feed, channel"),
        (["--out", "q.csv"], "Give a table"),
        (["quotes", "--sql", "SELECT 1", "--out", "q.csv"], "Give a table"),
        (["--sql", "SELECT 1", "--feed", "news", "--out", "q.csv"], "Give a table"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_usage_and_leaves_no_file(
    arguments: list[str], words: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = export(recording, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert list(tmp_path.glob("*q.*")) == []


def test_a_file_that_exists_is_replaced_only_by_force(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "quotes.csv"
    out.write_text("mine")
    done = export(recording, "quotes", "--out", out)
    assert (done.exit_code, out.read_text()) == (1, "mine")
    assert "--force" in done.stderr
    done = export(recording, "--sql", "SELECT nonsense", "--out", out, "--force")
    assert (done.exit_code, out.read_text()) == (1, "mine")
    assert export(recording, "quotes", "--out", out, "--force").exit_code == 0
    assert len(out.read_text().splitlines()) == 5


def test_what_has_no_rows_to_give_is_an_error(recording: Path, tmp_path: Path) -> None:
    done = export(recording, "--sql", "CREATE TABLE t (i INTEGER)", "--out", tmp_path / "t.csv")
    assert done.exit_code == 1
    assert "Export a SELECT" in done.stderr


def test_a_table_is_asked_for_in_stretches_that_have_every_hour_once() -> None:
    big = WINDOW_BYTES // 2
    hours = [(3, 1), (4, big), (5, big), (9, 2 * WINDOW_BYTES), (10, 1)]
    assert list(_windows(hours)) == [
        (3 * HOUR_NS, 5 * HOUR_NS),
        (5 * HOUR_NS, 9 * HOUR_NS),
        (9 * HOUR_NS, 10 * HOUR_NS),
        (10 * HOUR_NS, 11 * HOUR_NS),
    ]
    assert list(_windows([])) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_export_that_is_killed_leaves_what_was_there_before(
    how: signal.Signals, recording: Path, tmp_path: Path
) -> None:
    out = tmp_path / "answer.csv"
    out.write_text("before")
    command = (*RECORDER, "--sql", ENDLESS, "--out", str(out), "--force", "--data", str(recording))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        began = time.monotonic()
        while not any(path.stat().st_size for path in tmp_path.glob("_aside-*")):
            assert process.poll() is None
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.02)
        process.send_signal(how)
        assert process.wait(PATIENCE_S) in (1, -how)
    assert out.read_text() == "before"
    if how is signal.SIGINT:
        assert list(tmp_path.glob("_aside-*")) == []


@pytest.mark.slow
def test_an_answer_much_larger_than_its_memory_is_written(recording: Path, tmp_path: Path) -> None:
    """Half a gigabyte of text; a process that has only the libraries loaded takes some 190 MB."""
    statement = "SELECT i, repeat('x', 2000) AS text FROM range(250000) t(i)"
    out = tmp_path / "large.parquet"
    command = [sys.executable, "-c", PEAK, "export", "--sql", statement, "--out", str(out), "--data", str(recording)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert pq.read_metadata(out).num_rows == 250_000
    assert int(done.stdout) < 450_000, "kB"


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal(old_recording: Path, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    command = (*RECORDER, "messages", "--out", str(tmp_path / "all.csv"), "--data", str(old_recording))
    with subprocess.Popen(command, stderr=slave, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                shown += os.read(master, 1 << 16)
            except OSError:  # the process has gone, and its side of the terminal
                break
    os.close(master)
    assert process.returncode == 0
    assert b"messages" in shown
    assert b" rows" in shown.partition(b"all.csv")[0]
