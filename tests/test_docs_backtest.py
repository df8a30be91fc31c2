"""docs/backtest.md says what happens: its blocks are run, in their order, on a recording of a generated hour."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.demo.companies import COMPANIES
from recorder.demo.world import World
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions.seal import seal

PAGE = Path(__file__).parents[1] / "docs" / "backtest.md"
START_NS = 1_795_186_800 * SECOND_NS  # 2026-11-20T15:00:00Z, a Friday
SECONDS = 3600
QUOTES, NEWS = Stream("quotes", "finance_query.quotes"), Stream("news", "finlight")


async def _record(data: Path) -> None:
    """An hour of quotes, a frame each 10 s, and some hundred articles; the last ten minutes are not sealed."""
    world = World(7, articles_per_s=0.1)
    symbols = frozenset(company.symbol for company in COMPANIES.values() if company.sector)
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), Clock())
    sealed = 0
    for second in range(0, SECONDS, 10):
        at_ns = START_NS + second * SECOND_NS
        frames = [article.frame for article in world.news.due(at_ns)]
        if frames:
            mark = Mark.INITIAL if second == 0 else Mark.NONE
            journal.append(NEWS, Kind.DATA, 1, frames, mark, Moment(at_ns, at_ns))
        last = journal.append(QUOTES, Kind.DATA, 2, [world.quotes(symbols, at_ns)], Mark.NONE, Moment(at_ns, at_ns))
        if second == SECONDS - 600:
            sealed = last
    await journal.wait_durable(last)
    made = await asyncio.to_thread(seal, data, 1, await journal.call(lambda store: _end_of_group(store, sealed)))
    parts = [replace(part, registered_ns=1) for part in made.parts]
    await journal.call(lambda store: store.register(parts, made.last_position, made.standing))
    await journal.close()


def _end_of_group(store: Any, position: int) -> int:
    last: int = store.group_from(position).last_position
    return last


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every name the page made."""
    folder = tmp_path_factory.mktemp("backtest")
    (folder / "data").mkdir()
    asyncio.run(_record(folder / "data"))
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, block in enumerate(blocks, 1):
            exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
    return names


def test_sql_and_messages_give_the_same_backtest(ran: dict[str, Any]) -> None:
    in_sql, by_hand = ran["in_sql"], ran["by_hand"]
    assert set(in_sql) == {"positive", "negative", "neutral"}
    assert {mood: trades for mood, (trades, _) in in_sql.items()} == {mood: n for mood, (n, _) in by_hand.items()}
    for mood, (trades, gain_bp) in in_sql.items():
        assert trades > 10
        assert gain_bp == pytest.approx(by_hand[mood][1], abs=1e-6)
        assert gain_bp != 0


def test_what_the_page_says_it_prints_is_so(ran: dict[str, Any]) -> None:
    recording = ran["recording"]
    text = PAGE.read_text(encoding="utf-8")
    assert str(recording.bounds).startswith("2026-11-20T15:00:00.000000000Z to ")
    assert f"print(recording.feeds)  # {recording.feeds}" in text
    with pytest.raises(ValueError) as caught:
        recording.messages(feeds="nwes")
    assert f"print(error)  # {caught.value}" in text


def test_the_other_blocks_read_what_they_say(ran: dict[str, Any]) -> None:
    minute = [m for m in ran["recording"].messages() if 1800 <= (m.received_ns - START_NS) // SECOND_NS < 1860]
    assert ran["paced"] == len(minute) > 6
    assert [m.position for m in ran["some"]] == [
        m.position
        for m in minute
        if m.stream == QUOTES or b'"ticker":"AAPL"' in m.payload or b'"ticker":"NVDA"' in m.payload
    ]
    assert ran["frame_bytes"] == sum(len(m.payload) for m in ran["recording"].messages(feeds="quotes")) > 1_000_000
