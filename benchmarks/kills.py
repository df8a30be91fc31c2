"""kill -9, a thousand times: before every named step of recording, sealing, publishing, compacting and rewriting the
catalogue, at random moments in between, and of whole recorders that have feeds and sockets.

After each: everything published as durable is there, verbatim, once and in order; typed tables have the rows that
belong to it; the catalogue answers; `verify` finds nothing; and the next recorder comes to its end. Most kills are of
a recorder's life in short, forked (recorder/drill/lives.py), in as many processes as there are cores. Takes about ten
minutes of two cores with nothing else to do. What goes wrong is kept in --dir.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from _bench import Report, arguments, run

from recorder.drill.kill import Kills, kill_often
from recorder.drill.rig import Rig
from recorder.drill.steps import GROUPS_AT_RANDOM, Killed, Steps

SAID_EVERY = 25
YOUNG = 0.5  # of whole recorders, those that are killed before they receive
COMPACTING = {"compact": {"interval_s": 0.3, "grace_s": 0}}


@dataclass(slots=True)
class Tally:
    """What became of all kills so far. Counted from several threads."""

    wanted: int
    said: Callable[[str], object]
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kills(self) -> int:
        return self.steps.total() + self.moments.total()

    def take(self, killed: Killed) -> None:
        with self._lock:
            if killed.step:
                self.steps[killed.stage, killed.step] += 1
            else:
                self.moments[killed.stage] += 1
            for each in killed.wrong:
                self.wrong.append(f"{killed.stage}, {killed.step or 'at a random moment'}: {each}")
                self.said(self.wrong[-1])
            if self.kills % SAID_EVERY == 0:
                self.said(f"{self.kills} of {self.wanted} kills, {len(self.wrong)} findings")


def at_steps(folder: Path, first: int, every: int, tally: Tally) -> None:
    with Steps(folder) as steps:
        for killed in steps.all(first, every):
            tally.take(killed)


def at_random(folder: Path, times: int, seed: int, tally: Tally) -> None:
    with Steps(folder, GROUPS_AT_RANDOM) as steps:
        for killed in steps.at_random(times, random.Random(seed)):
            tally.take(killed)


async def whole(folder: Path, times: int, seed: int, tally: Tally) -> None:
    """The only ones that have a network: what they lost must stand in `gaps`."""

    def told(done: Kills) -> None:
        lost = (f"{done.lost} lost, {done.findings} findings of verify so far",) if done.lost or done.findings else ()
        tally.take(Killed("a whole recorder", "", lost))

    async with Rig(folder, COMPACTING) as rig:
        done = await kill_often(rig, times, random.Random(seed), young=YOUNG, told=told)
        for _ in range(times - tally.moments["a whole recorder"]):  # killed before it had made its journal
            tally.take(Killed("a whole recorder", ""))
        tally.said(f"{done.while_starting} of {done.kills} whole recorders were killed before they had said a word")
        await rig.start()
        await rig.receiving()
        if code := await rig.stop():
            tally.take(Killed("a whole recorder", "stopped", (f"ended with {code}",)))
        proof = await asyncio.to_thread(rig.proof)
    if not proof.fine:
        verdict = proof.verdict
        tally.take(
            Killed(
                "a whole recorder", "proof", (f"{verdict.lost} lost outside gaps", *verdict.examples, *proof.findings)
            )
        )


def main() -> int:
    parser = arguments(__doc__, rounds=None)
    parser.add_argument("--kills", type=int, default=1000, help="at least so many in all (default 1000)")
    parser.add_argument("--whole", type=int, default=30, help="of them, of whole recorders (default 30)")
    parser.add_argument("--every", type=int, default=1, help="only before one step in so many (default 1: all)")
    parser.add_argument("--seed", type=int, default=1, help="of chance (default 1)")
    options = parser.parse_args()
    report = Report("kill -9, and what was lost", as_json=options.json)
    tally = Tally(options.kills, report.said)
    folder = Path(tempfile.mkdtemp(prefix="recorder-kills-", dir=options.dir))
    try:
        asyncio.run(whole(folder / "whole", options.whole, options.seed, tally))
        workers = os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            every = workers * options.every
            begun = [
                pool.submit(at_steps, folder / f"steps-{n}", 1 + n * options.every, every, tally)
                for n in range(workers)
            ]
            for each in begun:
                each.result()
            left = max(0, options.kills - tally.kills)
            begun = [
                pool.submit(at_random, folder / f"random-{n}", -(-left // workers), options.seed + n, tally)
                for n in range(workers)
            ]
            for each in begun:
                each.result()
    finally:
        if not tally.wrong:
            shutil.rmtree(folder, ignore_errors=True)
    show(tally, report)
    return report.finish()


def show(tally: Tally, report: Report) -> None:
    """A line a step on stderr, the sums in the report."""
    for (stage, step), count in sorted(tally.steps.items()):
        print(f"{count:5} {stage:<12} {step}", file=sys.stderr)
    stages = Counter[str]()
    for (stage, _), count in tally.steps.items():
        stages[stage] += count
    for stage, count in stages.items():
        report.take(f"before a step of {stage}", count, "kills")
    for stage, count in tally.moments.items():
        report.take(f"at random, {stage}", count, "kills")
    report.take("steps by name", len(tally.steps), "")
    report.take("in all", tally.kills, "kills")
    report.claim(f"at least {tally.wanted} kills", holds=tally.kills >= tally.wanted)
    report.claim(
        f"nothing published was lost, doubled or altered, everything answers: {len(tally.wrong)} findings",
        holds=not tally.wrong,
    )


if __name__ == "__main__":
    run(main)
