"""Readers beside a soak, as their users start them: `recorder sql`, and `recorder play` from the replay server.

In: a rig. Out: how many asked, how long they took, and what was wrong with what they were told. They write nothing.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from itertools import cycle

import orjson
from _soak_rig import SoakRig

from recorder.clock import SECOND_NS

PATIENCE_S = 60.0
RANGE_S = 20
TRIES = 4  # while the replay server or the recorder is being started again
AGAIN_S = 3.0

# The whole recording; then what no row may contradict, over the messages of the last minutes.
STATEMENTS = (
    "SELECT count(*) AS wrong FROM (SELECT position FROM messages WHERE received_at > now()::TIMESTAMP - INTERVAL 3"
    " MINUTE GROUP BY position HAVING count(*) > 1)",
    "SELECT coalesce(max(position) - min(position) + 1 - count(*), 0) AS wrong FROM messages"
    " WHERE received_at > now()::TIMESTAMP - INTERVAL 3 MINUTE",
    "SELECT count(*) AS wrong FROM quotes WHERE symbol IS NULL OR received_at IS NULL",
    "SELECT count(*) AS wrong FROM gaps WHERE cause IS NULL OR until_at < since_at",
)


@dataclass(slots=True)
class Readers:
    """`run` until cancelled."""

    rig: SoakRig
    every_s: float
    queries: int = 0
    query_s: list[float] = field(default_factory=list)
    replays: int = 0
    replayed: int = 0  # messages
    wrong: list[str] = field(default_factory=list)

    async def run(self) -> None:
        for statement in cycle(STATEMENTS):
            await asyncio.sleep(self.every_s)
            await self._ask(statement)
            await asyncio.sleep(self.every_s)
            await self._replay()

    async def _ask(self, statement: str) -> None:
        began_ns = self.rig.clock.monotonic_ns()
        code, out, err = await self._recorder("sql", statement, "--json")
        self.queries += 1
        self.query_s.append((self.rig.clock.monotonic_ns() - began_ns) / SECOND_NS)
        if code or orjson.loads(out) != [{"wrong": 0}]:
            self.wrong.append(f"{statement}: exit {code}: {out.decode()[-200:]} {err.decode()[-300:]}")

    async def _replay(self) -> None:
        """What arrived between 60 and 40 s ago: each position after the one before."""
        until_ns = self.rig.clock.now().utc_ns - 40 * SECOND_NS
        wanted = ("--from", str((until_ns - RANGE_S * SECOND_NS) / 1e9), "--to", str(until_ns / 1e9))
        url = f"ws://127.0.0.1:{self.rig.port}/replay?kinds=data,reply,lifecycle"
        for left in reversed(range(TRIES)):
            code, out, err = await self._recorder("play", url, *wanted, "--speed", "max", "--json")
            if not code or not left:
                break
            await asyncio.sleep(AGAIN_S)
        self.replays += 1
        if code:
            self.wrong.append(f"replay: exit {code}: {err.decode()[-300:]}")
            return
        frames = [orjson.loads(line) for line in out.splitlines()]
        positions = [frame["position"] for frame in frames if "position" in frame]
        self.replayed += len(positions)
        if positions != list(range(positions[0], positions[0] + len(positions)) if positions else []):
            self.wrong.append(f"replay: {len(positions)} messages from {positions[:1]} to {positions[-1:]} not dense")

    async def _recorder(self, *arguments: str) -> tuple[int, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder", *arguments, "--config", str(self.rig.config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                out, err = await process.communicate()
        except TimeoutError:
            return -1, b"", b"no answer within %d s" % PATIENCE_S
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return process.returncode, out, err
