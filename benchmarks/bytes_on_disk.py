"""How many bytes a message takes on the disk once it is sealed, against the same messages as compressed NDJSON.

Two recordings: ten minutes of Finance Query's endpoints from the tests' frames, and ten minutes of generated trades of
253 bytes, 16 of them entropy. Each goes through the real journal and the real sealing: a part a minute, as a recorder
makes them, and all in one part. The yardsticks compress all lines in one piece, which no recorder that is to survive a
crash could do: gzip -6, zstd -3 and zstd -19 of NDJSON with receive time, path and text in each line.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import orjson
import zstandard
from _bench import Report, arguments, run, scratch

from recorder import settings
from recorder.clock import SECOND_NS, Clock, Moment
from recorder.journal.registry import Part
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream
from recorder.partitions.schema import MESSAGES
from recorder.partitions.sealer import Sealer

RECORDING = Path(__file__).parents[1] / "tests" / "frames" / "finance_query" / "recording.ndjson.zst"
TRADE_BYTES = 253
TRADES_SPAN_S = 600
GROUP_MESSAGES = 500  # how many are appended at once; has no effect on what is sealed
MINUTE_NS = 60 * SECOND_NS
START_NS = 1_795_291_740 * SECOND_NS  # on a full minute, and ten minutes on still in the same hour
ONE_PART_BYTES = ONE_PART_NS = 1 << 62
MINUTES, ONE_PART = "a part a minute", "one part"
LIMITS = {MINUTES: "gzip -6", ONE_PART: "zstd -3"}  # the yardsticks that are claimed to be met
ABOUT = "fills the message up to its size, as names and flags that never change do in real ones; " * 2


@dataclass(frozen=True, slots=True)
class Line:
    received_ns: int
    stream: Stream
    text: bytes


def recorded() -> Iterator[Line]:
    """The ten minutes, each line on the feed that its path belongs to."""
    for line in zstandard.decompress(RECORDING.read_bytes(), max_output_size=1 << 28).splitlines():
        row = orjson.loads(line)
        name, _, channel = row["path"].strip("/").partition("/")
        yield Line(row["received_ns"], Stream(name, f"finance_query.{name}", channel), row["text"].encode())


def trades(count: int) -> Iterator[Line]:
    """A random walk at an even mean pace; no typed table knows trades, so there is `messages` only."""
    dice = random.Random(4)
    stream = Stream("trades", "trades")
    price = 6_712_345
    for number in range(count):
        received_ns = START_NS + TRADES_SPAN_S * SECOND_NS * number // count + dice.randrange(100_000)
        price += dice.randrange(-50, 51)
        text = (
            f'{{"type":"trade","venue":"example","symbol":"BTC-USD","time_ms":{received_ns // 1_000_000},'
            f'"trade":{3_900_000_000 + number},"id":"{dice.randbytes(16).hex()}","price":"{price / 100:.2f}",'
            f'"size":"{dice.randrange(1, 1000) / 10_000:.4f}","side":"{dice.choice(("buy", "sell"))}","about":"'
        )
        yield Line(received_ns, stream, f'{text}{ABOUT[: TRADE_BYTES - 2 - len(text)]}"}}'.encode())


def lines_of(recording: Iterable[Line]) -> bytes:
    """NDJSON: receive time, path and text of each."""
    return b"".join(
        orjson.dumps({"received_ns": x.received_ns, "path": _path(x.stream), "text": x.text.decode()}) + b"\n"
        for x in recording
    )


def _path(stream: Stream) -> str:
    return f"/{stream.feed}/{stream.channel}".rstrip("/")


def compressed(recording: list[Line], level_19_max: int) -> dict[str, float]:
    """Bytes a message by yardstick. zstd -19 takes 0.2 ms a trade, so it gets no more than the first `level_19_max`."""
    plain, fewer = lines_of(recording), recording[:level_19_max]
    return {
        "NDJSON": len(plain) / len(recording),
        "gzip -6": len(gzip.compress(plain, 6)) / len(recording),
        "zstd -3": len(_zstd(plain, 3)) / len(recording),
        "zstd -19": len(_zstd(lines_of(fewer), 19)) / len(fewer),
    }


def _zstd(plain: bytes, level: int) -> bytes:
    return zstandard.ZstdCompressor(level=level, threads=-1).compress(plain)


async def sealed(recording: list[Line], data: Path, part_ns: int) -> list[Part]:
    """Journal it, and seal whenever so many nanoseconds of it are full."""
    clock = Clock()
    journal = Journal.open(data, settings.Journal(), clock)
    sealer = Sealer(data, journal, ONE_PART_BYTES, clock)
    dice = random.Random(5)
    for _, lines in groupby(recording, lambda line: line.received_ns // part_ns):
        position = 0
        for line in lines:
            # Two clocks are read one after the other, some ten nanoseconds apart.
            moment = Moment(line.received_ns, line.received_ns - START_NS + dice.randrange(50, 150))
            position = journal.append(line.stream, Kind.DATA, 1, [line.text], Mark.NONE, moment)
            if journal.figures.under_pressure:
                await journal.wait_durable(position)
        await journal.wait_durable(position)
        await sealer.seal()
    await sealer.close()
    await journal.close()
    store = Store.open_readonly(data)
    try:
        return store.parts()
    finally:
        store.close()


def main() -> int:
    parser = arguments(__doc__, rounds=None)
    parser.add_argument("--trades", type=int, default=1_000_000, help="how many are generated (default 1,000,000)")
    parser.add_argument("--level-19", type=int, default=100_000, help="trades for zstd -19 (default 100,000)")
    options = parser.parse_args()
    report = Report("Bytes a message on the disk", as_json=options.json)
    for name, recording in (("recording", list(recorded())), ("trades", list(trades(options.trades)))):
        report.said(f"{name}: {len(recording):,} messages")
        yardsticks = compressed(recording, options.level_19)
        for yardstick, size in yardsticks.items():
            report.take(f"{name}, {yardstick}", size, "B/message")
        for how, part_ns in ((MINUTES, MINUTE_NS), (ONE_PART, ONE_PART_NS)):
            with scratch(options.dir) as folder:
                parts = asyncio.run(sealed(recording, Path(folder) / "data", part_ns))
            whole = [part for part in parts if part.table_name == MESSAGES]
            assert sum(part.row_count for part in whole) == len(recording)
            messages = sum(part.byte_count for part in whole) / len(recording)
            everything = sum(part.byte_count for part in parts) / len(recording)
            report.take(f"{name}, {how}: files of messages", len(whole), "")
            report.take(f"{name}, {how}: messages", messages, "B/message")
            if len(parts) > len(whole):
                report.take(f"{name}, {how}: with typed tables", everything, "B/message")
            for other, size in yardsticks.items():
                report.take(f"RATIO {name}, {how}: messages to {other}", messages / size, "x")
            limit = LIMITS[how]
            ratio = messages / yardsticks[limit]
            report.claim(f"{name}, {how}: messages take no more than {limit}: {ratio:.2f}", holds=ratio <= 1)
    return report.finish()


if __name__ == "__main__":
    run(main)
