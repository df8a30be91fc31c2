"""A dead-man's switch: a page of somebody else's is got again and again, for as long as recording is not failed.

In: an URL, which is a secret as a whole, and whether all is well enough. Out: a GET, at best; whoever misses it wakes a
person, so it also tells of what cannot tell itself: a machine that is gone. That it does not arrive is counted, said
once, and touches nothing else. If the power fails here, that is what it is for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from recorder.feeds.rest import RestFailed, get

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
ANSWER_BYTES_MAX = 64 << 10
SETTING = "the secret of health.heartbeat"


@dataclass(slots=True)
class Heartbeat:
    """`alive` is asked before each beat. `trouble` is why the last one did not arrive, or nothing."""

    url: str = field(repr=False)
    alive: Callable[[], bool]
    sent: int = 0
    failed: int = 0
    withheld: int = 0
    trouble: str = ""

    async def beat(self) -> None:
        """One GET, or none where nobody shall believe that all is well. Never raises but for cancelling."""
        if not self.alive():
            self.withheld += 1
            return
        try:
            status = (await get(self.url, named=SETTING, timeout_s=TIMEOUT_S, answer_bytes_max=ANSWER_BYTES_MAX)).status
            trouble = "" if 200 <= status < 300 else f"It was answered with HTTP {status}. Check {SETTING}."
        except RestFailed as failure:
            trouble = str(failure)
        if trouble:
            self.failed += 1
        else:
            self.sent += 1
        if trouble and not self.trouble:
            log.warning("heartbeat.failed", extra={"fields": {"error": trouble}})
        elif self.trouble and not trouble:
            log.info("heartbeat.arrives", extra={"fields": {"failed": self.failed}})
        self.trouble = trouble

    def status(self) -> dict[str, object]:
        """Facts for `recorder status`."""
        return {"sent": self.sent, "failed": self.failed, "withheld": self.withheld, "trouble": self.trouble}
