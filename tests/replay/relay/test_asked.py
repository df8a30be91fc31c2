from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import RequestInvalid
from recorder.replay.moments import Point
from recorder.replay.relay.asked import OWN, PLAYED, UPSTREAMS, Asked, parse


def test_without_a_word_it_is_live_at_its_own_pace() -> None:
    asked = parse({})
    assert (asked.options.from_, asked.options.speed, asked.options.paused) == (Point(live=True), 1.0, False)
    assert (asked.name, asked.feeds, asked.as_recorded) == (None, None, False)


def test_the_query_is_over_the_servers_defaults() -> None:
    asked = parse({"speed": "60"}, None, {"from": "start", "speed": "max", "max_idle": "5"})
    assert (asked.options.from_, asked.options.speed) == (Point(start=True), 60.0)
    assert asked.options.max_idle_ns == 5_000_000_000


def test_what_clients_say_to_the_upstream_is_not_ours() -> None:
    assert parse({"apiKey": "k", "takeover": "true", "clientVersion": "x", "token": "t"}) == parse({})


def test_feeds_and_faults() -> None:
    asked = parse({"feed": "a,b", "faults": "as_recorded"})
    assert (asked.feeds, asked.as_recorded) == (frozenset({"a", "b"}), True)


def test_the_session_may_stand_in_the_path_or_the_query() -> None:
    assert parse({}, "x").name == parse({"session": "x"}).name == parse({"session": "x"}, "x").name == "x"


@pytest.mark.parametrize(
    ("query", "session", "parameter"),
    [
        ({"speeed": "2"}, None, "parameter"),
        ({"feeds": "a"}, None, "parameter"),
        ({"speed": "0"}, None, "speed"),
        ({"from": "yesterday"}, None, "from"),
        ({"faults": "yes"}, None, "faults"),
        ({"session": "x"}, "y", "session"),
        ({}, "../etc", "session"),
        ({"session": ""}, None, "session"),
    ],
)
def test_what_is_not_possible_is_refused_by_name(query: dict[str, str], session: str | None, parameter: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        parse(query, session)
    assert refused.value.parameter == parameter


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ({"session": "x"}, {"session": "x"}, True),
        ({"session": "x", "from": "start"}, {"session": "x", "speed": "5"}, True),
        ({"session": "x"}, {"session": "y"}, False),
        ({"session": "x"}, {"session": "x", "feed": "a"}, False),
        ({"session": "x"}, {"session": "x", "faults": "as_recorded"}, False),
        ({}, {}, False),
    ],
)
def test_a_relay_is_shared_where_name_feeds_and_faults_are_the_same(
    one: dict[str, str], other: dict[str, str], shared: bool
) -> None:
    assert parse(one).may_share(parse(other)) is shared


@given(st.dictionaries(st.sampled_from((*PLAYED, *OWN, *UPSTREAMS, "other")), st.text()), st.none() | st.text())
def test_whatever_is_asked_is_understood_or_refused(query: dict[str, str], session: str | None) -> None:
    try:
        assert isinstance(parse(query, session), Asked)
    except RequestInvalid as refused:
        assert refused.possible
