"""A recording to ask, made by the real journal and the real seal."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recorder import lifecycle
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions import seal
from recorder.partitions.sealer import Sealer
from recorder.settings import Journal as JournalSettings

NOON_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
OLD_NOON_NS = 1_706_702_400 * SECOND_NS
NEWS = Stream("news", "finlight")
QUOTES = Stream("quotes", "finance_query.quotes")

Entry = tuple[Stream, Kind, bytes]
Record = Callable[..., None]


@pytest.fixture(scope="session")
def record() -> Record:
    """record(data, entries, seal=…): one run of a recorder that journals these, a second apart, and stops."""

    def run(data: Path, entries: list[Entry], *, seal: bool = False) -> None:
        asyncio.run(_run(data, entries, seal))

    return run


async def _run(data: Path, entries: list[Entry], seal: bool) -> None:
    clock = Clock()
    journal = Journal.open(data, JournalSettings(), clock)
    for stream, kind, payload in entries:
        after_s = journal.durable + 1  # one commit each, so that there are groups to tell apart
        moment = Moment(NOON_NS + after_s * SECOND_NS, after_s * SECOND_NS)
        position = journal.append(stream, kind, 1, [payload], Mark.NONE, moment)
        await journal.wait_durable(position)
    if seal:
        sealer = Sealer(data, journal, 1 << 20, clock, pool=lambda: ThreadPoolExecutor(1))
        await sealer.seal()
        await sealer.close()
    await journal.close()


@pytest.fixture(scope="session")
def entries() -> list[Entry]:
    """Ten messages: quotes of two symbols, an article, a gap that ended and one that did not."""
    start_ns, end_ns = NOON_NS + SECOND_NS, NOON_NS + 3 * SECOND_NS
    article = (
        b'{"action":"sendArticle","data":{"link":"https://example.com/1","source":"example.com","title":"T\xc3\xa4st",'
        b'"publishDate":"2026-01-31T11:59:59.123Z","language":"en","confidence":"0.9"}}'
    )
    closed = {"since_ns": start_ns, "cause": "connection lost"}
    return [
        (QUOTES, Kind.DATA, b"[" + quote(b"AAPL", b"100.00") + b"," + quote(b"MSFT", b"200.00") + b"]"),
        (NEWS, Kind.REPLY, b'{"action":"admit","leaseId":"1"}'),
        (NEWS, Kind.DATA, article),
        (NEWS, Kind.LIFECYCLE, lifecycle.entry("gap.opened", **closed)),
        (NEWS, Kind.LIFECYCLE, lifecycle.entry("gap.closed", **closed, until_ns=end_ns)),
        (QUOTES, Kind.DATA, b"[" + quote(b"AAPL", b"101.50") + b"]"),
        (QUOTES, Kind.DATA, b"not\x00json\xff"),
        (QUOTES, Kind.LIFECYCLE, lifecycle.entry("gap.opened", since_ns=end_ns, cause="silence")),
        (QUOTES, Kind.DATA, b"[" + quote(b"AAPL", b"102.00") + b"]"),
        (NEWS, Kind.DATA, article),
    ]


def quote(symbol: bytes, price: bytes) -> bytes:
    return b'{"symbol":"%s","name":"N","price":"%s","change":"+1.00","percentChange":"+1.00%%"}' % (symbol, price)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, record: Record, entries: list[Entry]) -> Path:
    data = tmp_path_factory.mktemp("original") / "data"
    record(data, entries[:6], seal=True)
    record(data, entries[6:])
    return data


@pytest.fixture
def recording(tmp_path: Path, original: Path) -> Path:
    """A data folder with the ten: six sealed, four not."""
    return shutil.copytree(original, tmp_path / "data")


@pytest.fixture(scope="session")
def old_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen hours from 2024-01-31T12:00:00Z on, two parts an hour, in each a frame of each feed."""
    data = tmp_path_factory.mktemp("old") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "HOUR_PAUSE_S", 0.0)  # nobody reads meanwhile
        asyncio.run(_hours(data, 15))
    return data


@pytest.fixture
def old_recording(tmp_path: Path, old_original: Path) -> Path:
    return shutil.copytree(old_original, tmp_path / "data")


async def _hours(data: Path, hours: int) -> None:
    clock = Clock()
    journal = Journal.open(data, JournalSettings(commit_interval_ms=1), clock)
    sealer = Sealer(data, journal, 1 << 20, clock, pool=lambda: ThreadPoolExecutor(1))
    for half in range(2 * hours):
        moment = Moment(OLD_NOON_NS + half * 1800 * SECOND_NS, half * 1800 * SECOND_NS)
        journal.append(QUOTES, Kind.DATA, 1, [b"[" + quote(b"AAPL", b"100.00") + b"]"], Mark.NONE, moment)
        await journal.wait_durable(journal.append(NEWS, Kind.DATA, 1, [b"{}"], Mark.NONE, moment))
        await sealer.seal()
    await sealer.close()
    await journal.close()
