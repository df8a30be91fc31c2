"""How fast a program reads a recording in process: Arrow batches and Python objects, of quotes of 250 bytes.

Yardsticks in the same round: plain pyarrow reading the same files (whole files, and in batches: the better of the two
counts), and a bare `websockets` send loop over loopback that sends the same texts to a reader that throws them away.
Each reader has a process of its own; every reader counts what it got.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import _bare_send
import _recording
import pyarrow.parquet as pq
from _bench import Report, apart, arguments, resident_mb, run, scratch

import recorder

BATCHES_MIN = 0.5  # of plain pyarrow
MESSAGES_MIN = 4.0  # of the bare loop
MESSAGES_PER_S_MIN = 300_000

Reached = tuple[int, float, float]  # messages, seconds, growth of resident memory in MB


def timed(read: Callable[[], int]) -> Reached:
    before = resident_mb()
    began = time.perf_counter()
    messages = read()
    return messages, time.perf_counter() - began, resident_mb() - before


def files(data: Path) -> list[Path]:
    return sorted(data.glob("messages/hot/*/*.parquet"))


def pyarrow_whole(data: Path) -> Reached:
    return timed(lambda: sum(pq.ParquetFile(path).read().num_rows for path in files(data)))


def pyarrow_batches(data: Path) -> Reached:
    return timed(lambda: sum(batch.num_rows for path in files(data) for batch in pq.ParquetFile(path).iter_batches()))


def batches(data: Path) -> Reached:
    return timed(lambda: sum(batch.num_rows for batch in recorder.open(data).batches()))


def one_symbol(data: Path) -> Reached:
    """All rows are searched; those found count only for the check that there are some."""
    messages, seconds, growth = timed(
        lambda: sum(batch.num_rows for batch in recorder.open(data).batches(symbols=_recording.SYMBOLS[0]))
    )
    assert messages > 0
    return messages, seconds, growth


def messages(data: Path) -> Reached:
    def read() -> int:
        number = 0
        for _ in recorder.open(data).messages():
            number += 1
        return number

    return timed(read)


def payloads(data: Path) -> Reached:
    """Messages with something done to each: the length of its text."""

    def read() -> int:
        lengths = [len(message.payload) for message in recorder.open(data).messages()]
        assert sum(lengths) == len(lengths) * _recording.MESSAGE_BYTES
        return len(lengths)

    return timed(read)


def bare(texts: list[str], count: int) -> float:
    return _bare_send.rate(texts, count)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=2_000_000, help="in the recording (default 2,000,000)")
    parser.add_argument("--hours", type=int, default=24, help="it spans, an hour a part (default 24)")
    parser.add_argument("--bare-messages", type=int, default=200_000, help="of the bare loop (default 200,000)")
    options = parser.parse_args()
    report = Report(f"Reading {_recording.MESSAGE_BYTES}-byte messages in process", as_json=options.json)
    complete = True
    with scratch(options.dir) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        made = _recording.make(data, options.messages, options.hours)
        report.take("on disk", made.file_bytes / made.messages, "bytes/message")
        texts = _recording.texts(1, 20_000).to_pylist()
        deque(map(Path.read_bytes, files(data)), maxlen=0)  # no reader is the first to ask the disk
        for turn in range(options.rounds):
            report.said(f"round {turn + 1}")
            report.take("bare websockets send loop", apart(bare, texts, options.bare_messages), "messages/s")
            for read in (pyarrow_whole, pyarrow_batches, batches, messages, payloads, one_symbol):
                found, seconds, growth = apart(read, data)
                name = read.__name__.replace("_", " ")
                report.take(name, options.messages / seconds, "rows/s")
                report.take(f"{name}: growth of resident memory", growth, "MB")
                complete &= read is one_symbol or found == options.messages
    plain = max(report.median("pyarrow whole"), report.median("pyarrow batches"))
    against_plain = report.median("batches") / plain
    against_bare = report.median("messages") / report.median("bare websockets send loop")
    report.take("RATIO, batches", against_plain, "x the better plain pyarrow")
    report.take("RATIO, messages", against_bare, "x the bare send loop")
    report.claim(f"Arrow batches at least {BATCHES_MIN} of plain pyarrow", holds=against_plain >= BATCHES_MIN)
    report.claim(f"Python objects at least {MESSAGES_MIN} x the bare send loop", holds=against_bare >= MESSAGES_MIN)
    enough = report.median("messages") >= MESSAGES_PER_S_MIN
    report.claim(f"Python objects at least {MESSAGES_PER_S_MIN:,} a second", holds=enough)
    report.claim("every reader got every message", holds=complete)
    return report.finish()


if __name__ == "__main__":
    run(main)
