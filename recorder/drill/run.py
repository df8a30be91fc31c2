"""All drills, one after the other or beside each other where they do not disturb what is measured.

In: a folder of our own, someone to tell. Out: an outcome a promise. Leaves no process and no mount, whatever happens:
killed, the recorders and the mounts go with us.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from recorder.drill import full_disk, half_open, kill, torn
from recorder.drill.outcome import Outcome
from recorder.drill.rig import Rig

KILLS = 3
NEVER_S = 3600.0  # sealing waits so long: everything is still in the journal when it is torn

Tell = Callable[[str], object]


async def run(folder: Path, tell: Tell) -> list[Outcome]:
    """Raises DrillFailed where a drill could not be carried out."""
    full_disk.own_mounts()
    tell(f"{kill.NAME}: {KILLS} times at random moments; {half_open.NAME}: packets vanish in both directions …")
    async with asyncio.TaskGroup() as group:
        killed = group.create_task(_kill(folder / "kill"))
        network = group.create_task(_half_open(folder / "network"))
    tell(f"{torn.NAME}: the journal's log is cut on copies …")
    tail = await _torn(folder / "torn")
    disk = await full_disk.drill(folder, tell)
    return [*killed.result(), *tail, *disk, *network.result()]


async def _kill(folder: Path) -> list[Outcome]:
    async with Rig(folder) as rig:
        return await kill.drill(rig, KILLS, random.Random())


async def _half_open(folder: Path) -> list[Outcome]:
    async with Rig(folder) as rig:
        return await half_open.drill(rig)


async def _torn(folder: Path) -> list[Outcome]:
    async with Rig(folder, {"seal": {"interval_s": NEVER_S}}) as rig:
        await rig.start()
        await rig.receiving()
        await rig.kill()
        return await torn.drill(rig.data, folder)
