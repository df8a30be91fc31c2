"""`kill -9` of a whole recorder at random moments, again and again on one directory.

In: a rig, how often, chance. Out: what every kill took of what had been published as durable: nothing. Where exactly it
hits is chance's business; steps.py knows the names.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from recorder.commands.verify import verify
from recorder.drill.outcome import DURABLE, Outcome, of_proof
from recorder.drill.rig import Rig

NAME = "kill -9"
LIVES_S = 1.5  # at most, once it receives
YOUNG_S = 1.5  # or from its first instruction on


@dataclass(slots=True)
class Kills:
    """So many kills, and what they cost."""

    kills: int = 0
    while_starting: int = 0  # before it had written a status
    published: int = 0  # the last position announced before the last kill
    lost: int = 0  # positions published and not there afterwards
    findings: int = 0


async def kill_often(
    rig: Rig, times: int, chance: random.Random, *, young: float = 0.0, told: Callable[[Kills], object] = lambda _: None
) -> Kills:
    """Start, kill, look, and again. `young`: the share of kills that do not wait until it receives."""
    done = Kills()
    for _ in range(times):
        await rig.start()
        if chance.random() < young:
            await asyncio.sleep(chance.uniform(0, YOUNG_S))
        else:
            await rig.receiving()
            await asyncio.sleep(chance.uniform(0, LIVES_S))
        done.while_starting += rig.status() is None
        await rig.kill()
        done.kills += 1
        if not (rig.data / "recorder.sqlite").exists():
            continue  # it had not come so far, ever
        done.published = rig.published()
        done.lost += max(0, done.published - rig.durable())
        done.findings += len(verify(rig.data).findings)
        told(done)
    return done


async def drill(rig: Rig, times: int, chance: random.Random) -> list[Outcome]:
    """Kill it, then let it go on and end well. Leaves the recorder stopped."""
    done = await kill_often(rig, times, chance)
    await rig.start()
    await rig.receiving()
    await rig.stop()
    # The gaps of its deaths end with the first proof of life of the next: what no gap holds was lost in silence.
    return [
        Outcome(
            NAME,
            DURABLE,
            "0 lost of what was published",
            f"{done.lost} lost of {done.published} in {done.kills} kills",
            done.lost == 0 and done.findings == 0,
        ),
        *of_proof(NAME, await asyncio.to_thread(rig.proof)),
    ]
