from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recorder.message import Stream
from recorder.reload import plan
from recorder.settings import Settings

NEWS = Stream("news", "finlight")
QUOTES = Stream("quotes", "finance_query.quotes")
FEEDS: dict[str, Any] = {
    "news": {"kind": "finlight"},
    "quotes": {"kind": "finance_query.quotes", "symbols": ["AAPL"]},
    "profiles": {"kind": "finance_query.profile", "symbols": ["AAPL", "MSFT"]},
}


def profile(symbol: str) -> Stream:
    return Stream("profiles", "finance_query.profile", symbol)


def settings(without: str = "", **feeds: dict[str, Any]) -> Settings:
    merged = {name: {**FEEDS.get(name, {}), **feeds.get(name, {})} for name in FEEDS | feeds if name != without}
    return Settings.model_validate({"data": "/var/lib/recorder", "feeds": merged})


def test_the_same_configuration_changes_nothing() -> None:
    nothing = plan(settings(), settings())
    assert nothing.keep == (NEWS, QUOTES, profile("AAPL"), profile("MSFT"))
    assert not (nothing.add or nothing.change or nothing.remove or nothing.restart)


def test_a_symbol_more_costs_the_other_channels_of_a_profile_feed_nothing() -> None:
    grown = plan(settings(), settings(profiles={"symbols": ["NVDA", "AAPL"]}))
    assert grown.keep == (NEWS, QUOTES, profile("AAPL"))
    assert grown.add == (profile("NVDA"),)
    assert grown.remove == (profile("MSFT"),)


def test_another_wish_of_a_feed_changes_it_and_no_other() -> None:
    changed = plan(settings(), settings(quotes={"symbols": ["AAPL", "NVDA"]}))
    assert changed.change == (QUOTES,)
    assert changed.keep == (NEWS, profile("AAPL"), profile("MSFT"))


def test_another_key_changes_the_feed_that_uses_it() -> None:
    assert plan(settings(), settings(), rekeyed={"news"}).change == (NEWS,)


def test_another_kind_under_the_same_name_is_another_channel() -> None:
    other = plan(settings(), settings(news={"kind": "finlight.raw"}))
    assert other.remove == (NEWS,)
    assert other.add == (Stream("news", "finlight.raw"),)


def test_what_is_no_feed_is_named_as_needing_a_restart() -> None:
    old = settings()
    journal = old.journal.model_copy(update={"commit_interval_ms": 50})
    new = old.model_copy(update={"data": Path("/elsewhere"), "journal": journal})
    assert plan(old, new).restart == ("data", "journal")


names = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.sampled_from(["AAPL", "MSFT", "NVDA"]), min_size=1, unique=True),
    max_size=3,
)


@given(names, names, st.sets(st.sampled_from(["a", "b", "c"])))
def test_every_channel_of_either_is_in_the_plan_exactly_once(
    before: dict[str, list[str]], after: dict[str, list[str]], rekeyed: set[str]
) -> None:
    old, new = (
        Settings.model_validate({"feeds": {n: {"kind": "finance_query.profile", "symbols": s} for n, s in of.items()}})
        for of in (before, after)
    )
    made = plan(old, new, rekeyed)
    wanted = {(name, symbol) for name, symbols in after.items() for symbol in symbols}
    had = {(name, symbol) for name, symbols in before.items() for symbol in symbols}
    assert {(s.feed, s.channel) for s in (*made.keep, *made.change)} == wanted & had
    assert {(s.feed, s.channel) for s in made.add} == wanted - had
    assert {(s.feed, s.channel) for s in made.remove} == had - wanted
    assert len(made.keep) + len(made.change) + len(made.add) + len(made.remove) == len(wanted | had)
    assert {s.feed for s in made.change} <= rekeyed
