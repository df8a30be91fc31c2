"""The check can fail: whatever is taken from a recording, put into it or changed in it is found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recorder.clock import SECOND_NS
from recorder.demo.check import COUNTS, Channel, GapRow, Row, Span, Verdict, check
from recorder.replay.upstreams.imitation import Role, Send
from recorder.replay.upstreams.ledger import Connection, Ledger, digest

NEWS, WIRE, QUOTES, NVDA = ("news", ""), ("wire", ""), ("quotes", ""), ("profiles", "NVDA")
CHANNELS = {
    ("finlight", "/"): NEWS,
    ("finlight", "/raw"): WIRE,
    ("finance_query", "/quotes"): QUOTES,
    ("finance_query", "/profile/nvda"): NVDA,
}
STREAMS = {NEWS: "enhanced", WIRE: "raw", QUOTES: "AAPL,MSFT", NVDA: "profile:NvDa"}


class Account:
    """A ledger that is written by hand. Times are seconds; messages are texts."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.rows: list[Row] = []
        self.gaps: list[GapRow] = []
        self.span = Span(0, 1000 * SECOND_NS)
        self.vanished: dict[str, list[int]] = {}

    def connect(self, number: int, upstream: str, path: str, at_s: float = 0) -> None:
        self.ledger.connections[number] = Connection(number, upstream, path, ns(at_s))

    def send(self, at_s: float, to: Channel, text: str, *connections: int, role: Role = "data") -> None:
        upstream = "finlight" if to in (NEWS, WIRE) else "finance_query"
        send = Send(connections, text.encode(), STREAMS[to], role)
        self.ledger.published(ns(at_s), upstream, send, connections)

    def record(self, channel: Channel, *texts: str) -> None:
        for text in texts:
            self.rows.append(Row(len(self.rows) + 1, channel, digest(text.encode())))

    def gap(self, channel: Channel, since_s: float, until_s: float | None) -> None:
        self.gaps.append(GapRow(channel, ns(since_s), None if until_s is None else ns(until_s)))

    def verdict(self) -> Verdict:
        total = Verdict()
        for verdict in check(self.ledger, CHANNELS, self.rows, self.gaps, self.span, self.vanished).values():
            total.add(verdict)
        assert total.sent == total.recorded + total.lost + total.lost_in_gaps
        return total

    def counts(self) -> dict[str, int]:
        """Those that are not nought."""
        verdict = self.verdict()
        return {name: getattr(verdict, name) for name in COUNTS if getattr(verdict, name)}


def ns(seconds: float) -> int:
    return int(seconds * SECOND_NS)


@pytest.fixture
def account() -> Account:
    """Two news connections in an overlap, a wire, quotes in an overlap, a profile; all of it recorded."""
    account = Account()
    account.connect(1, "finlight", "/")
    account.connect(2, "finlight", "/")
    account.connect(3, "finlight", "/raw")
    account.connect(4, "finance_query", "/quotes")
    account.connect(5, "finance_query", "/quotes")
    account.connect(6, "finance_query", "/profile/NvDa")
    account.send(1, NEWS, "admit 1", 1, role="reply")
    for second in range(10, 20):
        account.send(second, NEWS, f"article {second}", 1, *((2,) if second > 15 else ()))
        account.send(second, WIRE, f"raw {second}", 3)
        account.record(NEWS, f"article {second}")
        account.record(WIRE, f"raw {second}")
        account.send(second, QUOTES, f"prices {second}", 4)
        account.record(QUOTES, f"prices {second}")
    account.record(NEWS, "admit 1")
    account.send(20.0, QUOTES, "prices that both bring", 4)
    account.send(20.01, QUOTES, "prices that both bring", 5)
    account.record(QUOTES, "prices that both bring")
    account.send(20, NVDA, "a profile", 6, role="initial")
    account.send(20.005, NVDA, "a profile", 6)
    account.record(NVDA, "a profile", "a profile")
    account.send(21, NEWS, "no known action", 1, 2, role="odd")
    account.record(NEWS, "no known action", "no known action")
    return account


def test_a_whole_recording_is_fine(account: Account) -> None:
    verdict = account.verdict()
    assert verdict.fine
    assert (verdict.sent, verdict.recorded) == (36, 36)


def test_any_message_that_is_taken_away_is_lost(account: Account) -> None:
    rows = account.rows
    for at in range(len(rows)):
        account.rows = rows[:at] + rows[at + 1 :]
        assert account.counts() == {"sent": 36, "recorded": 35, "lost": 1}, rows[at]


def test_any_message_that_is_there_twice_is_duplicated(account: Account) -> None:
    rows = account.rows
    for row in rows:
        account.rows = [*rows, replace(row, position=len(rows) + 1)]
        verdict = account.verdict()
        assert (verdict.duplicated, verdict.recorded, verdict.lost) == (1, 36, 0), row
        assert str(len(rows) + 1) in verdict.examples[0]


def test_any_byte_that_is_changed_is_an_altered_message_and_a_lost_one(account: Account) -> None:
    rows = account.rows
    for at, row in enumerate(rows):
        account.rows = [*rows[:at], replace(row, digest=digest(b"a profilE")), *rows[at + 1 :]]
        assert account.counts() == {"sent": 36, "recorded": 35, "lost": 1, "altered": 1}, row


def test_a_message_in_the_wrong_feed_is_lost_in_its_own_and_altered_in_the_other(account: Account) -> None:
    account.rows[0] = replace(account.rows[0], channel=WIRE)
    assert account.counts() == {"sent": 36, "recorded": 35, "lost": 1, "altered": 1}


def test_a_message_of_a_feed_nobody_subscribed_is_altered(account: Account) -> None:
    account.record(("ghosts", ""), "boo")
    assert account.counts() == {"sent": 36, "recorded": 36, "altered": 1}


@pytest.mark.parametrize(
    ("gaps", "excused"),
    [
        ([(NEWS, 11.5, 12.5)], True),
        ([(NEWS, 12.0, 12.0)], True),
        ([(NEWS, 12.4, 13.0)], True),  # it may have died on the way, half a second before the gap
        ([(NEWS, 12.6, 13.0)], False),
        ([(NEWS, 11.0, 11.9)], False),  # whoever is connected again gets everything
        ([(NEWS, 11.5, None)], True),  # still open at the end
        ([(NEWS, 13.5, None)], False),
        ([(WIRE, 11.5, 12.5)], False),
        ([(("news", "AAPL"), 11.5, 12.5)], False),
        ([(NEWS, 1.0, 2.0), (NEWS, 11.9, 12.1)], True),
        ([], False),
    ],
)
def test_only_a_gap_of_its_channel_at_its_time_excuses_a_missing_message(
    account: Account, gaps: list[tuple[Channel, float, float | None]], excused: bool
) -> None:
    account.rows = [row for row in account.rows if row.digest != digest(b"article 12")]
    for gap in gaps:
        account.gap(*gap)
    assert account.counts() == {"sent": 36, "recorded": 35, "lost_in_gaps" if excused else "lost": 1}


def test_a_gap_excuses_nothing_that_is_doubled(account: Account) -> None:
    account.gap(NEWS, 0, None)
    account.record(NEWS, "article 12")
    assert not account.verdict().fine


def test_an_article_that_was_published_for_nobody_is_missing_too(account: Account) -> None:
    account.send(30, NEWS, "while we were away")
    assert account.counts() == {"sent": 37, "recorded": 36, "lost": 1}
    account.gap(NEWS, 29, 31)
    assert account.counts() == {"sent": 37, "recorded": 36, "lost_in_gaps": 1}


def test_what_was_published_for_nobody_before_the_start_and_after_the_end_does_not_count(account: Account) -> None:
    account.span = Span(ns(5), ns(25))
    account.send(4, NEWS, "before")
    account.send(25, NEWS, "after")
    assert account.counts() == {"sent": 36, "recorded": 36}
    account.send(26, NEWS, "after, to a connection that was being closed", 1)
    account.gap(NEWS, 25, None)
    assert account.counts() == {"sent": 37, "recorded": 36, "lost_in_gaps": 1}


def test_an_article_missed_and_then_received_as_the_newest_is_due_once(account: Account) -> None:
    account.send(30, NEWS, "newest")
    account.connect(7, "finlight", "/")
    account.send(31, NEWS, "newest", 7, role="initial")
    account.record(NEWS, "newest")
    assert account.counts() == {"sent": 37, "recorded": 37}
    account.record(NEWS, "newest")
    assert account.counts() == {"sent": 37, "recorded": 37, "duplicated": 1}


def test_an_article_published_twice_is_due_twice(account: Account) -> None:
    account.send(30, NEWS, "again", 1, 2)
    account.send(31, NEWS, "again", 1, 2)
    account.record(NEWS, "again")
    assert account.counts() == {"sent": 38, "recorded": 37, "lost": 1}
    account.record(NEWS, "again")
    assert account.counts() == {"sent": 38, "recorded": 38}


@pytest.mark.parametrize(("apart_s", "doubled"), [(0.2, True), (0.8, False), (3.0, False)])
def test_the_same_picture_on_two_connections_is_doubled_only_if_they_brought_it_together(
    account: Account, apart_s: float, doubled: bool
) -> None:
    account.send(30, QUOTES, "a quiet market", 4)
    account.send(30 + apart_s, QUOTES, "a quiet market", 5)
    account.record(QUOTES, "a quiet market")
    assert account.verdict().fine
    account.record(QUOTES, "a quiet market")
    assert account.verdict().fine is not doubled


def test_a_picture_the_server_wrote_to_nobody_is_due_to_nobody(account: Account) -> None:
    account.send(30, QUOTES, "muted")
    assert account.counts() == {"sent": 36, "recorded": 36}


def test_a_connection_of_somebody_else_is_not_looked_at(account: Account) -> None:
    account.connect(8, "finance_query", "/profile/AAPL")
    account.send(30, NVDA, "not ours", 8)
    assert account.counts() == {"sent": 36, "recorded": 36}


def test_not_more_examples_are_told_than_a_person_reads(account: Account) -> None:
    account.rows = []
    verdict = account.verdict()
    assert (verdict.lost, len(verdict.examples)) == (36, 20)


def test_what_is_written_to_a_vanished_connection_has_to_be_in_a_gap_until_another_is_there(account: Account) -> None:
    account.vanished["finance_query"] = [ns(29)]
    account.connect(7, "finance_query", "/profile/nvDA", 40)
    account.send(35, NVDA, "before the other", 6)
    account.send(41, NVDA, "to the ghost alone", 6)
    assert account.counts() == {"sent": 37, "recorded": 36, "lost": 1}
    account.gap(NVDA, 30, 40.5)
    assert account.counts() == {"sent": 37, "recorded": 36, "lost_in_gaps": 1}
