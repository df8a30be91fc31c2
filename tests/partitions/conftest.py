from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from recorder import lifecycle
from recorder.clock import Moment
from recorder.journal.group import Group, GroupBuilder, unpack
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import seal as seal_module
from recorder.partitions.messages import table_of
from recorder.partitions.seal import seal

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"

Pack = Callable[[Iterable[Message]], bytes]


def pack_group(messages: Iterable[Message]) -> bytes:
    messages = list(messages)
    builder = GroupBuilder(messages[0].position)
    for m in messages:
        builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, Moment(m.received_ns, m.monotonic_ns))
    return builder.pack()


@pytest.fixture
def group_of() -> Callable[[Iterable[Message]], Group]:
    def make(messages: Iterable[Message]) -> Group:
        messages = list(messages)
        return unpack(pack_group(messages), messages[0].position)

    return make


@pytest.fixture
def arrow_of(group_of: Callable[[Iterable[Message]], Group]) -> Callable[[Iterable[Message]], pa.Table]:
    return lambda messages: table_of([group_of(messages)])


@pytest.fixture
def journal() -> Callable[[Path, Iterable[Message], int], None]:
    """Append messages to a data directory's journal, in groups of so many."""

    def append(data: Path, messages: Iterable[Message], per_group: int) -> None:
        messages = list(messages)
        store = Store.open(data)
        for start in range(0, len(messages), per_group):
            some = messages[start : start + per_group]
            times = [message.received_ns for message in some]
            store.append(pack_group(some), some[0].position, some[-1].position, min(times), max(times))
        store.close()

    return append


@pytest.fixture
def frame() -> Callable[[str], bytes]:
    """A captured frame by the beginning of its name."""

    def read(beginning: str) -> bytes:
        (path,) = FRAMES.glob(f"{beginning}*.json")
        return path.read_bytes()

    return read


@pytest.fixture
def sealed_hours(
    journal: Callable[[Path, Iterable[Message], int], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Record hours from 20:00 UTC on 2024-11-21, behind the first `after`, three parts each; answers the last position.

    A frame of two quotes, an article, a broken frame, an entry of the recorder and one that is no UTF-8 in turn.
    """

    monkeypatch.setattr(seal_module, "HOUR_PAUSE_S", 0.0)

    def record(data: Path, hours: int, after: int = 0) -> int:
        data.mkdir(parents=True, exist_ok=True)
        for hour in range(after, hours):
            for third in range(3):
                first = 1 + (hour * 3 + third) * PER_PART
                start_ns = EVENING_NS + hour * HOUR_NS + third * 1200 * 10**9
                some = [message_at(first + n, start_ns + n * 10**9) for n in range(PER_PART)]
                journal(data, some, 7)
                made = seal(data, first, first + PER_PART - 1)
                with closing(Store.open(data)) as store:
                    parts = [replace(part, registered_ns=1) for part in made.parts]
                    store.register(parts, first + PER_PART - 1, made.standing)
                    while store.forget_sealed():
                        pass
        return hours * 3 * PER_PART

    return record


PER_PART = 20
EVENING_NS = 1_732_219_200 * 10**9
HOUR_NS = 3600 * 10**9


def message_at(position: int, received_ns: int) -> Message:
    quotes, news = Stream("prices", "finance_query.quotes"), Stream("news", "finlight")
    sent = {
        "action": "sendArticle",
        "data": {"link": f"https://example.com/{position}", "companies": [{"ticker": "A"}]},
    }
    rows = [{"symbol": symbol, "price": f"{position}.00"} for symbol in ("B", "A")]
    entry = lifecycle.entry("gap.opened", since_ns=received_ns, cause="closed")
    stream, kind, payload = (
        (quotes, Kind.DATA, orjson.dumps(rows)),
        (news, Kind.DATA, orjson.dumps(sent)),
        (quotes, Kind.DATA, b'[{"symbol":'),
        (news, Kind.LIFECYCLE, entry),
        (quotes, Kind.DATA, b"\xff"),
    )[position % 5]
    return Message(position, stream, kind, Mark.NONE, received_ns, position, 1, payload)
