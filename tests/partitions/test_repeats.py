"""A closed market sends the same frame again and again: next to nothing on the disk, and each with its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import compact
from recorder.partitions.merge import merge
from recorder.partitions.schema import MESSAGES
from recorder.partitions.seal import seal

HOUR_NS = 3600 * 10**9
EVENING_NS = 1_732_219_200 * 10**9
FRAMES = 700  # an hour's, about
DAY_S = 86_400
LEVEL = 19


@pytest.mark.parametrize(("name", "bytes_max"), [("quotes.2", 37), ("profile.2", 80)])
def test_a_frame_that_repeats_costs_a_few_bytes_and_keeps_its_time(
    tmp_path: Path,
    journal: Callable[[Path, Iterable[Message], int], None],
    frame: Callable[[str], bytes],
    name: str,
    bytes_max: int,
) -> None:
    payload, (name, _) = frame(name), name.split(".")
    stream = Stream(name, f"finance_query.{name}", "AAPL")
    times = [EVENING_NS + n * 5 * 10**9 + n * 7919 % 200 * 10**6 for n in range(FRAMES)]
    times.append(times[0] + DAY_S * 10**9)
    journal(
        tmp_path, [Message(n, stream, Kind.DATA, Mark.NONE, at, n, 1, payload) for n, at in enumerate(times, 1)], 50
    )
    made = seal(tmp_path, 1, len(times))
    day: list[Part] = []
    with closing(Store.open(tmp_path)) as store:
        store.register([replace(part, registered_ns=1) for part in made.parts], len(times), made.standing)
        while works := compact.plan(store.parts()):
            for work in works:
                day = merge(tmp_path, work, LEVEL)
                store.replace(work.inputs, day, 1, hot_since=work.hot_since)
        stays = [part for part in store.parts() if part.last_position <= FRAMES]
    assert sum(part.byte_count for part in stays) < bytes_max * FRAMES < len(payload) * FRAMES / 20
    (messages,) = (part for part in stays if part.table_name == MESSAGES)
    rows = pq.read_table(tmp_path / messages.path)
    assert rows["received_at"].cast("int64").to_pylist() == times[:FRAMES]
    assert rows["text"].unique().to_pylist() == [payload.decode()]
