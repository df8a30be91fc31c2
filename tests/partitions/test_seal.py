from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recorder import lifecycle
from recorder.errors import PartDamaged
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import layout, schema
from recorder.partitions import seal as seal_module
from recorder.partitions.seal import plan, seal

Append = Callable[[Path, Iterable[Message], int], None]

HOUR_NS = layout.HOUR_NS
START_NS = 1_795_291_140 * 10**9  # one minute before 20:00 UTC
QUOTES = Stream("prices", "finance_query.quotes")


def quotes(count: int, first: int = 1, step_ns: int = 10**9, start_ns: int = START_NS) -> list[Message]:
    return [
        Message(
            position,
            QUOTES,
            Kind.DATA,
            Mark.NONE,
            start_ns + (position - 1) * step_ns,
            position,
            1,
            orjson.dumps([{"symbol": "A", "price": f"{position}.00"}]),
        )
        for position in range(first, first + count)
    ]


def hashes(data: Path) -> dict[str, str]:
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in data.rglob("hot/hour=[12]*/*")
    }


def texts(data: Path) -> list[bytes]:
    """What the sealed messages say, in the order of their files' names."""
    found: list[bytes] = []
    for path in sorted((data / "messages" / "hot").rglob("*.parquet"), key=lambda path: path.name):
        found += [text.encode() for text in pq.ParquetFile(path).read()["text"].to_pylist()]
    return found


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal_module, "HOUR_PAUSE_S", 0.0)


def test_each_hour_has_its_own_file_and_every_message_is_in_one(tmp_path: Path, journal: Append) -> None:
    messages = quotes(200)
    journal(tmp_path, messages, 30)
    sealed = seal(tmp_path, 1, 200)
    assert [(part.path, part.row_count) for part in sealed.parts] == [
        (layout.hot_path("messages", "2026112119", 1, 60), 60),
        (layout.hot_path("quotes", "2026112119", 1, 60), 60),
        (layout.hot_path("traffic", "2026112119", 1, 60), 1),
        (layout.hot_path("messages", "2026112120", 61, 200), 140),
        (layout.hot_path("quotes", "2026112120", 61, 200), 140),
        (layout.hot_path("traffic", "2026112120", 61, 200), 1),
    ]
    assert texts(tmp_path) == [message.payload for message in messages]
    assert [(part.first_received_ns, part.last_received_ns) for part in sealed.parts[::3]] == [
        (START_NS, START_NS + 59 * 10**9),
        (START_NS + 60 * 10**9, START_NS + 199 * 10**9),
    ]
    assert sealed.standing.position == 200
    assert sealed.standing.streams[QUOTES].last_received_ns == START_NS + 199 * 10**9
    assert all(part.byte_count == (tmp_path / part.path).stat().st_size for part in sealed.parts)


def test_sealing_the_same_range_twice_makes_the_same_bytes(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(200), 7)
    first = seal(tmp_path, 1, 200)
    before = hashes(tmp_path)
    second = seal(tmp_path, 1, 200)
    assert hashes(tmp_path) == before
    assert first == second


def test_a_range_ends_at_its_last_position_whatever_was_appended_since(tmp_path: Path, journal: Append) -> None:
    messages = quotes(30)
    journal(tmp_path, messages[:20], 5)
    assert plan(tmp_path, 1 << 30, 20) == (1, 20)
    journal(tmp_path, messages[20:], 5)
    seal(tmp_path, 1, 20)
    assert texts(tmp_path) == [message.payload for message in messages[:20]]


def test_a_plan_keeps_to_its_bytes_and_to_what_was_there(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(100), 10)
    assert plan(tmp_path, 1, 100) == (1, 10)
    assert plan(tmp_path, 1 << 30, 45) == (1, 50)
    assert plan(tmp_path, 1 << 30, 0) is None


def test_a_seal_that_was_begun_is_planned_before_all_others(tmp_path: Path, journal: Append) -> None:
    journal(tmp_path, quotes(100), 10)
    store = Store.open(tmp_path)
    store.intend_seal(1, 30)
    store.close()
    assert plan(tmp_path, 1, 100) == (1, 30)


def test_a_time_that_goes_back_loses_nothing(tmp_path: Path, journal: Append) -> None:
    late = quotes(10, start_ns=START_NS + 2 * HOUR_NS)
    early = quotes(10, first=11)
    journal(tmp_path, [*late, *early, *quotes(10, first=21, start_ns=START_NS + 2 * HOUR_NS)], 4)
    seal(tmp_path, 1, 30)
    assert len(list((tmp_path / "messages/hot/hour=2026112121").iterdir())) == 2
    assert len(texts(tmp_path)) == 30


def test_a_file_that_reads_otherwise_gets_no_name(
    tmp_path: Path, journal: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(tmp_path, quotes(10), 10)
    write = schema.write

    def forgetful(table: pa.Table, columns: Iterable[schema.Column], path: Path) -> None:
        write(table.slice(1), columns, path)

    monkeypatch.setattr(schema, "write", forgetful)
    with pytest.raises(PartDamaged, match="reads otherwise"):
        seal(tmp_path, 1, 10)
    assert hashes(tmp_path) == {}


def test_holes_of_a_lost_journal_are_sealed_around(tmp_path: Path, journal: Append) -> None:
    messages = quotes(30)
    journal(tmp_path, messages[:10], 5)
    journal(tmp_path, messages[20:], 5)
    seal(tmp_path, 1, 30)
    assert texts(tmp_path) == [message.payload for message in (*messages[:10], *messages[20:])]


def test_nested_columns_and_those_of_the_recorder_itself_are_verified_too(tmp_path: Path, journal: Append) -> None:
    company = {"companyId": 42, "ticker": "NVDA", "isins": ["US67066G1040"], "otherListings": [{"ticker": "NVD"}]}
    sent = {"action": "sendArticle", "data": {"link": "u", "companies": [company], "images": [], "countries": None}}
    entry = lifecycle.entry("gap.opened", since_ns=START_NS, cause="closed")
    messages = [
        Message(1, Stream("news", "finlight"), Kind.DATA, Mark.NONE, START_NS, 0, 1, orjson.dumps(sent)),
        Message(2, Stream("news", "finlight"), Kind.LIFECYCLE, Mark.NONE, START_NS, 0, 0, entry),
        Message(3, Stream("news", "finlight"), Kind.DATA, Mark.BINARY, START_NS, 0, 1, b"\xff"),
    ]
    journal(tmp_path, messages, 2)
    assert {part.table_name: part.row_count for part in seal(tmp_path, 1, 3).parts} == {
        "messages": 3,
        "articles": 1,
        "lifecycle": 1,
        "traffic": 3,
    }
