"""How fast messages of 500 bytes are received over one loopback connection and made durable.

The yardstick is a bare `websockets` receive loop that throws everything away (compression=None; max_queue 16, its
default, and 1024: the better of the two counts), against the whole recorder: its connection, protocol, journal, group
commit with fsync, with sealing far away and with sealing every 5 s. Each reader has a process of its own, the sender
another; every message the recorder received is counted on the disk afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from _bench import Report, apart, arguments, resident_mb, run, scratch
from _sender import MESSAGE_BYTES, Sender
from receive_rate import bare

from recorder.daemon import Daemon
from recorder.journal.store import Store
from recorder.message import Kind
from recorder.settings import Settings

RATIO_MIN = 0.7
GROWTH_MAX = 1.25  # resident memory at the end of a run against that at a quarter of it
NEVER_S = 3600.0
SEAL_S = 5.0
QUEUES = (16, 1024)
POLL_S = 0.005
SETTLED_S = 0.3  # without another commit: all that was sent is durable, or will never be


@dataclass(slots=True)
class Recorded:
    per_s: float = 0.0  # from the first receive time to the end of the last commit
    durable: int = 0  # data messages found on the disk
    resident_mb: list[float] = field(default_factory=list)  # at 25, 50, 75, 100 % of the messages
    pressed: float = 0.0  # share of the time in which no socket was read, because the journal could not follow
    sealed: int = 0  # messages, meanwhile


def record(url: str, messages: int, seal_s: float, data: Path) -> Recorded:
    """The recorder as `recorder run` runs it, but for its end: nobody waits for the last seal."""
    return asyncio.new_event_loop().run_until_complete(_record(url, messages, seal_s, data))


async def _record(url: str, messages: int, seal_s: float, data: Path) -> Recorded:
    logging.disable(logging.WARNING)  # pressure is expected here, and counted
    feed = {"kind": "finlight", "url": url, "secret": ""}
    daemon = Daemon(
        Settings.model_validate({"data": data, "seal": {"interval_s": seal_s}, "feeds": {"news": feed}}), {}
    )
    figures = daemon.journal.figures
    done = Recorded()
    running = asyncio.create_task(daemon.run())
    known = ended_ns = 0
    while not (known >= messages and time.monotonic_ns() - ended_ns > SETTLED_S * 1e9):
        await asyncio.sleep(POLL_S)
        if known != figures.messages:
            known, ended_ns = figures.messages, time.monotonic_ns()
        while len(done.resident_mb) < 4 and known >= messages * (len(done.resident_mb) + 1) // 4:
            done.resident_mb.append(resident_mb())
        if running.done():
            running.result()
    done.sealed, done.durable, began_ns = found(data)
    done.per_s = done.durable / (ended_ns - began_ns) * 1e9
    done.pressed = figures.under_pressure_ns / (ended_ns - began_ns)
    return done


def found(data: Path) -> tuple[int, int, int]:
    """How many data messages are sealed, how many are on the disk at all, and the monotonic time of the first."""
    store = Store.open_readonly(data)
    number, first_ns = 0, 1 << 62
    try:
        for part in store.parts("messages"):
            table = pq.read_table(data / part.path, columns=["kind", "monotonic_ns"], partitioning=None)
            mine = table.filter(pc.equal(table["kind"], Kind.DATA.word))
            number += mine.num_rows
            first_ns = min(first_ns, pc.min(mine["monotonic_ns"]).as_py() or first_ns)
        sealed = number
        for group in store.each_group(store.sealed_position()):
            number += group.kind.count(Kind.DATA)
            first_ns = min(first_ns, group.monotonic_ns[max(0, group.kind.find(Kind.DATA))])
    finally:
        store.close()
    return sealed, number, first_ns


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="to the recorder (default 1,000,000)")
    parser.add_argument("--sealing-messages", type=int, default=4_000_000, help="with sealing (default 4,000,000)")
    parser.add_argument("--bare-messages", type=int, default=300_000, help="to the bare loop (default 300,000)")
    options = parser.parse_args()
    report = Report(f"Receiving {MESSAGE_BYTES}-byte messages over one connection", as_json=options.json)
    lost = 0
    flat = True
    with Sender() as sender:
        for turn in range(options.rounds):
            for queue in QUEUES:
                rate = apart(bare, sender.url(options.bare_messages), options.bare_messages, queue)
                report.take(f"bare loop, max_queue={queue}", rate, "messages/s")
            for name, seal_s, messages in (
                ("no seal", NEVER_S, options.messages),
                (f"sealing every {SEAL_S:g} s", SEAL_S, options.sealing_messages),
            ):
                report.said(f"round {turn + 1}: recorder, {name}")
                with scratch(options.dir) as folder:
                    done = apart(record, sender.url(messages), messages, seal_s, Path(folder) / "data")
                report.take(f"recorder, {name}", done.per_s, "messages/s durable")
                for quarter, megabytes in zip((25, 50, 75, 100), done.resident_mb, strict=True):
                    report.take(f"recorder, {name}: resident at {quarter} %", megabytes, "MB")
                report.take(f"recorder, {name}: reading stopped", 100 * done.pressed, "% of the time")
                if seal_s == SEAL_S:
                    report.take("sealed meanwhile", done.sealed, "messages")
                lost += messages - done.durable
                flat &= done.resident_mb[3] <= done.resident_mb[0] * GROWTH_MAX
    yardstick = max(report.median(f"bare loop, max_queue={queue}") for queue in QUEUES)
    for name in ("no seal", f"sealing every {SEAL_S:g} s"):
        ratio = report.median(f"recorder, {name}") / yardstick
        report.take(f"RATIO, {name}", ratio, "x the better bare loop")
        report.claim(f"with {name}, at least {RATIO_MIN} of the bare loop: {ratio:.2f}", holds=ratio >= RATIO_MIN)
    report.claim(f"every message sent is durable: {lost} missing", holds=lost == 0)
    report.claim(f"memory is flat: at the end at most {GROWTH_MAX} times that at a quarter", holds=flat)
    return report.finish()


if __name__ == "__main__":
    run(main)
