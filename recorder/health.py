"""Is all well? One verdict over facts, the same for `status`, `/healthz`, metrics and systemd.

In: the facts of status.py and the time. Out: ok, degraded or failed, with the reasons as sentences. Pure. Failed means
that messages are being lost or cannot be made durable now; degraded, that a person should look before that happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from recorder.clock import SECOND_NS

STALE_S = 10.0  # the facts are written every second; a machine that swaps may take some
GAP_PATIENCE_S = 30.0  # a redial, a restart of the upstream
GAP_FAILED_S = 600.0
CLOCK_PATIENCE_S = 1.0
DURABLE_S = 2.0  # beyond the commit interval: no fsync of a disk that works takes so long
ROOM = 2  # times the reserve
SEAL_ROUNDS, SEAL_PATIENCE_S = 3, 300.0  # seals that may be missed, and how long one may take


class State(Enum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"

    def __lt__(self, other: State) -> bool:
        order = list(State)
        return order.index(self) < order.index(other)


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {"state": self.state.value, "reasons": list(self.reasons)}


def verdict(facts: Mapping[str, Any] | None, running: bool, now_ns: int) -> Verdict:
    """What the facts mean at this time (UTC nanoseconds). None: there are none."""
    if not running:
        return Verdict(State.FAILED, ("no recorder is running on this data directory",))
    if facts is None:
        return Verdict(State.DEGRADED, ("the recorder is starting: it has not told anything yet",))
    found = [
        *_process(facts, now_ns),
        *_journal(facts["journal"]),
        *_disk(facts["disk"]),
        *_feeds(facts["feeds"], now_ns),
        *_seal(facts["seal"]),
        *_jobs(facts),
        *_heartbeat(facts["heartbeat"]),
    ]
    return Verdict(max((state for state, _ in found), default=State.OK), tuple(reason for _, reason in found))


Found = list[tuple[State, str]]


def _process(facts: Mapping[str, Any], now_ns: int) -> Found:
    found: Found = []
    age_s = (now_ns - facts["written_ns"]) / SECOND_NS
    if age_s > STALE_S:
        found.append((State.FAILED, f"its status is {age_s:.0f} s old: it hangs, or cannot write"))
    if facts["clock_behind_ns"] > CLOCK_PATIENCE_S * SECOND_NS:
        behind_s = facts["clock_behind_ns"] / SECOND_NS
        found.append((State.DEGRADED, f"the clock went back by {behind_s:.1f} s: received times stand until then"))
    return found


def _journal(journal: Mapping[str, Any]) -> Found:
    found: Found = []
    if journal["failed"]:
        found.append((State.FAILED, journal["failed"]))
    if journal["waiting_s"] > DURABLE_S + journal["commit_interval_ms"] / 1000:
        why = f": {journal['failing']}" if journal["failing"] else ""
        found.append((State.FAILED, f"nothing has become durable for {journal['waiting_s']:.1f} s{why}"))
    elif journal["under_pressure"]:
        found.append((State.DEGRADED, "the disk cannot follow: sockets are read no further until it has caught up"))
    if journal["damage"]:
        found.append((State.DEGRADED, f"damage was found at the start, see `recorder verify`: {journal['damage']}"))
    return found


def _seal(seal: Mapping[str, Any]) -> Found:
    if seal["age_s"] <= SEAL_ROUNDS * seal["interval_s"] + SEAL_PATIENCE_S:
        return []
    return [(State.DEGRADED, f"nothing has been sealed for {seal['age_s']:.0f} s: the journal grows")]


def _heartbeat(heartbeat: Mapping[str, Any] | None) -> Found:
    if heartbeat and heartbeat["trouble"]:
        return [(State.DEGRADED, f"the heartbeat does not arrive: {heartbeat['trouble']}")]
    return []


def _disk(disk: Mapping[str, Any]) -> Found:
    free_mb, reserve_mb = disk["free_bytes"] >> 20, disk["reserve_bytes"] >> 20
    if disk["halted"]:
        return [(State.FAILED, f"recording is halted, the disk is full: {free_mb} MB are free; make room")]
    if disk["free_bytes"] < ROOM * disk["reserve_bytes"]:
        return [(State.DEGRADED, f"{free_mb} MB are free; recording halts below {reserve_mb} MB")]
    return []


def _feeds(feeds: Mapping[str, Mapping[str, Any]], now_ns: int) -> Found:
    found: Found = []
    for name, feed in feeds.items():
        if feed["gap"]:
            length_s = (now_ns - feed["gap"]["since_ns"]) / SECOND_NS
            sentence = f"{name} has not received for {length_s:.0f} s: {feed['gap']['cause']}"
            if length_s > GAP_FAILED_S:
                found.append((State.FAILED, sentence))
            elif length_s > GAP_PATIENCE_S:
                found.append((State.DEGRADED, sentence))
        elif feed.get("unusual_silence_s"):
            silence_s = feed["unusual_silence_s"]
            found.append((State.DEGRADED, f"{name} is silent for {silence_s:.0f} s, which it never is at this hour"))
    return found


def _jobs(facts: Mapping[str, Any]) -> Found:
    return [
        (State.DEGRADED, f"the job {job['job']} failed: {job['last_outcome']}")
        for job in facts["jobs"]
        if job["last_outcome"] not in ("ok", "not run yet")
    ]
