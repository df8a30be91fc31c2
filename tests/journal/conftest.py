"""Groups and recordings of known content: what was put is what is compared with, never what was read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from recorder import settings
from recorder.clock import MS_NS, Moment
from recorder.journal.group import GroupBuilder
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream

QUOTES = Stream("quotes", "finance_query.quotes")
NEWS = Stream("news", "finlight")

MakeMessages = Callable[..., list[Message]]
AppendGroups = Callable[[Store, Sequence[Sequence[Message]]], None]


def at(position: int) -> Moment:
    """A message a millisecond, whatever is tested."""
    return Moment(1_700_000_000_000_000_000 + position * MS_NS, 5_000_000_000 + position * MS_NS)


@pytest.fixture(scope="session")
def make_messages() -> MakeMessages:
    """Messages first to last whose payloads say their position, `size` bytes each."""

    def make(first: int, last: int, size: int = 60, stream: Stream = QUOTES) -> list[Message]:
        return [
            Message(
                position,
                stream,
                Kind.DATA,
                Mark.NONE,
                at(position).utc_ns,
                at(position).monotonic_ns,
                1,
                (b"%020d " % position * (size // 21 + 1))[:size],
            )
            for position in range(first, last + 1)
        ]

    return make


@pytest.fixture(scope="session")
def append_groups() -> AppendGroups:
    """Append each list of messages to a store as one group."""

    def append(store: Store, groups: Sequence[Sequence[Message]]) -> None:
        for messages in groups:
            builder = GroupBuilder(messages[0].position)
            for m in messages:
                moment = Moment(m.received_ns, m.monotonic_ns)
                builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, moment)
            store.append(builder.pack(), builder.first_position, builder.last_position, *builder.received_ns)

    return append


@pytest.fixture
def limits() -> settings.Journal:
    """Quick ones, so that no test waits for a commit longer than it must."""
    return settings.Journal(commit_interval_ms=2, retry_s=0.05, give_up_s=30.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder
