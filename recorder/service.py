"""The recorder as its service manager sees it: when it has started, what it is doing, whether it is worth keeping.

Pure. In: facts, once a second. Out: the words that notify.py sends. The watchdog is fed because the schedule turns,
the journal makes progress and every channel will be woken, not because a process exists. An upstream that is silent or
down is no reason to be restarted: that is a gap, and the channel's business. What is well is health.py's verdict.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from recorder import health
from recorder.clock import SECOND_NS

if TYPE_CHECKING:
    from recorder.daemon import Daemon

READY_PATIENCE_S = 20.0  # upstreams that are down at boot must not keep a machine from starting
OVERDUE_S = 30.0
# Above what the journal itself takes to give up on a disk that fails, which ends the recorder with a better reason.
STUCK_ABOVE_GIVE_UP_S = 30.0
NAMED_MAX = 3  # gaps or reasons in the status line; `recorder status` has all

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenGap:
    channel: str  # "quotes", "profiles/AAPL"
    since_ns: int  # UTC
    cause: str


@dataclass(frozen=True, slots=True)
class Facts:
    """How the recorder is at one moment."""

    monotonic_ns: int
    running_ns: int  # since its start
    channels: int
    gaps: tuple[OpenGap, ...]  # of channels that do not receive
    durable: int  # position
    groups: int  # committed since the start
    waiting_bytes: int  # accepted, not durable yet
    durable_ms_p99: float
    overdue_ns: int  # of the channel that has waited longest for a tick that nothing will bring
    verdict: health.Verdict


class Service:
    """What to tell. `problem` is something the status should say until it is over: a refused configuration."""

    def __init__(self, give_up_s: float) -> None:
        self.ready = False
        self.problem = ""
        self._stuck_s = give_up_s + STUCK_ABOVE_GIVE_UP_S
        self._durable = -1
        self._progress_ns = 0  # monotonic; when the journal last made progress or had nothing to do
        self._withheld = ""

    def words(self, facts: Facts) -> dict[str, str]:
        """The next notification."""
        if facts.durable != self._durable or not facts.waiting_bytes:
            self._durable, self._progress_ns = facts.durable, facts.monotonic_ns
        words = {}
        if not self.ready and may_start(facts):
            self.ready = True
            words["READY"] = "1"
        withheld = self.why_not(facts)
        if withheld and not self._withheld:
            log.error("watchdog.withheld", extra={"fields": {"cause": withheld}})
        self._withheld = withheld
        if not withheld:
            words["WATCHDOG"] = "1"
        troubles = [f"not well: {withheld}" if withheld else "", self.problem]
        return words | {"STATUS": "; ".join([line(facts), *filter(None, troubles)])}

    def why_not(self, facts: Facts) -> str:
        """Why the watchdog may not be fed; empty: it may."""
        stuck_s = (facts.monotonic_ns - self._progress_ns) / SECOND_NS
        if stuck_s >= self._stuck_s:
            return f"the journal has made nothing durable for {stuck_s:.0f} s while {facts.waiting_bytes} bytes wait"
        overdue_s = facts.overdue_ns / SECOND_NS
        if overdue_s >= OVERDUE_S:
            return f"a channel has not been looked after for {overdue_s:.0f} s"
        return ""


def may_start(facts: Facts) -> bool:
    """Truly recording: something is durable and a channel has proved to receive, or none did for long enough."""
    receives = len(facts.gaps) < facts.channels
    return facts.groups > 0 and (receives or facts.running_ns >= READY_PATIENCE_S * SECOND_NS)


def line(facts: Facts) -> str:
    """`ok: 3/4 receiving, durable up to 120453 (p99 22.0 ms); gap: quotes since 01-31 14:03:07 (silent)`, UTC."""
    receiving = facts.channels - len(facts.gaps)
    durable = f"durable up to {facts.durable} (p99 {facts.durable_ms_p99:.1f} ms)"
    says = f"{facts.verdict.state.value}: {receiving}/{facts.channels} receiving, {durable}"
    # Gaps long enough to worry about are among the reasons.
    oldest = sorted(facts.gaps, key=lambda gap: gap.since_ns)
    gaps = [f"gap: {gap.channel} since {_time(gap.since_ns)} ({gap.cause})" for gap in oldest]
    named = facts.verdict.reasons or gaps
    more = [f"and {len(named) - NAMED_MAX} more"] if len(named) > NAMED_MAX else []
    return "; ".join([says, *named[:NAMED_MAX], *more])


def look(daemon: Daemon) -> Facts:
    """The facts of this moment."""
    now, facts = daemon.clock.now(), daemon.status()
    return Facts(
        monotonic_ns=now.monotonic_ns,
        running_ns=now.monotonic_ns - daemon.started.monotonic_ns,
        channels=len(facts["feeds"]),
        gaps=tuple(OpenGap(name, **feed["gap"]) for name, feed in facts["feeds"].items() if feed["gap"]),
        durable=facts["durable_position"],
        groups=facts["journal"]["groups"],
        waiting_bytes=facts["journal"]["buffered_bytes"],
        durable_ms_p99=facts["journal"]["durable_ms_p99"],
        overdue_ns=max((keeper.overdue_ns() for keeper in daemon.roster.keepers), default=0),
        verdict=health.Verdict(health.State(facts["health"]["state"]), tuple(facts["health"]["reasons"])),
    )


def _time(utc_ns: int) -> str:
    moment = datetime.fromtimestamp(utc_ns // SECOND_NS, UTC)
    return moment.strftime("%m-%d %H:%M:%S")
