"""For every directory named on a line of stdin: a recorder, forked, to be killed by the test that reads its output.

It prints its process id, then every durable position as it is published. What it records at a position depends on the
position alone. It seals and forgets what it found at its start, so that those steps are killed too.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from recorder import settings
from recorder.clock import Clock
from recorder.journal.registry import Part
from recorder.journal.standing import Standing
from recorder.journal.store import Store
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Stream

STREAMS = [Stream("quotes", "finance_query.quotes"), Stream("news", "finlight")]


def payload(position: int) -> bytes:
    """From 1 to 6,000 bytes, so that some groups need overflow pages."""
    text = b"%d;" % position
    return text * (1 + position * position % 997)


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def record(data: Path) -> None:
    clock = Clock()
    journal = Journal.open(data, settings.Journal(commit_interval_ms=1), clock)
    say(f"opened {journal.durable} {journal.opening.cause}")
    journal.on_durable(lambda position: say(f"durable {position}"))
    found, position = journal.durable, journal.durable + 1
    last_ns = clock.now().utc_ns
    part = Part("messages", f"messages/hot/{found}", "hot", 1, found, 1, last_ns, found, 1, last_ns)

    def seal(store: Store) -> None:
        store.register([part], found, Standing(found))
        store.forget_sealed()

    sealing = asyncio.create_task(journal.call(seal))
    while True:
        count = 1 + position % 7
        first = journal.append(
            STREAMS[position % 2],
            Kind.DATA,
            1,
            [payload(p) for p in range(position, position + count)],
            Mark.NONE,
            clock.now(),
        )
        assert first == position
        position += count
        if journal.figures.buffered_bytes > 1 << 20 or position % 5 == 0:
            await asyncio.sleep(0.0005)
        if sealing.done():
            sealing.result()


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            say(f"pid {os.getpid()}")
            asyncio.run(record(Path(line.strip())))
        _, status = os.waitpid(pid, 0)
        say(f"gone {os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1}")
