"""Which gaps of one feed wait to be filled, when a pass over them is due, and what a person is told of each.

Pure. In: gaps as they close, or as the last recorder left them; what passes found; the time. Out: gaps to be looked at
together, and the fields of a `gap.repaired` entry for each. Lives in memory: after a power cut the gaps that still wait
are those whose last entry says so, or that have none.

A gap is looked at twice: soon after it, and once more when late articles are indexed. A pass that could not be finished
is due again as long as the API may reach back so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.backfill import DAY_NS, ClosedGap, Done, Filling
from recorder.feeds.feed import NEVER_NS
from recorder.feeds.finlight_rest import HOUR_S, Refusal, Version
from recorder.settings import Finlight

REACH_NS = 31 * DAY_NS  # the smaller plans give a month, and only empty pages before it
TOGETHER_NS = 3600 * SECOND_NS  # gaps no further apart are looked at in one pass: flapping is not paid by the gap
TOGETHER_MAX = 100
GAPS_MAX = 1000  # that wait; a feed that breaks more often has other sorrows, and the oldest are given up

TOO_OLD = "older than a month"
RAW = "raw feed: text fields only, timing differs"


@dataclass(slots=True, eq=False)
class Waiting:
    """A gap that waits. Times are UTC nanoseconds."""

    gap: ClosedGap
    due_ns: int
    recovered: int = 0
    told: str = ""  # in its last entry
    kept: set[Version] = field(default_factory=set)


class Agenda:
    """The gaps of one feed."""

    def __init__(self, feed: Finlight) -> None:
        self.waiting: list[Waiting] = []
        self.passes = 0
        self.recovered = 0
        self._raw = feed.kind == "finlight.raw"
        self._delay_ns = int(feed.backfill_delay_s * SECOND_NS)
        self._again_ns = int(feed.backfill_again_s * SECOND_NS)
        self._rest_until_ns = 0  # no pass before

    def add(self, gap: ClosedGap, *, recovered: int = 0, again_ns: int | None = None) -> None:
        """A gap has closed, or was left waiting by the last recorder. One that is known is not added twice."""
        if gap.since_ns not in {each.gap.since_ns for each in self.waiting}:
            self.waiting.append(Waiting(gap, again_ns or gap.until_ns + self._delay_ns, recovered))

    @property
    def due_ns(self) -> int:
        """UTC nanoseconds at which `take` is wanted."""
        return max(self._rest_until_ns, min((each.due_ns for each in self.waiting), default=NEVER_NS))

    def give_up(self, now: Moment) -> list[dict[str, Any]]:
        """Entries for gaps that nobody can fill any more."""
        newest_first = sorted(self.waiting, key=lambda each: each.gap, reverse=True)
        entries = [self._end(each, "too many gaps wait") for each in newest_first[GAPS_MAX:]]
        old = [each for each in self.waiting if each.gap.until_ns < now.utc_ns - REACH_NS]
        return entries + [self._end(each, TOO_OLD) for each in old]

    def take(self, now: Moment) -> list[Waiting]:
        """The gaps of the next pass: the newest that is due, and those before it that are near."""
        due = sorted(
            (each for each in self.waiting if each.due_ns <= now.utc_ns), key=lambda each: each.gap, reverse=True
        )
        taken: list[Waiting] = []
        for each in due[:TOGETHER_MAX]:
            if taken and taken[-1].gap.since_ns - each.gap.until_ns > TOGETHER_NS:
                break
            taken.append(each)
        if taken:
            self.passes += 1
            self._rest_until_ns = now.utc_ns + self._delay_ns
        return taken

    def done(self, taken: Sequence[Waiting], done: Done, began: Moment, now: Moment) -> list[dict[str, Any]]:
        """What the pass found, as entries. `began`: when it looked at what is recorded."""
        fillings = {filling.gap: filling for filling in done.fillings}
        entries = [self._entry(each, fillings[each.gap], done, began, now) for each in taken]
        return [entry for entry in entries if entry]

    def failed(self, taken: Sequence[Waiting], cause: str, now: Moment) -> list[dict[str, Any]]:
        """The pass broke on our side."""
        nothing = Done([Filling(each.gap) for each in taken], 0, Refusal(cause, HOUR_S))
        return self.done(taken, nothing, now, now)

    # --- one gap ------------------------------------------------------------------------------------------------

    def _entry(
        self, waiting: Waiting, filling: Filling, done: Done, began: Moment, now: Moment
    ) -> dict[str, Any] | None:
        gap = waiting.gap
        waiting.recovered += filling.recovered
        waiting.kept.update(filling.kept)
        self.recovered += filling.recovered
        last_ns = gap.until_ns + self._again_ns
        late_pass = began.utc_ns >= last_ns
        if done.refusal:
            cause, again_s = done.refusal.cause, done.refusal.again_s
            again_ns = None if again_s is None else now.utc_ns + int(again_s * SECOND_NS)
            told = f"waiting: {cause}" if again_ns else self._part(waiting, cause)
        elif late_pass:
            again_ns, told = None, self._whole(waiting, now)
        else:
            again_ns, told = last_ns, "looked once; what is indexed late is looked for once more"
        if again_ns is None:
            self.waiting.remove(waiting)
        else:
            waiting.due_ns = again_ns
        if told == waiting.told and not filling.recovered:
            return None
        waiting.told = told
        return {
            "since_ns": gap.since_ns,
            "until_ns": gap.until_ns,
            "recovered": filling.recovered,
            "already": filling.already,
            "pages": done.pages,
            "late_pass": late_pass,
            "complete": again_ns is None and done.refusal is None,
            "repair": told,
            "again_ns": again_ns,
        }

    def _end(self, waiting: Waiting, cause: str) -> dict[str, Any]:
        self.waiting.remove(waiting)
        gap, told = waiting.gap, self._part(waiting, cause)
        facts = {"recovered": 0, "already": 0, "pages": 0, "late_pass": False, "complete": False}
        return {"since_ns": gap.since_ns, "until_ns": gap.until_ns, **facts, "repair": told, "again_ns": None}

    def _whole(self, waiting: Waiting, now: Moment) -> str:
        if waiting.gap.since_ns < now.utc_ns - REACH_NS:
            return f"partial: {TOO_OLD}"
        return f"complete; {RAW}" if self._raw else "complete"

    def _part(self, waiting: Waiting, cause: str) -> str:
        return f"{'partial' if waiting.recovered else 'never'}: {cause}"
