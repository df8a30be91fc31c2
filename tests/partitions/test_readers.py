"""A query that runs through seals, compactions and new catalogues sees each message once and does not fail."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import duckdb
import orjson
import pytest

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions import catalog
from recorder.partitions.apart import Apart
from recorder.partitions.catalog import CATALOG
from recorder.partitions.sealer import Sealer
from recorder.partitions.upkeep import Upkeep

QUOTES = Stream("prices", "finance_query.quotes")
COUNTS = "SELECT count(*), count(DISTINCT position), coalesce(max(position), 0) FROM messages"


async def append(journal: Journal, *payloads: bytes) -> None:
    first = journal.append(QUOTES, Kind.DATA, 1, payloads, Mark.NONE, Clock().now())
    await journal.wait_durable(first + len(payloads) - 1)


READER = """
import json, sys, time
from pathlib import Path
import duckdb
from recorder.partitions.catalog import connect
from recorder.replay.timeline import Timeline

data, how = Path(sys.argv[1]), sys.argv[2]
stop = data / "_stop"
query = sys.argv[3]
pause_s = float(sys.argv[4])
seen = {"queries": 0, "errors": [], "expired": 0, "missing": 0, "doubled": 0, "last": 0}

def open_catalogue():
    if how == "connect":
        return connect(data)
    return duckdb.connect(str(data / "catalog.duckdb"), read_only=True)

def counts():
    if how != "replay":
        return held.sql(query).fetchall()[0]
    positions = [n for batch in Timeline(data).batches(1) for n in batch["position"].to_pylist()]
    return len(positions), len(set(positions)), max(positions)

held = open_catalogue()
print("reading", flush=True)
while not stop.exists():
    time.sleep(pause_s)
    try:
        if how != "long-lived":
            held.close()
            held = open_catalogue()
        count, distinct, last = counts()
        seen["queries"] += 1
        seen["missing"] += last - distinct
        seen["doubled"] += count - distinct
        seen["missing"] += last < seen["last"]
        seen["last"] = last
    except Exception as error:
        if how == "long-lived" and "catalogue-expired-please-reconnect" in str(error):
            seen["expired"] += 1
            held.close()
            held = open_catalogue()
        else:
            seen["errors"].append(repr(error))
print(json.dumps(seen))
"""


@pytest.mark.slow
async def test_readers_in_other_processes_see_every_message_once_while_sealing_goes_on(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, settings.Journal(commit_interval_ms=1), Clock())
    made = Sealer(tmp_path, journal, 64 << 20, Clock())
    await append(journal, b"[]")
    await made.seal()
    readers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READER, str(tmp_path), how, COUNTS, "0"), stdout=asyncio.subprocess.PIPE
        )
        for how in ("reconnecting", "long-lived", "connect")
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"reading\n"
    recording = asyncio.create_task(_record_for_ever(journal))
    loop = asyncio.get_running_loop()
    seals = 0
    while seals < 15:
        next_seal = loop.time() + 0.2
        seals += (await made.seal()).rounds
        await asyncio.to_thread(catalog.publish_catalog, tmp_path)  # rewritten, though it says the same
        await asyncio.sleep(next_seal - loop.time())
    recording.cancel()
    (tmp_path / "_stop").touch()
    seen = [json.loads((await reader.communicate())[0]) for reader in readers]
    await append(journal, b"[]")  # when this is durable, all before it is
    await made.seal()
    for reader_saw in seen:
        assert reader_saw["errors"] == []
        assert (reader_saw["missing"], reader_saw["doubled"]) == (0, 0)
        assert reader_saw["queries"] >= 5
        assert reader_saw["last"] > 1, "the recording went on while it was read"
    with duckdb.connect(str(tmp_path / CATALOG), read_only=True) as connection:
        assert connection.sql(COUNTS).fetchall() == [(journal.durable,) * 3]
    await made.close()
    await journal.close()


async def _record_for_ever(journal: Journal) -> None:
    symbol = 0
    while True:
        symbol += 1
        payloads = [orjson.dumps([{"symbol": f"S{symbol % 9}", "price": f"{symbol}.00"}]) for _ in range(20)]
        await append(journal, *payloads)


PAUSE_S = "0.2"  # between the queries of a reader, or sealing would have to wait for a core
GRACE_S = 5.0  # more than any query here takes
ROUNDS = 36
ROUND_NS = 2500 * SECOND_NS  # 25 hours in all
LONG_AGO_NS = 1_732_219_200 * SECOND_NS


@pytest.mark.slow
async def test_readers_in_other_processes_see_every_message_once_while_hours_and_days_are_compacted(
    tmp_path: Path,
) -> None:
    journal = Journal.open(tmp_path, settings.Journal(commit_interval_ms=1), Clock())
    made = Sealer(tmp_path, journal, 64 << 20, Clock())
    upkeep = Upkeep(tmp_path, journal, settings.Compact(level=3, grace_s=GRACE_S), Clock(), made.show, Apart(0))

    async def record(round_: int) -> None:
        moment = Moment(LONG_AGO_NS + round_ * ROUND_NS, round_ * ROUND_NS)
        payloads = [orjson.dumps([{"symbol": f"S{n % 9}", "price": f"{n}.00"}]) for n in range(20)]
        first = journal.append(QUOTES, Kind.DATA, 1, payloads, Mark.NONE, moment)
        await journal.wait_durable(first + len(payloads) - 1)
        await made.seal()

    await record(0)
    readers = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", READER, str(tmp_path), how, COUNTS, PAUSE_S), stdout=asyncio.subprocess.PIPE
        )
        for how in ("reconnecting", "long-lived", "connect", "replay")
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"reading\n"
    deleted = works = 0
    for round_ in range(1, ROUNDS):
        await record(round_)
        if round_ % 6 == 0:
            done = await upkeep.compact()
            deleted, works = deleted + done.deleted_files, works + done.works
    (tmp_path / "_stop").touch()
    seen = [json.loads((await reader.communicate())[0]) for reader in readers]
    for reader_saw in seen:
        assert reader_saw["errors"] == []
        assert (reader_saw["missing"], reader_saw["doubled"]) == (0, 0)
        assert reader_saw["queries"] >= 5
        assert reader_saw["last"] > 20, "the recording went on while it was read"
    assert seen[1]["expired"] > 0, "its files were deleted, and it was told"
    assert works >= 20
    assert deleted > 20
    with duckdb.connect(str(tmp_path / CATALOG), read_only=True) as connection:
        assert connection.sql(COUNTS).fetchall() == [(ROUNDS * 20,) * 3]
    await upkeep.close()
    await made.close()
    await journal.close()
