"""docs/replay.md is enough to write a client: its blocks are run, in their order, against a real server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder import lifecycle, settings
from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.replay import wire
from recorder.replay.native import Native
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline

PAGE = (Path(__file__).parents[1] / "docs" / "replay.md").read_text(encoding="utf-8")
START_NS = 1_795_186_800 * SECOND_NS
PRICES, NEWS = Stream("prices", "finance_query.quotes"), Stream("news", "finlight")


async def _record(data: Path) -> None:
    """1,200 messages 10 ms apart: a gap that began and has ended among them, one frame that is no JSON, one no text."""
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    gap = {"since_ns": START_NS + 4_000 * MS_NS, "cause": "silence"}
    last = 0
    for number in range(1, 1_201):
        at_ns = START_NS + 10 * MS_NS * number
        stream, kind = NEWS if number % 7 == 0 else PRICES, Kind.DATA
        payload = b'[{"symbol":"AAPL","price":"%d.00"}]' % number
        if number == 10:
            payload = b"no json"
        elif number == 20:
            payload = b"\xff\x00no text"
        elif number == 500:
            kind, payload = Kind.LIFECYCLE, lifecycle.entry("gap.opened", **gap)
        elif number == 600:
            kind, payload = Kind.LIFECYCLE, lifecycle.entry("gap.closed", **gap, until_ns=at_ns)
        last = journal.append(stream, kind, 1, [payload], Mark.NONE, Moment(at_ns, at_ns))
    await journal.wait_durable(last)
    await journal.close()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every name the page made, and what it printed."""
    data = tmp_path_factory.mktemp("replay")

    async def run() -> dict[str, Any]:
        await _record(data)
        printed: list[str] = []
        names: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words))), "printed": printed}
        sessions = Sessions(Timeline(data), Clock(), settings.Replay())
        async with Server({"/replay": Native(sessions)}) as server:
            blocks = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE)
            assert len(blocks) >= 5
            for number, block in enumerate(blocks, 1):
                code = compile(block.replace("127.0.0.1:8765", f"127.0.0.1:{server.port}"), f"block {number}", "exec")
                async with asyncio.timeout(30):
                    await asyncio.to_thread(exec, code, names)
        return names

    return asyncio.run(run())


def test_the_client_takes_everything_and_checks_the_digest(ran: dict[str, Any]) -> None:
    assert ran["count"] == 999 - 2
    assert ran["printed"][:2] == ["gap of prices since 2026-11-20T15:00:04.000000000Z silence"] * 2


def test_steering_steps_and_is_refused_with_what_is_possible(ran: dict[str, Any]) -> None:
    assert ran["stepped"] == [100, 101, 102, 103, 104]
    (said,) = re.findall(r'print\(refused\["possible"\]\)  # (.*)', PAGE)
    assert said == ran["refused"]["possible"]


def test_arrow_is_read_whole_and_batch_by_batch_and_has_the_digest_the_page_says(ran: dict[str, Any]) -> None:
    assert ran["table"].num_rows == ran["rows"] == 999 - 2
    assert ran["printed"][-1] == "True"


def test_the_page_names_every_parameter_and_every_operation() -> None:
    parameters = re.findall(r"(?m)^\| `(\w+)` \|", PAGE)
    assert set(wire._PARAMETERS) <= set(parameters)
    operations = {orjson.loads(text)["op"] for text in re.findall(r'`(\{"op":"\w+"\})`', PAGE)}
    operations |= set(re.findall(r'`\{"op":"(\w+)"', PAGE))
    assert operations == set(wire._OPERATIONS)


def test_every_json_on_the_page_is_json() -> None:
    blocks = re.findall(r"(?ms)^```json\n(.*?)^```", PAGE)
    assert len(blocks) >= 5
    for block in blocks:
        orjson.loads(block)
