"""Days of quotes and articles as a recorder would leave them: real frames, real conversion, real compaction.

In: how many rows of quotes, how many articles. Out: a data directory with whole days compacted, the hours of the last
day as files of an hour, and its last hour in parts of a minute. Frames of SYMBOLS quotes come every five seconds, the
articles anywhere between them. Sealing of hours that are over is not synced, and in larger pieces than a minute.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from contextlib import closing
from pathlib import Path

import orjson
import pyarrow as pa
from _recording import seal

from recorder import settings
from recorder.clock import SECOND_NS, Clock
from recorder.journal.registry import Part
from recorder.journal.standing import Standing, StreamStanding
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Stream
from recorder.partitions import catalog, layout
from recorder.partitions.schema import MESSAGES_SCHEMA, MOMENT
from recorder.partitions.upkeep import Upkeep

SYMBOLS = tuple(f"{first}{second}X" for first in "ABCDEFGHIJ" for second in "ABCDE")
START_NS = 1_793_577_600 * SECOND_NS  # Monday, 2026-11-02, midnight
EVERY_NS = 5 * SECOND_NS
HOUR_FRAMES = layout.HOUR_NS // EVERY_NS
MINUTE_NS = 60 * SECOND_NS
LEVEL = 12  # of zstd, for messages' sake: with 19 they would take a core a quarter of an hour
PRICES, NEWS = Stream("prices", "finance_query.quotes"), Stream("news", "finlight")


def make(data: Path, rows: int, articles: int) -> None:
    """Fill `data`, which does not exist yet."""
    data.mkdir(parents=True)
    frames = rows // len(SYMBOLS)
    dice = random.Random(7)
    told_ns = sorted(START_NS + dice.randrange(frames * EVERY_NS) for _ in range(articles))
    cents = [dice.randrange(1_000, 90_000) for _ in SYMBOLS]
    parts: list[Part] = []
    position = 1
    for first in range(0, frames, HOUR_FRAMES):
        last = min(first + HOUR_FRAMES, frames)
        begin_ns, end_ns = START_NS + first * EVERY_NS, START_NS + last * EVERY_NS
        entries = [(begin_ns + n * EVERY_NS, PRICES, _quotes(dice, cents)) for n in range(last - first)]
        news = told_ns[bisect_left(told_ns, begin_ns) : bisect_left(told_ns, end_ns)]
        entries += [(ns, NEWS, _article(dice, ns)) for ns in news]
        messages = _table(position, sorted(entries))
        position += len(messages)
        if last < frames:
            parts += seal(data, messages)
        else:
            parts += _minutes(data, messages)
    with closing(Store.open(data)) as store:
        streams = {PRICES: StreamStanding(), NEWS: StreamStanding()}
        store.register(parts, position - 1, Standing(position - 1, parts[-1].last_received_ns, streams=streams))
    asyncio.run(_compact(data))


def _quotes(dice: random.Random, cents: list[int]) -> bytes:
    rows = []
    for number, symbol in enumerate(SYMBOLS):
        cents[number] = price = max(100, cents[number] + dice.randrange(-9, 10))
        rows.append(
            f'{{"symbol":"{symbol}","name":"{symbol} Holdings","price":"{price // 100:,}.{price % 100:02}",'
            f'"change":"{price % 300 - 150:+}.00","percentChange":"{price % 200 - 100:+}.25%",'
            f'"logo":"https://img.logo.dev/ticker/{symbol}?token=pk_Xd1Cdye3QYmCOXzcvxhxyw&retina=true"}}'
        )
    return f"[{','.join(rows)}]".encode()


def _article(dice: random.Random, ns: int) -> bytes:
    tickers = [{"ticker": symbol, "name": f"{symbol} Holdings"} for symbol in dice.sample(SYMBOLS, dice.randint(1, 3))]
    said = {"link": f"https://example.com/{ns}", "source": "example.com", "title": f"Headline {ns}", "language": "en"}
    return orjson.dumps({"action": "sendArticle", "data": {**said, "sentiment": "neutral", "companies": tickers}})


def _table(first: int, entries: list[tuple[int, Stream, bytes]]) -> pa.Table:
    count = len(entries)
    streams = [stream for _, stream, _ in entries]
    return pa.table(
        [
            pa.array(range(first, first + count), pa.int64()),
            pa.array([ns for ns, _, _ in entries], pa.int64()).cast(MOMENT),
            pa.array([ns - START_NS for ns, _, _ in entries], pa.int64()),
            pa.array([stream.feed for stream in streams]),
            pa.array([stream.feed_kind for stream in streams]),
            pa.array([stream.channel for stream in streams]),
            pa.repeat("data", count),
            pa.repeat(pa.scalar(1, pa.int64()), count),
            pa.nulls(count, pa.string()),
            pa.array([text.decode() for _, _, text in entries]),
            pa.nulls(count, pa.binary()),
        ],
        schema=MESSAGES_SCHEMA,
    )


def _minutes(data: Path, messages: pa.Table) -> list[Part]:
    parts: list[Part] = []
    start, times = 0, messages["received_at"].cast(pa.int64()).to_pylist()
    while start < len(times):
        stop = bisect_left(times, (times[start] // MINUTE_NS + 1) * MINUTE_NS)
        parts += seal(data, messages.slice(start, stop - start))
        start = stop
    return parts


async def _compact(data: Path) -> None:
    clock = Clock()
    journal = Journal.open(data, settings.Journal(), clock)

    async def show() -> str:
        return catalog.refresh(data, "")

    await Upkeep(data, journal, settings.Compact(grace_s=0, level=LEVEL), clock, show).compact()
    await journal.close()
