from __future__ import annotations

from typing import Any

import orjson
import pytest

from recorder.clock import Moment
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.relay.latest import NO_PROFILE, Latest
from recorder.replay.upstreams.as_finance_query import Fetch
from recorder.replay.upstreams.imitation import LATER, Later

NOW = Moment(0, 0)
TECH = Stream("tech", "finance_query.quotes")
BANKS = Stream("banks", "finance_query.quotes")
MARKET = Stream("market", "finance_query.market")
AAPL = Stream("profiles", "finance_query.profile", "aapl")
NVDA = Stream("profiles", "finance_query.profile", "NVDA")


def frame(position: int, stream: Stream, payload: bytes, mark: Mark = Mark.NONE) -> Message:
    return Message(position, stream, Kind.DATA, mark, position, position, 1, payload)


def row(symbol: str, price: str = "1.00") -> bytes:
    return b'{"symbol":"%s","price":"%s"}' % (symbol.encode(), price.encode())


def rows(*each: bytes) -> bytes:
    return b"[" + b",".join(each) + b"]"


def quotes(*symbols: str) -> Fetch:
    return Fetch("quotes", frozenset(symbols))


class Known:
    """A Latest that was told everything there is to be looked up: nothing."""

    def __init__(self, *recorded: str) -> None:
        self.asked: list[Fetch] = []
        self.latest = Latest(self.asked.append, set(recorded).__contains__)

    def fetch(self, wanted: Fetch) -> bytes | Later | None:
        answer = self.latest.fetch(wanted, NOW)
        if answer is LATER and self.asked:
            self.latest.found(self.asked.pop(), [])
            answer = self.latest.fetch(wanted, NOW)
        return answer

    def concerns(self, message: Message, fetch: Fetch) -> bool:
        return self.latest.take(message)(fetch)


# --- composing ------------------------------------------------------------------------------------------------


def test_exactly_the_asked_symbols_leave_in_the_bytes_in_which_they_came() -> None:
    odd = b'{ "price" : 4300.0, "symbol":"MSFT","name":"caf\xc3\xa9 \\u00e9\\/" , "x":[1e400,{"symbol":"NO"}]}'
    known = Known()
    known.latest.take(frame(1, TECH, b"[ " + row("AAPL") + b" ,\n" + odd + b", " + row("NVDA") + b"]"))
    assert known.fetch(quotes("NVDA", "MSFT")) == b"[" + odd + b"," + row("NVDA") + b"]"
    assert known.fetch(quotes("AAPL", "NOSUCH")) == rows(row("AAPL"))
    assert known.fetch(quotes("NOSUCH")) == b"[]"


def test_a_frame_with_exactly_the_asked_symbols_leaves_unchanged() -> None:
    payload = b"[" + row("MSFT") + b" , " + row("AAPL") + b" ]"
    known = Known()
    known.latest.take(frame(1, TECH, payload))
    assert known.fetch(quotes("AAPL", "MSFT")) == payload
    assert known.fetch(quotes("AAPL", "MSFT", "NOSUCH")) == payload


def test_the_recorded_rate_limit_is_no_row() -> None:
    known = Known()
    known.latest.take(frame(1, TECH, rows(b'{"metadata":{"rate_limit":8000}}', row("AAPL"), row("MSFT"))))
    assert known.fetch(quotes("AAPL", "MSFT")) == rows(row("AAPL"), row("MSFT"))


def test_rows_of_several_feeds_are_put_together_in_an_order_that_stays() -> None:
    known, wanted = Known(), quotes("AAPL", "JPM", "GS")
    known.latest.take(frame(1, TECH, rows(row("AAPL", "1"))))
    known.latest.take(frame(2, BANKS, rows(row("GS", "1"), row("JPM", "1"))))
    assert known.fetch(wanted) == rows(row("GS", "1"), row("JPM", "1"), row("AAPL", "1"))
    known.latest.take(frame(3, TECH, rows(row("AAPL", "2"))))
    assert known.fetch(wanted) == rows(row("GS", "1"), row("JPM", "1"), row("AAPL", "2"))


def test_of_a_symbol_in_two_feeds_the_newest_row_counts() -> None:
    known, wanted = Known(), quotes("AAPL", "JPM")
    known.latest.take(frame(1, BANKS, rows(row("AAPL", "old"), row("JPM"))))
    known.latest.take(frame(2, TECH, rows(row("AAPL", "new"))))
    assert known.fetch(wanted) == rows(row("AAPL", "new"), row("JPM"))
    known.latest.take(frame(3, BANKS, rows(row("AAPL", "newest"), row("JPM"))))
    assert known.fetch(wanted) == rows(row("AAPL", "newest"), row("JPM"))


def test_a_row_that_is_missing_for_one_frame_is_missing_for_one_frame() -> None:
    known, wanted = Known(), quotes("AAPL", "MSFT")
    known.latest.take(frame(1, TECH, rows(row("AAPL"), row("MSFT"))))
    assert known.concerns(frame(2, TECH, rows(row("MSFT"))), quotes("AAPL"))
    assert known.fetch(wanted) == rows(row("MSFT"))
    known.latest.take(frame(3, TECH, rows(row("AAPL"), row("MSFT"))))
    assert known.fetch(wanted) == rows(row("AAPL"), row("MSFT"))


@pytest.mark.parametrize("payload", [b"", b"no json", b"{}", b"5", b'["a",{"symbol":5},null]', b"[[[[", b"\xff"])
def test_a_frame_that_is_no_array_of_rows_has_none(payload: bytes) -> None:
    known = Known()
    known.latest.take(frame(1, TECH, payload))
    assert known.fetch(quotes("AAPL")) == b"[]"


# --- whom a frame concerns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "payload", "fetch", "expected"),
    [
        (TECH, rows(row("AAPL")), quotes("AAPL", "JPM"), True),
        (TECH, rows(row("AAPL")), quotes("MSFT", "JPM"), False),  # of the frame before, but not of this one
        (TECH, rows(row("AAPL")), quotes("NOSUCH"), True),  # in no frame: [] as often as anything comes
        (TECH, rows(row("AAPL")), Fetch("market"), False),
        (MARKET, b"{}", Fetch("market"), True),
        (MARKET, b"{}", Fetch("hours"), False),
        (MARKET, b"{}", quotes("AAPL"), False),
        (AAPL, b"{}", Fetch("profile", frozenset({"AAPL"})), True),
        (AAPL, b"{}", Fetch("profile", frozenset({"aApL"})), True),
        (NVDA, b"{}", Fetch("profile", frozenset({"AAPL"})), False),
    ],
)
def test_each_frame_concerns_those_who_ask_for_something_in_it(
    stream: Stream, payload: bytes, fetch: Fetch, expected: bool
) -> None:
    known = Known()
    known.latest.take(frame(1, BANKS, rows(row("JPM"), row("MSFT"))))
    assert known.concerns(frame(2, stream, payload), fetch) is expected


def test_odd_and_late_frames_concern_nobody_and_change_nothing() -> None:
    known = Known()
    known.latest.take(frame(5, MARKET, b"5"))
    assert not known.concerns(frame(6, MARKET, b"6", Mark.ODD), Fetch("market"))
    assert not known.concerns(frame(4, MARKET, b"4"), Fetch("market"))
    assert known.fetch(Fetch("market")) == b"5"


# --- looking up -----------------------------------------------------------------------------------------------


def test_each_question_is_looked_up_once_and_what_came_meanwhile_stands() -> None:
    asked: list[Fetch] = []
    latest = Latest(asked.append, lambda _: True)
    assert latest.fetch(quotes("AAPL", "JPM"), NOW) is LATER
    assert latest.fetch(quotes("AAPL", "JPM"), NOW) is LATER
    assert asked == [quotes("AAPL", "JPM")]
    latest.take(frame(9, TECH, rows(row("AAPL", "new"))))
    found = [frame(7, TECH, rows(row("AAPL", "old"))), frame(8, BANKS, rows(row("JPM")))]
    latest.found(asked[0], found)
    assert latest.fetch(quotes("AAPL", "JPM"), NOW) == rows(row("JPM"), row("AAPL", "new"))
    assert len(asked) == 1


def test_before_the_first_frame_there_is_none_yet() -> None:
    known = Known("AAPL")
    for fetch in (quotes("AAPL"), Fetch("market"), Fetch("profile", frozenset({"aapl"}))):
        assert known.fetch(fetch) is LATER


def test_a_profile_that_was_never_recorded_has_no_quote() -> None:
    assert Known("AAPL").fetch(Fetch("profile", frozenset({"TSLA"}))) == NO_PROFILE
    orjson.loads(NO_PROFILE)


def test_at_another_moment_everything_is_looked_up_anew() -> None:
    known = Known()
    known.latest.take(frame(1, MARKET, b"1"))
    assert known.fetch(Fetch("market")) == b"1"
    known.latest.forget()
    assert known.latest.fetch(Fetch("market"), NOW) is LATER
    assert known.asked == [Fetch("market")]


@pytest.mark.parametrize(
    ("wanted", "covered"),
    [
        (quotes("AAPL"), True),
        (quotes("AAPL", "JPM"), True),
        (quotes("AAPL", "NOSUCH"), False),
        (Fetch("profile", frozenset({"AAPL"})), True),
        (Fetch("profile", frozenset({"NVDA"})), False),
        (Fetch("market"), False),
    ],
)
def test_a_look_has_enough_when_it_has_all_that_is_asked_for(wanted: Fetch, covered: bool) -> None:
    found = [frame(1, TECH, rows(row("AAPL"))), frame(2, BANKS, rows(row("JPM"))), frame(3, AAPL, b"{}")]
    assert Known().latest.covers(wanted, found) is covered


# --- gaps -----------------------------------------------------------------------------------------------------


def test_in_a_gap_of_all_feeds_that_have_it_a_fetch_fails_until_something_comes() -> None:
    known: Any = Known()
    wanted = quotes("AAPL", "JPM")
    known.latest.take(frame(1, TECH, rows(row("AAPL"))))
    known.latest.take(frame(2, BANKS, rows(row("JPM"))))
    known.latest.silent.add(TECH)
    assert known.fetch(quotes("AAPL")) is None
    assert known.fetch(wanted) == rows(row("JPM"), row("AAPL"))
    known.latest.silent.add(BANKS)
    assert known.fetch(wanted) is None
    assert known.fetch(Fetch("market")) is LATER
    known.latest.take(frame(3, TECH, rows(row("AAPL", "2"))))
    assert known.fetch(quotes("AAPL")) == rows(row("AAPL", "2"))
