"""Frames of each kind of feed as they come in a day, and the NDJSON that says the same as `messages`.

In: a kind of feed, how many frames. Out: receive times and frames. Those of Finance Query are the demo's, whose prices
all change in every frame around the clock: nothing compresses worse. Articles are words by Zipf's law, since a newsroom
made of few sentences would compress like nothing on earth.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson
import pyarrow as pa

from recorder.clock import SECOND_NS
from recorder.demo.companies import COMPANIES
from recorder.demo.world import World
from recorder.message import Stream
from recorder.partitions.schema import MESSAGES_SCHEMA, MOMENT

EVERY_NS = 5 * SECOND_NS  # Finance Query's rhythm
START_NS = 1_795_478_400 * SECOND_NS  # Tuesday, 2026-11-24, midnight
SYMBOLS = 20
ARTICLE_EVERY_NS = 20 * SECOND_NS
WORDS = 30_000


@dataclass(frozen=True, slots=True)
class Recorded:
    stream: Stream
    received_ns: list[int]
    frames: list[bytes]


def recorded(name: str, count: int) -> Recorded:
    """So many frames of `quotes`, `profile`, `market` or `news`, from midnight on."""
    world, dice = World(1), random.Random(name)
    if name == "news":
        stream, every_ns, frame = Stream("news", "finlight"), ARTICLE_EVERY_NS, _articles(world, dice)
    else:
        stream = Stream(name, f"finance_query.{name}", "NVDA" if name == "profile" else "")
        every_ns, frame = EVERY_NS, _fetch(world, name)
    # The server's beat is even, the network's is not.
    times = [START_NS + number * every_ns + dice.randrange(SECOND_NS // 5) for number in range(count)]
    return Recorded(stream, times, [frame(ns) for ns in times])


def table(of: Recorded) -> pa.Table:
    """As rows of `messages`, from position 1 on."""
    count, dice = len(of.frames), random.Random(1)
    words = (of.stream.feed, of.stream.feed_kind, of.stream.channel, "data")
    return pa.table(
        [
            pa.array(range(1, count + 1), pa.int64()),
            pa.array(of.received_ns, pa.int64()).cast(MOMENT),
            # Two clocks are read one after the other, some ten nanoseconds apart.
            pa.array([ns - START_NS + dice.randrange(50, 150) for ns in of.received_ns], pa.int64()),
            *(pa.repeat(word, count) for word in words),
            pa.repeat(pa.scalar(1, pa.int64()), count),
            pa.nulls(count, pa.string()),
            pa.array([frame.decode() for frame in of.frames]),
            pa.nulls(count, pa.binary()),
        ],
        schema=MESSAGES_SCHEMA,
    )


def ndjson(messages: pa.Table) -> bytes:
    """A line a message with all that `messages` says of it; what is NULL is left out."""
    return b"".join(
        orjson.dumps({name: value for name, value in row.items() if value is not None}) + b"\n"
        for batch in messages.to_batches(max_chunksize=1000)
        for row in batch.set_column(1, "received_ns", batch["received_at"].cast(pa.int64())).to_pylist()
    )


def _fetch(world: World, name: str) -> Callable[[int], bytes]:
    symbols = frozenset(list(COMPANIES)[:SYMBOLS])
    if name == "quotes":
        return lambda ns: world.quotes(symbols, ns)
    return (lambda ns: world.profile("NVDA", ns)) if name == "profile" else world.market


def _articles(world: World, dice: random.Random) -> Callable[[int], bytes]:
    words = ["".join(dice.choices("etaoinshrdlucmfw", range(16, 0, -1), k=dice.randint(2, 9))) for _ in range(WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(WORDS)))
    given = _given(world)

    def text(least: int, most: int) -> str:
        return " ".join(dice.choices(words, cum_weights=weights, k=dice.randint(least, most)))

    def frame(_: int) -> bytes:
        sent = orjson.loads(next(given))
        sent["data"] |= {"content": text(200, 900), "summary": text(20, 60), "title": text(6, 14)}
        return orjson.dumps(sent)

    return frame


def _given(world: World) -> Iterator[bytes]:
    for second in itertools.count():
        yield from (article.frame for article in world.news.due(START_NS + second * SECOND_NS))
