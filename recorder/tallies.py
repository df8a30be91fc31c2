"""What a recorder has counted since it started, beside the journal's own figures: messages, gaps, sealing, compaction.

In: what happens, as it happens. Out: facts for `status` and the metrics. Nothing here is on disk: a restart counts from
nought, which is what Prometheus expects of a counter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from recorder.clock import SECOND_NS
from recorder.message import Stream
from recorder.partitions.sealer import Report
from recorder.partitions.upkeep import Compacted

# Causes are sentences for people, some with what an upstream said; a metric's label needs few words. First match.
CAUSES = (
    ("start", "start"),
    ("crash", "crash"),
    ("removed", "removed"),
    ("stopped", "stopped"),
    ("disk full", "disk_full"),
    ("silent", "silent"),
    ("deaf", "deaf"),
    ("closed with", "closed"),
    ("refused with", "refused"),
    ("rotation", "rotation"),
    ("preempted", "preempted"),
    ("kicked", "kicked"),
)
OTHER = "other"
WORDS = (*(word for _, word in CAUSES), OTHER)


def word_of(cause: str) -> str:
    """A gap's cause as one of few words: `closed with 1001 Going away` is `closed`."""
    return next((word for beginning, word in CAUSES if cause.startswith(beginning)), OTHER)


@dataclass(slots=True)
class Tallies:
    messages: Counter[Stream] = field(default_factory=Counter)  # of every kind, the recorder's own entries too
    payload_bytes: Counter[Stream] = field(default_factory=Counter)
    gaps: Counter[tuple[Stream, str]] = field(default_factory=Counter)  # opened, by the word of their cause
    gap_ns: Counter[Stream] = field(default_factory=Counter)  # of those that have ended
    sealed: Report = field(default_factory=Report)
    compacted: Compacted = field(default_factory=Compacted)

    def took(self, stream: Stream, payloads: Sequence[bytes]) -> None:
        self.messages[stream] += len(payloads)
        self.payload_bytes[stream] += sum(map(len, payloads))

    def noted(self, stream: Stream, event: str, told: dict[str, Any]) -> None:
        """A lifecycle entry."""
        if event == "gap.opened":
            self.gaps[stream, word_of(told["cause"])] += 1
        elif event == "gap.closed":
            self.gap_ns[stream] += told["until_ns"] - told["since_ns"]

    def of(self, stream: Stream) -> dict[str, Any]:
        """The facts of one channel."""
        return {
            "messages": self.messages[stream],
            "bytes": self.payload_bytes[stream],
            "gaps": {word: count for (of, word), count in self.gaps.items() if of == stream},
            "gaps_s": self.gap_ns[stream] / SECOND_NS,
        }

    def facts(self) -> dict[str, Any]:
        """Of the recorder as a whole."""
        return {
            name: {each.name: getattr(total, each.name) for each in fields(total) if each.name not in NOT_SUMMED}
            for name, total in (("sealed", self.sealed), ("compacted", self.compacted))
        }


NOT_SUMMED = ("sealed_position", "left")


def add(total: Report | Compacted, more: Report | Compacted) -> None:
    """Add one run's figures to all runs'."""
    for each in fields(total):
        so_far, value = getattr(total, each.name), getattr(more, each.name)
        if isinstance(so_far, Counter):
            so_far.update(value)
        elif each.name not in NOT_SUMMED:
            setattr(total, each.name, so_far + value)
    if isinstance(total, Report):
        total.unparsed.update(dict.fromkeys(total.rows, 0))  # tables are told from nought on
