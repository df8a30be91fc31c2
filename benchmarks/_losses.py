"""What a client lacks of what an upstream published, and what it has twice. Pure.

In: the ledger's entries in order of publication, what the client heard in order of arrival. Out: the holes, each with
the moments between which the client heard nothing. What was published before the first or after the last message it
heard is nobody's loss here: the client was not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from recorder.replay.upstreams.ledger import Entry

Heard = tuple[str, int]  # digest of a message, and when it arrived, ns UTC; 0 where nobody knows


@dataclass(frozen=True, slots=True)
class Hole:
    lost: int  # messages
    published_ns: int  # the first of them
    since_ns: int  # when the message before them arrived
    until_ns: int  # when the message after them arrived

    def is_within(self, gaps: Iterable[tuple[int, int]]) -> bool:
        """Whether a recorded gap tells of it. Both have the moments of the same arrivals as their bounds."""
        return any(since_ns <= self.until_ns and until_ns >= self.since_ns for since_ns, until_ns in gaps)


@dataclass(frozen=True, slots=True)
class Comparison:
    published: int  # while the client was there
    doubled: int
    foreign: int  # heard, but never published
    holes: list[Hole]

    def lost(self, since_ns: int, until_ns: int) -> int:
        """Messages lost of those published in [since_ns, until_ns)."""
        return sum(hole.lost for hole in self.holes if since_ns <= hole.published_ns < until_ns)


def compare(entries: Sequence[Entry], heard: Sequence[Heard]) -> Comparison:
    """Entries of one channel. There must be a message that was heard."""
    arrived: dict[str, int] = {}
    for digest, received_ns in heard:
        arrived.setdefault(digest, received_ns)
    there = [index for index, entry in enumerate(entries) if entry.digest in arrived]
    holes = [
        Hole(
            index - before - 1,
            entries[before + 1].utc_ns,
            arrived[entries[before].digest],
            arrived[entries[index].digest],
        )
        for before, index in pairwise(there)
        if index - before > 1
    ]
    published = Counter(entry.digest for entry in entries)
    times = Counter(digest for digest, _ in heard)
    doubled = sum(max(0, count - published[digest]) for digest, count in times.items() if digest in published)
    foreign = sum(count for digest, count in times.items() if digest not in published)
    return Comparison(there[-1] - there[0] + 1, doubled, foreign, holes)
