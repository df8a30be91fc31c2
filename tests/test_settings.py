"""Values against each other and against their limits; the file and its sentences are test_configuration's."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recorder.settings import Finlight, Settings


def feeds(**keys: object) -> Settings:
    return Settings.model_validate({"feeds": {"one": keys}})


def wrong_keys(values: dict[str, object]) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return {str(error["loc"][-1]) for error in caught.value.errors()}


def test_defaults_are_valid_and_have_no_feed() -> None:
    assert Settings().feeds == {}


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({"kind": "finlight", "ping_s": 60}, "pong_timeout_s"),  # equal is not more
        ({"kind": "finlight", "rotate_s": 300}, "overlap_s"),
        ({"kind": "finlight", "rotate_s": 7200}, "rotate_s"),  # Finlight has hung up by then
        ({"kind": "finlight", "silence_s": float("inf")}, "silence_s"),
        ({"kind": "finlight.raw", "tickers": ["AAPL"]}, "tickers"),
        ({"kind": "finance_query.market", "poll_s": 12}, "poll_s"),  # 7,200 connects a day of 7,000
        ({"kind": "finance_query.quotes", "symbols": []}, "symbols"),
        ({"kind": "finance_query.quotes"}, "symbols"),
        ({"kind": "finance_query.quotes", "symbols": ["AAPL", "aapl"]}, "symbols"),
        ({"kind": "finance_query.hours", "symbols": ["AAPL"]}, "symbols"),
    ],
)
def test_values_that_contradict_each_other_are_refused(keys: dict[str, object], wrong: str) -> None:
    assert wrong_keys({"feeds": {"one": keys}}) == {wrong}


@pytest.mark.parametrize("symbol", ["", "A,B", " AAPL", "A B", "A\n", "A\u200b", "A\x00", "A" * 65])
def test_symbols_that_would_ask_for_something_else_are_refused(symbol: str) -> None:
    assert wrong_keys({"feeds": {"q": {"kind": "finance_query.quotes", "symbols": ["AAPL", symbol]}}}) == {"1"}


@pytest.mark.parametrize("symbol", ["^GSPC", "BTC-USD", "EURUSD=X", "BRK.B", "A" * 64, "Ж"])
def test_symbols_as_markets_spell_them_are_taken_as_they_are(symbol: str) -> None:
    one = feeds(kind="finance_query.profile", symbols=[symbol]).feeds["one"]
    assert one.model_dump()["symbols"] == [symbol]


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "host:8000",
        "ws://",
        "ws://host:port",
        "ws://host:99999",
        "ws://host:0",
        "wss://key@host",
        "wss://user:key@host",
        "wss://host/?apiKey=key",
        "wss://host/#key",
        "wss://ho\nst",
    ],
)
def test_urls_that_cannot_be_dialled_or_hold_a_key_are_refused(url: str) -> None:
    assert wrong_keys({"feeds": {"m": {"kind": "finance_query.market", "url": url}}}) == {"url"}


def test_url_loses_its_last_slash_so_that_endpoints_can_be_added() -> None:
    assert feeds(kind="finance_query.market", url="ws://[::1]:8000/base/").feeds["one"].url == "ws://[::1]:8000/base"


@pytest.mark.parametrize("name", ["", "News", "1news", "a b", "a/b", "../a", "a" * 64, "ne\nws", "recorder"])
def test_feed_names_that_mislead_are_refused(name: str) -> None:
    assert wrong_keys({"feeds": {name: {"kind": "finance_query.hours"}}}) == {"[key]"}


@pytest.mark.parametrize("name", ["sk_live_1234", "AKIA1234", "a" * 33, "with-dash", "4f3c2b1a"])
def test_what_looks_like_a_key_is_no_name_of_a_secret(name: str) -> None:
    assert wrong_keys({"feeds": {"news": {"kind": "finlight", "secret": name}}}) == {"secret"}


def test_limits_that_do_not_fit_into_each_other_are_refused() -> None:
    values: dict[str, object] = {
        "journal": {"group_bytes_max": 1 << 26, "buffer_bytes_max": 1 << 25},
        "redial": {"first_s": 60, "refused_max_s": 30},
    }
    assert wrong_keys(values) == {"buffer_bytes_max", "max_s", "refused_max_s"}
    assert wrong_keys({"limits": {"frame_bytes_max": 1 << 27}}) == {"limits"}


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValidationError):
        Settings().journal.commit_interval_ms = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "https://api.finlight.me"),
        ({"url": "wss://wss.finlight.me/raw"}, "https://api.finlight.me"),
        ({"backfill": False}, None),
        ({"url": "wss://finlight.example.com"}, None),
        ({"url": "ws://wss.finlight.me"}, None),
        ({"url": "ws://127.0.0.1:9", "rest_url": "http://127.0.0.1:10/"}, "http://127.0.0.1:10"),
    ],
)
def test_a_key_goes_to_the_server_it_was_given_for_and_nowhere_else(given: dict[str, Any], address: str | None) -> None:
    settings = Settings.model_validate({"feeds": {"news": {"kind": "finlight", **given}}})
    feed = settings.feeds["news"]
    assert isinstance(feed, Finlight)
    assert feed.backfill_url == address


@pytest.mark.parametrize("rest_url", ["wss://api.finlight.me", "https://key@host", "https://host?apiKey=k", "host"])
def test_an_address_that_could_not_be_asked_is_refused(rest_url: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"feeds": {"news": {"kind": "finlight", "rest_url": rest_url}}})
