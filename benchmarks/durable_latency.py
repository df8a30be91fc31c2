"""How long a message takes from received to durable at 2,000 messages a second, message by message.

A paced sender in a process of its own; the whole recorder with its default commit interval and sealing every 5 s. The
yardstick, in turn with it: a bare append and fdatasync of as many bytes as a commit has, as often as the recorder
commits, on the same disk. When a commit ended is taken from the journal's own figure; the messages are read from the
disk again, with their receive times and the time their sender wrote into them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from _bench import Report, apart, arguments, quantile, run, scratch
from _sender import MESSAGE_BYTES, Sender, number_of

from recorder.clock import MS_NS, SECOND_NS
from recorder.daemon import Daemon
from recorder.journal.figures import Histogram
from recorder.journal.store import Store
from recorder.message import Kind
from recorder.settings import Settings

PER_S = 2000
FSYNCS = 3  # so many p99 of a bare fdatasync may the p99 be above the commit interval
SEAL_S = 5.0
GROUP_BYTES = 544  # of a 500-byte message in its group, rounded up


@dataclass(slots=True)
class Commits(Histogram):
    """The journal's figure, which also keeps how many messages each commit made durable, and when."""

    ends: list[tuple[int, int]] = field(default_factory=list)

    def take_since(self, arrivals: list[tuple[int, int]], until_ns: int) -> None:
        Histogram.take_since(self, arrivals, until_ns)
        self.ends.append((sum(number for _, number in arrivals), until_ns))


@dataclass(slots=True)
class Run:
    received_ms: list[float]  # from the receive time to durable, a message each
    sent_ms: list[float]  # from the sender's write to durable
    commits: int
    sealed: int  # messages, meanwhile


def record(url: str, messages: int, data: Path) -> Run:
    return asyncio.run(_record(url, messages, data))


async def _record(url: str, messages: int, data: Path) -> Run:
    logging.disable(logging.WARNING)
    settings = {"data": data, "seal": {"interval_s": SEAL_S}, "feeds": {"news": {"kind": "finlight", "url": url}}}
    daemon = Daemon(Settings.model_validate(settings), {})
    commits = daemon.journal.figures.received_to_durable = Commits()
    running = asyncio.create_task(daemon.run())
    all_durable = asyncio.Event()
    daemon.journal.on_durable(lambda _: all_durable.set() if commits.count >= messages else None)
    waiting = asyncio.create_task(all_durable.wait())
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    sealed = daemon.sealed.sealed_position
    daemon.stop()
    await running
    return _measured(data, commits, sealed)


def _measured(data: Path, commits: Commits, sealed: int) -> Run:
    """Positions are dense from 1 on and commits are in their order, so the n-th message has the n-th time."""
    durable_ns = [until_ns for number, until_ns in commits.ends for _ in range(number)]
    received_ms, sent_ms = [], []
    store = Store.open_readonly(data)
    parts = store.parts("messages")
    store.close()
    for part in parts:
        table = pq.read_table(data / part.path, columns=["position", "monotonic_ns", "kind", "text"], partitioning=None)
        rows = table.filter(pc.equal(table["kind"], Kind.DATA.word)).to_pylist()
        for row in rows:
            durable = durable_ns[row["position"] - 1]
            received_ms.append((durable - row["monotonic_ns"]) / MS_NS)
            sent_ms.append((durable - number_of(row["text"].encode())) / MS_NS)
    return Run(received_ms, sent_ms, len(commits.ends), sealed)


def fdatasyncs(byte_count: int, count: int, interval_ms: int, file: Path) -> list[float]:
    """Milliseconds of each append and fdatasync, at the pace of commits."""
    block = os.urandom(byte_count)
    took_ms = []
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        began_ns = time.monotonic_ns()
        for turn in range(count):
            due_ns = began_ns + turn * interval_ms * MS_NS
            time.sleep(max(0, due_ns - time.monotonic_ns()) / SECOND_NS)
            start_ns = time.monotonic_ns()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            took_ms.append((time.monotonic_ns() - start_ns) / MS_NS)
    finally:
        os.close(descriptor)
    return took_ms


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of messages, a round (default 10)")
    options = parser.parse_args()
    interval_ms = Settings().journal.commit_interval_ms
    group_bytes = GROUP_BYTES * PER_S * interval_ms // 1000
    report = Report(f"From received to durable at {PER_S:,} messages/s of {MESSAGE_BYTES} bytes", as_json=options.json)
    missing = 0
    with Sender() as sender:
        for turn in range(options.rounds):
            report.said(f"round {turn + 1}: bare fdatasync, then recorder")
            with scratch(options.dir) as folder:
                count = options.seconds * 1000 // interval_ms
                bare = apart(fdatasyncs, group_bytes, count, interval_ms, Path(folder) / "bare")
                _take(report, f"bare fdatasync of {group_bytes:,} bytes", bare)
                messages = options.seconds * PER_S
                done = apart(record, sender.url(messages, PER_S), messages, Path(folder) / "data")
            _take(report, "recorder, received to durable", done.received_ms)
            _take(report, "recorder, sent to durable", done.sent_ms)
            report.take("recorder, messages a commit", messages / done.commits, "")
            report.take("recorder, sealed meanwhile", done.sealed, "messages")
            missing += messages - len(done.received_ms)
    p99_ms = report.median("recorder, received to durable: p99")
    allowed_ms = interval_ms + FSYNCS * report.median(f"bare fdatasync of {group_bytes:,} bytes: p99")
    report.take("RATIO", p99_ms / allowed_ms, "x what the claim allows")
    sentence = f"p99 at most {interval_ms} ms + {FSYNCS} x the p99 of a bare fdatasync"
    report.claim(f"{sentence}: {p99_ms:.1f} of {allowed_ms:.1f} ms", holds=p99_ms <= allowed_ms)
    report.claim(f"every message sent is durable: {missing} missing", holds=missing == 0)
    return report.finish()


def _take(report: Report, name: str, values_ms: list[float]) -> None:
    for share, word in ((0.5, "p50"), (0.99, "p99"), (1.0, "max")):
        report.take(f"{name}: {word}", quantile(values_ms, share), "ms")


if __name__ == "__main__":
    run(main)
