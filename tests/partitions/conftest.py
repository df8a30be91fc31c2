from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from recorder.clock import Moment
from recorder.journal.group import Group, GroupBuilder, unpack
from recorder.journal.store import Store
from recorder.message import Message
from recorder.partitions.messages import table_of

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
