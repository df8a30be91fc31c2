"""Do the clocks and the event loop go as they should? Looked at once a second.

Pure. In: each look's moment, and how far the wall clock is behind. Out: the entries that a look gives reason for. A
step is seen against the monotonic clock, which nobody sets, so slewing by NTP (0.5 ms a second) is none. If the power
fails between two looks, what the second would have said is in the bounds of the gap.
"""

from __future__ import annotations

from recorder.clock import SECOND_NS, Moment

STEP_NS = SECOND_NS
STALL_NS = SECOND_NS  # beyond the look's own second

Entry = tuple[str, dict[str, int]]  # event and its field


class ClockWatch:
    """`every_s`: how far apart looks are meant to be."""

    def __init__(self, every_s: float) -> None:
        self._every_ns = int(every_s * SECOND_NS)
        self._offset_ns: int | None = None  # of the wall clock from the monotonic one
        self._looked_ns = 0

    def look(self, now: Moment, behind_ns: int) -> list[Entry]:
        """What has happened since the last look. The first one sees a clock that an earlier recorder was ahead of."""
        entries: list[Entry] = []
        offset_ns = now.utc_ns - behind_ns - now.monotonic_ns
        if self._offset_ns is None:
            step_ns, stalled_ns = -behind_ns, 0
        else:
            step_ns = offset_ns - self._offset_ns
            stalled_ns = now.monotonic_ns - self._looked_ns - self._every_ns
        if stalled_ns > STALL_NS:
            entries.append(("recorder.stalled", {"stalled_ns": stalled_ns}))
        if step_ns > STEP_NS:
            entries.append(("clock.stepped", {"ahead_ns": step_ns}))
        elif step_ns < -STEP_NS:
            entries.append(("clock.stepped", {"behind_ns": -step_ns}))
        self._offset_ns, self._looked_ns = offset_ns, now.monotonic_ns
        return entries
