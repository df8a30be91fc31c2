"""A demo from start to end: upstreams in a process of their own, the real recorder in this one, faults on time.

In: how long, where to record, someone to watch. Out: what was sent (the ledger), and the recorder after its orderly
end; the recording is on disk. Whatever goes wrong here, the recorder is stopped and the upstreams' process is gone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from recorder.clock import SECOND_NS
from recorder.daemon import Daemon
from recorder.demo import plan
from recorder.demo.check import Span
from recorder.demo.interrupts import Interrupts
from recorder.demo.screen import Screen
from recorder.demo.story import Story
from recorder.demo.upstreams_process import UpstreamsProcess
from recorder.replay.upstreams.ledger import Ledger


@dataclass(slots=True)
class Run:
    """What a run leaves behind, beside the recording."""

    daemon: Daemon
    span: Span
    faults: list[str]  # those that took place
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def seconds(self) -> float:
        return (self.span.to_ns - self.span.from_ns) / SECOND_NS


async def run(for_s: float, data: Path, ledger_file: Path, story: Story, screen: Screen, interrupts: Interrupts) -> Run:
    """Record for so long, or until the first interrupt; the second one raises CancelledError.

    Raises UpstreamsFailed, JournalFailed, OSError.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    asked = asyncio.Event()
    interrupts.ask = lambda: loop.call_soon_threadsafe(asked.set)
    interrupts.insist = lambda: loop.call_soon_threadsafe(task.cancel)
    try:
        async with UpstreamsProcess(ledger_file, **plan.upstream_options(for_s)) as upstreams:
            urls = upstreams.finlight_url, upstreams.finlight_rest_url, upstreams.finance_query_url
            settings = plan.settings(for_s, data, *urls)
            daemon = Daemon(settings, dict.fromkeys(settings.feeds, plan.SECRET))
            result = await _record(daemon, for_s, upstreams, story, screen, asked)
        result.ledger = upstreams.ledger
    finally:
        interrupts.ask = interrupts.insist = None
    return result


async def _record(
    daemon: Daemon, for_s: float, upstreams: UpstreamsProcess, story: Story, screen: Screen, asked: asyncio.Event
) -> Run:
    faults: list[str] = []
    story.restart()
    try:
        async with asyncio.TaskGroup() as group:
            recording = group.create_task(daemon.run())
            others = [
                group.create_task(_break(plan.faults(for_s), upstreams, story, faults)),
                group.create_task(screen.follow(daemon, for_s, story)),
            ]
            waiting = group.create_task(asked.wait())
            await asyncio.wait({recording, waiting}, timeout=for_s, return_when=asyncio.FIRST_COMPLETED)
            to_ns = daemon.clock.now().utc_ns
            daemon.stop("the demo is over")
            waiting.cancel()
            others[0].cancel()
            await recording
            others[1].cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return Run(daemon, Span(daemon.started.utc_ns, to_ns), faults)


async def _break(faults: list[plan.Fault], upstreams: UpstreamsProcess, story: Story, done: list[str]) -> None:
    """Order each fault when it is due."""
    for fault in faults:
        await asyncio.sleep(fault.at_s - story.seconds)
        story.add(fault.text, is_fault=True)
        for order in fault.orders:
            await upstreams.order(**order)
        done.append(fault.text)
