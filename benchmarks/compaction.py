"""What compacting a day costs, what it saves, and that recording does not feel it.

The day: quotes of 250 bytes, one symbol each, 100 a second, a part a minute and table, as sealing leaves them; by
default one hour of it, which becomes an hour's files and then a day's. Cost: processor seconds and peak memory of a
process that does nothing else.

Felt: the whole recorder at 2,000 messages/s, on that recording, with its own compaction under way all the time and, in
turns, with none. The yardstick is its received-to-durable p99 without.

Saved: bytes a message of quotes, profile, market and news after compaction, against zstd -19 of an NDJSON that says the
same as `messages`, in one piece.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import zstandard
from _bench import Report, apart, arguments, quantile, run, scratch
from _feeds import ndjson, recorded
from _feeds import table as feed_table
from _recording import STREAM, seal, table
from _sender import Sender

from recorder import settings
from recorder.clock import MS_NS, Clock
from recorder.daemon import Daemon
from recorder.journal.figures import Histogram
from recorder.journal.registry import Part
from recorder.journal.standing import Standing, StreamStanding
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.partitions import catalog, layout, schema
from recorder.partitions.schema import MESSAGES
from recorder.partitions.upkeep import Compacted, Upkeep
from recorder.settings import Settings

T = TypeVar("T")

PER_S = 100
MINUTE_MESSAGES = 60 * PER_S
LIVE_PER_S = 2000
TIMES_MAX = 2.0  # p99 with compaction against without
MESSAGES_MAX, ALL_MAX = 1.3, 2.2  # bytes against zstd -19
FEEDS = {"quotes": 8640, "profile": 8640, "market": 1440, "news": 4000}  # frames
DAY = {"quotes": 17_280, "profile": 17_280, "market": 17_280, "news": 4320}
NEVER_S = 86_400.0
LOOK_S = 0.05


class Here:
    """Work in this process, so that its figures are the work's."""

    async def do(self, task: Callable[[], T]) -> T:
        return task()

    def kill(self) -> None:
        """Nothing else is there."""

    async def end(self) -> None:
        """Nor to be let go."""


# --- a recording, made in seconds ---------------------------------------------------------------------------------


def fill(data: Path, hours: int) -> None:
    """A part a minute and table, for so many hours, and one in the next day, so that all of them are over."""
    parts = []
    for minute in range(hours * 60):
        parts += seal(data, table(minute * MINUTE_MESSAGES + 1, MINUTE_MESSAGES, hours * 60 * MINUTE_MESSAGES, hours))
    parts += seal(data, in_the_next_day(table(1, 1, 1, 1), hours * 60 * MINUTE_MESSAGES + 1))
    register(data, parts)


def register(data: Path, parts: list[Part]) -> None:
    last = max(parts, key=lambda part: part.last_position)
    with closing(Store.open(data)) as store:
        standing = Standing(last.last_position, last.last_received_ns, streams={STREAM: StreamStanding()})
        store.register(parts, last.last_position, standing)


# --- what it costs --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Cost:
    cpu_s: float
    peak_mb: float
    done: Compacted


def compact(data: Path) -> Cost:
    """All of it, in this process; what Python and its libraries take before is not counted as processor time."""
    before = time.process_time()
    done = asyncio.run(_compact(data))
    return Cost(time.process_time() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, done)


async def _compact(data: Path) -> Compacted:
    journal = Journal.open(data, settings.Journal(), Clock())

    async def show() -> str:
        return catalog.refresh(data, "")

    upkeep = Upkeep(data, journal, settings.Compact(grace_s=0), Clock(), show, Here())
    done = await upkeep.compact()
    await journal.close()
    return done


# --- whether recording feels it -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Commits(Histogram):
    """The journal's figure, which also keeps each single time."""

    each_ms: list[float] = field(default_factory=list)

    def take_since(self, arrivals: list[tuple[int, int]], until_ns: int) -> None:
        Histogram.take_since(self, arrivals, until_ns)
        for arrival_ns, number in arrivals:
            self.each_ms += [(until_ns - arrival_ns) / MS_NS] * number


@dataclass(slots=True)
class Felt:
    received_ms: list[float]  # from the receive time to durable, a message each
    busy: float  # share of the time in which a compaction was under way


def record(url: str, messages: int, data: Path, compact_s: float) -> Felt:
    return asyncio.run(_record(url, messages, data, compact_s))


async def _record(url: str, messages: int, data: Path, compact_s: float) -> Felt:
    logging.disable(logging.WARNING)
    feed = {"kind": "finlight", "url": url, "backfill": False}
    given = {"data": data, "seal": {"interval_s": 5}, "compact": {"interval_s": compact_s}, "feeds": {"news": feed}}
    daemon = Daemon(Settings.model_validate(given), {})
    commits = daemon.journal.figures.received_to_durable = Commits()
    running = asyncio.create_task(daemon.run())
    busy = looks = 0
    while commits.count < messages:
        await asyncio.sleep(LOOK_S)
        if running.done():
            running.result()
        looks += 1
        busy += daemon.keeping.upkeep.busy
    daemon.stop()
    await running
    return Felt(commits.each_ms[-messages:], busy / looks)


# --- what it saves --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Saved:
    yardstick: float  # bytes a message, as all of these
    messages: float
    everything: float


def save(name: str, frames: int, data: Path) -> Saved:
    """A day's files of one feed, against its NDJSON."""
    messages = feed_table(recorded(name, frames))
    yardstick = len(zstandard.ZstdCompressor(level=19, threads=-1).compress(ndjson(messages)))
    parts = []
    for hour in layout.split_at_hours(messages["received_at"].combine_chunks().cast(pa.int64())):
        parts += seal(data, messages.slice(hour.start, hour.stop - hour.start))
    parts += seal(data, in_the_next_day(messages.slice(0, 1), frames + 1))
    register(data, parts)
    asyncio.run(_compact(data))
    with closing(Store.open_readonly(data)) as store:
        stay = [part for part in store.parts() if layout.hour_in(part.path) is None]
    whole = [part for part in stay if part.table_name == MESSAGES]
    assert sum(part.row_count for part in whole) == frames
    bytes_of = (yardstick, sum(part.byte_count for part in whole), sum(part.byte_count for part in stay))
    return Saved(*(size / frames for size in bytes_of))


def in_the_next_day(message: pa.Table, position: int) -> pa.Table:
    """A message behind all others, so that the day before is over."""
    moment = message["received_at"].cast(pa.int64())[0].as_py()
    later = pa.array([moment + 24 * layout.HOUR_NS], pa.int64()).cast(schema.MOMENT)
    where = message.schema.get_field_index
    moved = message.set_column(where("position"), "position", pa.array([position], pa.int64()))
    return moved.set_column(where("received_at"), "received_at", later).cast(message.schema)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--full", action="store_true", help="a whole day, of everything; takes an hour")
    parser.add_argument("--seconds", type=int, default=15, help="of recording, a round (default 15)")
    options = parser.parse_args()
    report = Report("Compacting a day of recording", as_json=options.json)
    hours = 24 if options.full else 1
    with scratch(options.dir) as folder, Sender() as sender:
        ready = Path(folder) / "ready"
        ready.mkdir()
        report.said(f"making {hours} h at {PER_S} messages/s")
        apart(fill, ready, hours)
        _cost(report, ready, Path(folder) / "cost", hours)
        for turn in range(options.rounds):
            messages = options.seconds * LIVE_PER_S
            for name, compact_s in (("without", NEVER_S), ("with compaction", 0.2)):
                report.said(f"round {turn + 1}: recording {name}")
                data = Path(folder) / "live"
                shutil.copytree(ready, data)
                felt = apart(record, sender.url(messages, LIVE_PER_S), messages, data, compact_s)
                shutil.rmtree(data)
                report.take(f"received to durable {name}: p50", quantile(felt.received_ms, 0.5), "ms")
                report.take(f"received to durable {name}: p99", quantile(felt.received_ms, 0.99), "ms")
                report.take(f"compacting {name}", 100 * felt.busy, "% of the time")
        for name, frames in (DAY if options.full else FEEDS).items():
            report.said(f"{name}: {frames:,} frames")
            data = Path(folder) / name
            data.mkdir()
            _saved(report, name, apart(save, name, frames, data))
    bare_ms, with_ms = (report.median(f"received to durable {how}: p99") for how in ("without", "with compaction"))
    report.take("RATIO p99", with_ms / bare_ms, "x that without compaction")
    sentence = f"while a day is compacted, p99 is at most {TIMES_MAX:g} x that without"
    report.claim(f"{sentence}: {with_ms:.1f} and {bare_ms:.1f} ms", holds=with_ms <= TIMES_MAX * bare_ms)
    return report.finish()


def _cost(report: Report, ready: Path, data: Path, hours: int) -> None:
    shutil.copytree(ready, data)
    report.said(f"compacting {hours} h")
    cost = apart(compact, data)
    messages = hours * 60 * MINUTE_MESSAGES
    report.take(f"compacting {messages:,} messages: processor", cost.cpu_s, "s")
    report.take("processor a day at 100 messages/s", cost.cpu_s * 24 / hours, "s")
    report.take("peak memory", cost.peak_mb, "MB")
    report.take("parts before", cost.done.parts_before, "")
    report.take("parts after", cost.done.parts_after, "")
    report.take("deleted afterwards", cost.done.deleted_files, "files")
    shutil.rmtree(data)


def _saved(report: Report, name: str, saved: Saved) -> None:
    report.take(f"{name}: zstd -19 of the NDJSON", saved.yardstick, "B/message")
    report.take(f"{name}: messages", saved.messages, "B/message")
    report.take(f"{name}: with all typed tables", saved.everything, "B/message")
    for what, size, most in (("messages", saved.messages, MESSAGES_MAX), ("everything", saved.everything, ALL_MAX)):
        ratio = size / saved.yardstick
        report.take(f"RATIO {name}, {what}", ratio, "x zstd -19")
        report.claim(f"{name}: {what} below {most} x zstd -19: {ratio:.2f}", holds=ratio < most)


if __name__ == "__main__":
    run(main)
