"""Recordings of known content, made through the real store, sealed by the real sealing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.clock import Moment
from recorder.journal.group import GroupBuilder
from recorder.journal.store import Store
from recorder.message import Message
from recorder.partitions.seal import seal

Record = Callable[..., None]


@pytest.fixture
def record() -> Record:
    """Append messages to a data directory in groups of so many, and seal: each of `seals` is where a part ends.

    Positions may have holes, but no group spans one.
    """

    def append(data: Path, messages: Sequence[Message], *, per_group: int = 10, seals: Sequence[int] = ()) -> None:
        data.mkdir(exist_ok=True)
        with closing(Store.open(data)) as store:
            some: list[Message] = []
            for message in (*messages, None):
                if some and (message is None or len(some) == per_group or message.position != some[-1].position + 1):
                    builder = GroupBuilder(some[0].position)
                    for m in some:
                        moment = Moment(m.received_ns, m.monotonic_ns)
                        builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, moment)
                    packed, times = builder.pack(), builder.received_ns
                    store.append(packed, builder.first_position, builder.last_position, *times)
                    some = []
                if message is not None:
                    some.append(message)
            for last in seals:
                made = seal(data, store.sealed_position() + 1, last)
                store.register([replace(part, registered_ns=1) for part in made.parts], last, made.standing)
                while store.forget_sealed():
                    pass

    return append
