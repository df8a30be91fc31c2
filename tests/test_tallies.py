from __future__ import annotations

import pytest

from recorder import tallies
from recorder.clock import SECOND_NS
from recorder.message import Stream
from recorder.partitions.sealer import Report
from recorder.partitions.upkeep import Compacted
from recorder.tallies import Tallies, word_of

NEWS, QUOTES = Stream("news", "finlight"), Stream("quotes", "finance_query.quotes")


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        ("closed with 1006 [Errno 104] Connection reset by peer", "closed"),
        ("refused with HTTP 429", "refused"),
        ("stopped by SIGTERM", "stopped"),
        ("disk full", "disk_full"),
        ("silent", "silent"),
        ("No connection to 127.0.0.1:1: Connection refused.", "other"),
        ("whatever an upstream may say", "other"),
    ],
)
def test_what_an_upstream_says_never_becomes_a_label(cause: str, word: str) -> None:
    assert word_of(cause) == word


def test_gaps_are_counted_by_the_word_of_their_cause_and_by_their_length() -> None:
    found = Tallies()
    for _ in range(2):
        found.noted(NEWS, "gap.opened", {"since_ns": 0, "cause": "closed with 1001 Going away"})
        found.noted(NEWS, "gap.closed", {"since_ns": 0, "until_ns": 3 * SECOND_NS, "cause": "closed with 1001"})
    found.took(NEWS, [b"12", b"345"])
    assert found.of(NEWS) == {"messages": 2, "bytes": 5, "gaps": {"closed": 2}, "gaps_s": 6.0}
    assert found.of(QUOTES) == {"messages": 0, "bytes": 0, "gaps": {}, "gaps_s": 0.0}


def test_runs_add_up() -> None:
    found = Tallies()
    for _ in range(2):
        sealed = Report(1, sealed_position=50, file_bytes=7, seconds=0.25)
        sealed.rows["quotes"] += 3
        tallies.add(found.sealed, sealed)
        tallies.add(found.compacted, Compacted(works=1, parts_before=60, parts_after=1, left=["hour"]))
    facts = found.facts()
    assert facts["sealed"]["rows"] == {"quotes": 6}
    assert (facts["sealed"]["rounds"], facts["sealed"]["file_bytes"], facts["sealed"]["seconds"]) == (2, 14, 0.5)
    assert (facts["compacted"]["works"], facts["compacted"]["parts_before"]) == (2, 120)
