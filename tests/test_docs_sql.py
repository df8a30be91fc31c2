"""docs/sql.md says what happens: every block of it is run, on a recording of a generated hour and a half."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from recorder import lifecycle, settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.demo.companies import COMPANIES
from recorder.demo.world import World
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions import seal as seal_module
from recorder.partitions.catalog import CATALOG, connect, refresh
from recorder.partitions.derived import DERIVED
from recorder.partitions.macros import MACROS
from recorder.partitions.views import STORED

PAGE = (Path(__file__).parents[1] / "docs" / "sql.md").read_text(encoding="utf-8")
SQL, SHELL, PYTHON = (re.findall(rf"(?ms)^```{language}\n(.*?)^```", PAGE) for language in ("sql", "sh", "python"))

START_NS = 1_795_186_800 * SECOND_NS  # 2026-11-20T15:00:00Z, a Friday, half an hour after the exchange has opened
SECONDS = 5400
NEWS = Stream("news", "finlight")
QUOTES = Stream("prices", "finance_query.quotes")
MARKET = Stream("market", "finance_query.market")
HOURS = Stream("hours", "finance_query.hours")
PROFILE = Stream("profiles", "finance_query.profile", "NVDA")


async def _record(data: Path) -> int:
    """A frame of each feed every 10 s, some hundred articles, a connection that ended and the gap behind it."""
    world = World(7, articles_per_s=0.1)
    symbols = frozenset(company.symbol for company in COMPANIES.values() if company.sector)
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    last = 0

    def write(stream: Stream, kind: Kind, at_ns: int, *frames: bytes, mark: Mark = Mark.NONE) -> None:
        nonlocal last
        if frames:
            last = journal.append(stream, kind, 1, list(frames), mark, Moment(at_ns, at_ns))

    write(NEWS, Kind.LIFECYCLE, START_NS, lifecycle.entry("connection.dialled", url="wss://u", purpose="start"))
    write(NEWS, Kind.LIFECYCLE, START_NS, lifecycle.entry("connection.opened", handshake_ms=12.0))
    for second in range(0, SECONDS, 10):
        at_ns = START_NS + second * SECOND_NS
        articles = [article.frame for article in world.news.due(at_ns)]
        write(NEWS, Kind.DATA, at_ns, *articles, mark=Mark.NONE if second else Mark.INITIAL)
        write(QUOTES, Kind.DATA, at_ns, world.quotes(symbols, at_ns))
        write(HOURS, Kind.DATA, at_ns, world.hours(at_ns))
        if second % 300 == 0:
            write(MARKET, Kind.DATA, at_ns, world.market(at_ns))
            write(PROFILE, Kind.DATA, at_ns, world.profile("NVDA", at_ns))
    end = {"code": 1001, "reason": "Going away", "by": "upstream", "cause": "closed"}
    write(NEWS, Kind.LIFECYCLE, at_ns, lifecycle.entry("connection.closed", **end))
    gap = {"since_ns": at_ns - 9 * SECOND_NS, "until_ns": at_ns, "cause": "closed"}
    write(NEWS, Kind.LIFECYCLE, at_ns, lifecycle.entry("gap.closed", **gap))
    await journal.wait_durable(last)
    made = await asyncio.to_thread(seal_module.seal, data, 1, last)
    parts = [replace(part, registered_ns=1) for part in made.parts]
    await journal.call(lambda store: store.register(parts, made.last_position, made.standing))
    write(QUOTES, Kind.DATA, at_ns + SECOND_NS, world.quotes(symbols, at_ns + SECOND_NS))
    await journal.wait_durable(last)
    await journal.close()
    refresh(data, "")
    return last


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `data` is, as on the page."""
    folder = tmp_path_factory.mktemp("sql")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal_module, "HOUR_PAUSE_S", 0.0)  # nobody reads meanwhile
        asyncio.run(_record(folder / "data"))
    return folder


def test_the_page_has_more_than_a_dozen_questions() -> None:
    assert len(SQL) >= 12


@pytest.mark.parametrize("question", SQL, ids=lambda text: text.split("FROM")[1].split()[0].strip("(,"))
def test_every_question_has_an_answer_sealed_or_not(question: str, folder: Path) -> None:
    with duckdb.connect(folder / "data" / CATALOG, read_only=True) as plain, connect(folder / "data") as own:
        for connection in (plain, own):
            assert connection.sql(question).fetchall() != []


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for block in SHELL for line in block.splitlines()])
def test_every_command_answers(line: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert len((done.stdout + done.stderr).strip()) > 10


def test_blocks_of_python_run_one_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in PYTHON:
        exec(compile(block, "docs/sql.md", "exec"), names)  # its own page, not anybody's text
    assert len(names["frame"]) == 90
    assert names["quotes"].columns == ["symbol", "received_at", "price"]
    assert len(names["paths"]) == 2
    names["db"].close()
    names["recording"].close()


def test_the_page_names_every_table_and_macro() -> None:
    tables = {*(stored.name for stored in STORED), *(view.name for view in DERIVED)}
    assert set(re.findall(r"\*\*([a-z_]+)\*\*", PAGE)) == tables
    shown = re.findall(r"(?m)^\| `([a-z_]+)\(([^)]*)\)`", PAGE)
    assert {name: re.findall(r"\w+", given) for name, given in shown} == {
        macro.name: [re.findall(r"\w+", parameter)[0] for parameter in macro.parameters] for macro in MACROS
    }
