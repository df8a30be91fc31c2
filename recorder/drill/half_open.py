"""A half-open network: packets vanish both ways and nobody says so.

In: a running rig. Out: how soon both feeds have noticed, and what was lost without a gap that says so: nothing.
"""

from __future__ import annotations

import asyncio

from recorder.clock import SECOND_NS
from recorder.drill.outcome import NO_SILENT_GAP, Outcome, of_proof
from recorder.drill.rig import SILENCE_S, Rig
from recorder.partitions.catalog import connect

NAME = "half-open network"
LATE_S_MAX = 1.0
DOWN_S = 1.0  # beyond the noticing
NOTICED = "SELECT epoch_ns(received_at) FROM lifecycle WHERE event = 'gap.opened' AND cause = 'silent' ORDER BY 1"


async def drill(rig: Rig) -> list[Outcome]:
    """Leaves the recorder stopped."""
    await rig.start()
    await rig.receiving()
    begun_ns = rig.clock.now().utc_ns
    upstreams = (rig.upstreams.finlight, rig.upstreams.finance_query)
    lost = [(upstream, number) for upstream in upstreams for number in upstream.connections]
    for proxy in rig.proxies:
        proxy.vanish()
    await rig.until(lambda told: all(feed["gap"] for feed in told["feeds"].values()))
    await asyncio.sleep(DOWN_S)
    for upstream, number in lost:  # a server's kernel gives up some time, too; what it wrote so far counts as sent
        upstream.cut(number)
    for proxy in rig.proxies:
        proxy.heal()
    await rig.receiving()
    await rig.stop()
    with connect(rig.data) as connection:
        noticed_s = [(utc_ns - begun_ns) / SECOND_NS for (utc_ns,) in connection.sql(NOTICED).fetchall()]
    seen = f"after {max(noticed_s):.2f} s" if len(noticed_s) == len(rig.proxies) else "NOT BY EVERY FEED"
    return [
        Outcome(
            NAME,
            NO_SILENT_GAP,
            f"noticed within {SILENCE_S + LATE_S_MAX:g} s (silence_s and {LATE_S_MAX:g} s)",
            seen,
            len(noticed_s) == len(rig.proxies) and max(noticed_s) <= SILENCE_S + LATE_S_MAX,
        ),
        *of_proof(NAME, await asyncio.to_thread(rig.proof)),
    ]
