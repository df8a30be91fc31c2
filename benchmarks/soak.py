"""A recorder for an hour at 500 messages/s of all six kinds of feeds, with a fault every minute, and readers beside it.

The real `recorder run` in a process of its own with its replay server, imitated upstreams in another, a proxy before
each. Seals and compactions come at short intervals, connections are rotated every two minutes. In the end what was sent
is compared with what was recorded, message by message, and `verify` reads every file. The recorder is killed with
SIGKILL twice in the first third; what it occupies is compared over its last, longest life.
"""

from __future__ import annotations

import asyncio
import itertools
import traceback
from dataclasses import dataclass
from pathlib import Path

from _bench import Report, arguments, run, scratch
from _soak_faults import COURSE, KILL, Fault
from _soak_readers import Readers
from _soak_rig import CHANNELS, Occupied, SoakRig, occupied

from recorder.clock import SECOND_NS
from recorder.commands.verify import verify
from recorder.demo import evidence
from recorder.demo.check import Span, Verdict, check
from recorder.partitions.catalog import connect

FIRST = "SELECT epoch_ns(min(received_at)) FROM messages"
KILLS = (0.1, 0.3)  # shares of the time
QUIET_S = 45.0  # at the end, so that everything receives again
WARM_S = 120.0  # a recorder that young still grows
GROWTH = 1.25  # of memory after that
MEMORY_LIMIT = "4GB"  # for the check's queries


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    recorder: Occupied
    server: Occupied | None


class Soak:
    def __init__(self, rig: SoakRig, report: Report, for_s: float, every_s: float) -> None:
        self.rig = rig
        self.report = report
        self.for_s = for_s
        self.every_s = every_s
        self.readers = Readers(rig, every_s=min(20.0, every_s))
        self.samples: list[Sample] = []
        self.faults: list[str] = []
        self.failed: list[str] = []  # faults that could not be made, or after which the recorder was not there
        self._began_ns = 0

    @property
    def at_s(self) -> float:
        return (self.rig.clock.monotonic_ns() - self._began_ns) / SECOND_NS

    async def run(self) -> int:
        """All of it. Returns the recorder's exit code."""
        self._began_ns = self.rig.clock.monotonic_ns()
        await self.rig.start()
        others = [asyncio.create_task(each) for each in (self._break(), self._tell(), self.readers.run())]
        ended, _ = await asyncio.wait(others, timeout=self.for_s, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        for task in ended:
            task.result()
        await asyncio.gather(*others, return_exceptions=True)
        for proxy in self.rig.proxies.values():
            proxy.heal()
        self._sample()
        return await self.rig.stop()

    async def _break(self) -> None:
        """A fault every `every_s`, and in between the recorder's deaths."""
        kills = [share * self.for_s for share in KILLS]
        course = itertools.cycle(COURSE)
        for number in itertools.count(1):
            await asyncio.sleep(number * self.every_s - self.at_s)
            if self.at_s > self.for_s - QUIET_S:
                break
            if kills and self.at_s >= kills[0]:
                kills.pop(0)
                await self._do(KILL)
            else:
                await self._do(next(course))
        await asyncio.Event().wait()

    async def _do(self, fault: Fault) -> None:
        self.report.said(f"{self._when()}  ✗ {fault.words}")
        self.faults.append(fault.words)
        try:
            await fault.begin(self.rig)
        except (OSError, TimeoutError, RuntimeError, ValueError):
            self.failed.append(f"{self._when()}  {fault.words}: {traceback.format_exc(limit=1)}")
            self.report.said(self.failed[-1])
        if not self.rig.running:
            raise RuntimeError(f"the recorder ended after: {fault.words}")

    async def _tell(self) -> None:
        """A line a minute."""
        for number in itertools.count():
            await asyncio.sleep(60.0 * number + 30.0 - self.at_s)
            self._sample()
            told, sample = self.rig.status(), self.samples[-1]
            if told is None:
                continue
            lag = told["durable_position"] - told["sealed_position"]
            server = f"{sample.server.rss_mb:.0f} MB" if sample.server else "none"
            slow_s = max(self.readers.query_s[-3:], default=0.0)
            self.report.said(
                f"{self._when()}    {told['durable_position']} durable, {lag} not sealed, "
                f"p99 {told['journal']['durable_ms_p99']:.0f} ms, {told['health']['state']}; "
                f"{sample.recorder.rss_mb:.0f} MB, {sample.recorder.descriptors} descriptors, "
                f"{sample.recorder.threads} threads, server {server}; "
                f"{self.readers.queries} queries ({slow_s:.1f} s), {self.readers.replays} replays, "
                f"{len(self.readers.wrong)} wrong"
            )

    def _sample(self) -> None:
        server = None
        try:
            recorder = occupied(self.rig.pid)
            server = occupied(self.rig.server_pid())
        except (ProcessLookupError, FileNotFoundError):
            pass
        self.samples.append(Sample(self.at_s, recorder, server))

    def _when(self) -> str:
        minutes, seconds = divmod(int(self.at_s), 60)
        return f"{minutes:3d}:{seconds:02d}"


def judge(rig: SoakRig, report: Report) -> None:
    """What was sent against what was recorded."""
    with connect(rig.data) as connection:
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        ((from_ns,),) = connection.sql(FIRST).fetchall()
        rows, gaps = evidence.rows(connection), evidence.gaps(connection)
        vanished = {name: proxy.vanished_ns for name, proxy in rig.proxies.items()}
        verdicts = check(rig.upstreams.ledger, CHANNELS, rows, gaps, Span(from_ns, rig.to_ns), vanished)
        dense = evidence.fingerprint(connection).dense
        counted = evidence.counted(connection)
    total = Verdict()
    for channel, verdict in verdicts.items():
        total.add(verdict)
        if not verdict.fine:
            report.said(f"  {'/'.join(filter(None, channel))}: {verdict}")
    for name in ("sent", "recorded", "lost_in_gaps", "lost", "duplicated", "altered"):
        report.take(name.replace("lost", "lost outside gaps") if name == "lost" else name, getattr(total, name), "")
    for name in ("gaps", "gap_s", "recovered", "rotation_both", "rotation_only_old", "rotation_only_new"):
        report.take(name, counted[name], "")
    report.take("on disk", evidence.size_on_disk(rig.data) / 1e6, "MB")
    report.claim(f"nothing is lost outside recorded gaps: {total.lost}", holds=total.lost == 0)
    report.claim(
        f"nothing is duplicated or altered: {total.duplicated + total.altered}",
        holds=not (total.duplicated or total.altered),
    )
    report.claim("positions are dense from 1 on", holds=dense)
    findings = verify(rig.data).findings
    for finding in findings:
        report.said(f"  verify: {finding}")
    report.claim(f"`recorder verify` finds nothing: {len(findings)}", holds=not findings)


def told(soak: Soak, report: Report, code: int) -> None:
    """What was done and what it took."""
    for sample in soak.samples:
        server = f"{sample.server}" if sample.server else "no server"
        report.said(f"  {sample.at_s:6.0f} s  {sample.recorder}  {server}")
    report.take("faults", len(soak.faults), "")
    report.take("recorder started", soak.rig.starts, "times")
    report.take("queries", soak.readers.queries, "")
    if soak.readers.query_s:
        report.take("slowest query, with the start of its process", max(soak.readers.query_s), "s")
    report.take("replays", soak.readers.replays, "")
    report.take("messages replayed", soak.readers.replayed, "")
    pid = soak.samples[-1].recorder.pid
    life = [sample for sample in soak.samples if sample.recorder.pid == pid]
    warm = next((s for s in life if s.at_s - life[0].at_s >= WARM_S), life[0])
    for name, unit in (("rss_mb", "MB"), ("descriptors", ""), ("threads", "")):
        report.take(f"last life, {name}, warm", getattr(warm.recorder, name), unit)
        report.take(f"last life, {name}, end", getattr(life[-1].recorder, name), unit)
    grown = life[-1].recorder.rss_mb / warm.recorder.rss_mb
    report.claim(f"memory does not grow by more than a quarter: {grown:.2f} x", holds=grown <= GROWTH)
    for wrong in (*soak.failed, *soak.readers.wrong):
        report.said(f"  wrong: {wrong}")
    report.claim(f"every fault could be made: {len(soak.failed)} not", holds=not soak.failed)
    report.claim(f"every reader was answered rightly: {len(soak.readers.wrong)} not", holds=not soak.readers.wrong)
    report.claim(f"the recorder stops with exit code 0: {code}", holds=code == 0)


async def soak(folder: Path, report: Report, messages_per_s: float, for_s: float, every_s: float) -> None:
    async with SoakRig(folder, messages_per_s, for_s) as rig:
        soaking = Soak(rig, report, for_s, every_s)
        code = await soaking.run()
        await rig.upstreams.order(op="mute", upstream="finlight")
    told(soaking, report, code)
    judge(rig, report)


def main() -> int:
    parser = arguments(__doc__, rounds=None)
    parser.add_argument("--for-s", type=float, default=3600.0, help="how long (default 3600 s)")
    parser.add_argument("--every-s", type=float, default=60.0, help="between two faults (default 60 s)")
    parser.add_argument("--messages-per-s", type=float, default=500.0, help="in all (default 500)")
    parser.add_argument("--keep", type=Path, help="an empty folder in which recording, log and ledger stay")
    options = parser.parse_args()
    report = Report(f"{options.for_s:g} s at {options.messages_per_s:g} messages/s", as_json=options.json)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        asyncio.run(soak(options.keep, report, options.messages_per_s, options.for_s, options.every_s))
    else:
        with scratch(options.dir) as folder:
            asyncio.run(soak(Path(folder), report, options.messages_per_s, options.for_s, options.every_s))
    return report.finish()


if __name__ == "__main__":
    run(main)
