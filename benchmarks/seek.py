"""How soon the first message comes from an arbitrary moment of a long recording, and what memory that takes.

Thirty days, 10 million quotes of 250 bytes, an hour a part, all registered. A seek is everything from the moment to the
message in hand: registry, file, row group, pages, Python object. Done with the files in the page cache, and again
with each file pushed out of it before. The yardstick is plain pyarrow told the right file and row group beforehand, so
that it has nothing to look for. Every message found is compared with the one that has to come first.
"""

from __future__ import annotations

import bisect
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import _recording
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _bench import Report, apart, arguments, quantile, resident_mb, run, scratch

import recorder
from recorder.journal.registry import Part

FIRST_MS_MAX = 50.0
GROWTH_MAX = 1.15  # resident memory after the last seek against that after a quarter of them
WARM_UP = 20  # first calls load what Arrow loads lazily


@dataclass(slots=True)
class Sought:
    opened_ms: float = 0.0
    seek_ms: list[float] = field(default_factory=list)
    resident_mb: list[float] = field(default_factory=list)  # after 25, 50, 75 and 100 % of the seeks
    wrong: int = 0


def spacing_ns(messages: int, hours: int) -> int:
    return _recording.received_ns(2, messages, hours) - _recording.received_ns(1, messages, hours)


def moments(messages: int, hours: int, seeks: int) -> list[tuple[int, int]]:
    """Moments between messages, with the position that has to come first."""
    dice = random.Random(3)
    step = spacing_ns(messages, hours)
    positions = [dice.randrange(2, messages + 1) for _ in range(seeks)]
    return [(_recording.received_ns(position, messages, hours) - step // 2, position) for position in positions]


def seek(data: Path, parts: list[Part], messages: int, hours: int, seeks: int, cold: bool) -> Sought:
    """By recorder."""
    done = Sought()
    began = time.perf_counter()
    recording = recorder.open(data)
    done.opened_ms = (time.perf_counter() - began) * 1000

    def first(moment_ns: int) -> int:
        return next(recording.messages(moment_ns)).position

    return measured(done, first, data, parts, moments(messages, hours, seeks + WARM_UP), cold)


def plain(data: Path, parts: list[Part], messages: int, hours: int, seeks: int, cold: bool) -> Sought:
    """By pyarrow that knows the file: the row itself, out of as few columns and rows as it can be asked for."""
    lasts = [part.last_received_ns for part in parts]

    def first(moment_ns: int) -> int:
        part = parts[bisect.bisect_left(lasts, moment_ns)]
        with pq.ParquetFile(data / part.path) as file:
            for batch in file.iter_batches(16_384):
                at = pc.index(pc.greater_equal(batch["received_at"].cast(pa.int64()), moment_ns), True).as_py()
                if at >= 0:
                    position: int = batch.slice(at, 1).to_pylist()[0]["position"]
                    return position
        raise AssertionError("behind the end")

    return measured(Sought(), first, data, parts, moments(messages, hours, seeks + WARM_UP), cold)


def measured(
    done: Sought, first: object, data: Path, parts: list[Part], wanted: list[tuple[int, int]], cold: bool
) -> Sought:
    assert callable(first)
    lasts = [part.last_position for part in parts]
    for turn, (moment_ns, position) in enumerate(wanted):
        if cold:
            forget(data / parts[bisect.bisect_left(lasts, position)].path)
        began = time.perf_counter()
        found = first(moment_ns)
        took_ms = (time.perf_counter() - began) * 1000
        done.wrong += found != position
        if turn >= WARM_UP:
            done.seek_ms.append(took_ms)
        if (
            len(done.seek_ms) >= (len(wanted) - WARM_UP) * (len(done.resident_mb) + 1) // 4
            and len(done.resident_mb) < 4
        ):
            done.resident_mb.append(resident_mb())
    return done


def forget(path: Path) -> None:
    """Push a file out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # what is not written yet cannot be pushed out
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000, help="in the recording (default 10,000,000)")
    parser.add_argument("--hours", type=int, default=24 * 30, help="it spans, an hour a part (default 720)")
    parser.add_argument("--seeks", type=int, default=300, help="of each kind and round (default 300)")
    options = parser.parse_args()
    report = Report(f"Seeking in {options.messages:,} messages of {options.hours / 24:g} days", as_json=options.json)
    wrong, flat, worst = 0, True, 0.0
    with scratch(options.dir) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        began = time.perf_counter()
        made = _recording.make(data, options.messages, options.hours)
        report.said(f"made in {time.perf_counter() - began:.1f} s, {made.file_bytes / 1e6:.0f} MB")
        for turn in range(options.rounds):
            report.said(f"round {turn + 1}")
            for cold in (False, True):
                where = "from the disk" if cold else "from the page cache"
                for how in (plain, seek):
                    done = apart(how, data, made.parts, options.messages, options.hours, options.seeks, cold)
                    name = f"{'recorder' if how is seek else 'plain pyarrow, told the file'}, {where}"
                    for share, word in ((0.5, "p50"), (0.99, "p99"), (1.0, "worst")):
                        report.take(f"{name}: {word}", quantile(done.seek_ms, share), "ms")
                    wrong += done.wrong
                    if how is seek:
                        report.take(f"{name}: opening", done.opened_ms, "ms")
                        report.take(f"{name}: resident at 25 %", done.resident_mb[0], "MB")
                        report.take(f"{name}: resident at 100 %", done.resident_mb[3], "MB")
                        flat &= done.resident_mb[3] <= done.resident_mb[0] * GROWTH_MAX
                        worst = max(worst, report.median(f"{name}: p99"))
    report.claim(f"the first message within {FIRST_MS_MAX:g} ms (p99 {worst:.1f} ms)", holds=worst <= FIRST_MS_MAX)
    report.claim("it is the right one, always", holds=wrong == 0)
    report.claim(f"steady memory: at the end at most {GROWTH_MAX} times that at a quarter", holds=flat)
    return report.finish()


if __name__ == "__main__":
    run(main)
