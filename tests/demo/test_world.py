"""The world's frames against captured frames of the real server: same keys, same order, same number styles.

Key orders are taken from the captured frames; number styles are the patterns below, which the captured frames match.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.clock import SECOND_NS, Moment
from recorder.demo.companies import SECTORS
from recorder.demo.world import World
from recorder.replay.upstreams.as_finance_query import Endpoint, Fetch


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND_NS


OPEN_NS = ns("2026-11-18T15:30:05")
PRE_NS = ns("2026-11-18T13:00:00")
AFTER_NS = ns("2026-11-18T22:00:00")
WORLD = World(1, articles_per_s=0)

FRAMES = Path(__file__).parents[1] / "frames" / "finance_query"


def real(name: str) -> Any:
    """A captured frame of the real server."""
    return orjson.loads((FRAMES / f"{name}.real.json").read_bytes())


MARKET, PROFILE = real("market.1.initial-with-security"), real("profile.2.update")
del MARKET["metadata"]
QUOTE_KEYS = list(PROFILE["quote"])
SIMILAR_KEYS = list(PROFILE["similar"][0])
INDEX_KEYS = list(MARKET["indices"][0])
MOVER_KEYS = list(MARKET["actives"][0])
NEWS_KEYS = list(MARKET["headlines"][0])
SECTOR_KEYS = list(MARKET["sectors"][0])

PLAIN = r"\d+\.\d\d"
COMMAS = r"\d{1,3}(,\d{3})*\.\d\d"
SIGNED, SIGNED_PERCENT = r"[+-]\d+\.\d\d", r"[+-]\d{1,3}(,\d{3})*\.\d\d%"
BARE, BARE_PERCENT = r"-?\d+\.\d\d", r"-?\d+\.\d\d%"
SHORT = r"\d{1,3}\.\d{2,3}[MBT]"


def is_like(text: object, pattern: str) -> bool:
    return isinstance(text, str) and re.fullmatch(pattern, text) is not None


def frame(endpoint: Endpoint, *symbols: str, at_ns: int = OPEN_NS) -> Any:
    payload = WORLD.fetch(Fetch(endpoint, frozenset(symbols)), Moment(at_ns, 0))
    assert payload is not None
    value = orjson.loads(payload)
    assert orjson.dumps(value) == payload  # compact UTF-8, as the server writes it
    return value


@pytest.mark.parametrize("offset_ns", [0, 123_456_000])
def test_hours_have_the_servers_three_fields_and_timestamp(offset_ns: int) -> None:
    value = frame("hours", at_ns=OPEN_NS + offset_ns)
    assert list(value) == list(real("hours.2.update"))
    assert (value["status"], value["reason"]) == ("Open", "Regular trading hours")
    fraction = r"\.\d{6}" if offset_ns else ""  # none at all when it is zero
    assert is_like(value["timestamp"], r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d" + fraction + r"\+00:00")


def test_quotes_rows_are_strings_in_the_servers_order_and_style() -> None:
    rows = frame("quotes", "AAPL", "MSFT", "^GSPC", "BTC-USD", "EURUSD=X", "FOO")
    assert len(rows) == 6
    captured = real("quotes.2.update")
    for row in rows + captured:
        assert [key for key in row if key != "logo"] == [key for key in captured[0] if key != "logo"]
        assert is_like(row["price"], PLAIN)
        assert is_like(row["change"], SIGNED)
        assert is_like(row["percentChange"], SIGNED_PERCENT)


@pytest.mark.parametrize(("at_ns", "key"), [(PRE_NS, "preMarketPrice"), (AFTER_NS, "afterHoursPrice")])
def test_outside_regular_hours_a_price_of_its_own_appears_before_the_logo(at_ns: int, key: str) -> None:
    (row,) = frame("quotes", "AAPL", at_ns=at_ns)
    assert list(row) == ["symbol", "name", "price", "change", "percentChange", key, "logo"]
    assert is_like(row[key], PLAIN)


def test_unknown_and_unclean_symbols_are_left_out() -> None:
    assert [row["symbol"] for row in frame("quotes", "AAPL", "NOSUCH", " MSFT", "", "'; DROP")] == ["AAPL"]
    assert frame("quotes", "NOSUCH") == []
    assert frame("quotes", "") == []


def test_the_order_of_rows_is_the_worlds_own_and_stable() -> None:
    symbols = ["AAPL", "MSFT", "NVDA", "TSLA", "KO", "V"]
    order = [row["symbol"] for row in frame("quotes", *symbols)]
    assert order == [row["symbol"] for row in frame("quotes", *reversed(symbols), at_ns=AFTER_NS)]
    assert order != symbols
    others = [orjson.loads(World(seed).quotes(frozenset(symbols), OPEN_NS)) for seed in range(2, 6)]
    assert any([row["symbol"] for row in rows] != order for rows in others)


def test_some_symbols_have_no_logo() -> None:
    rows = frame("quotes", *(f"Q{number}" for number in range(200)))
    assert 0 < sum("logo" not in row for row in rows) < 100


def test_a_profile_has_all_47_keys_in_order_and_yahoos_styles() -> None:
    profile = frame("profile", "AAPL")
    assert list(profile) == list(PROFILE)
    for quote in (profile["quote"], PROFILE["quote"]):
        assert list(quote) == QUOTE_KEYS and len(QUOTE_KEYS) == 47
        for key in ("price", "open", "high", "low", "yearHigh", "yearLow"):
            assert is_like(quote[key], COMMAS), key
        assert is_like(quote["change"], SIGNED) and is_like(quote["percentChange"], SIGNED_PERCENT)
        assert is_like(quote["marketCap"], SHORT)
        assert type(quote["volume"]) is int and type(quote["avgVolume"]) is int
        assert all(is_like(quote[key], r"-?" + COMMAS + "%") for key in QUOTE_KEYS if key.endswith("Return"))
        assert quote["eps"] is None and quote["preMarketPrice"] is None
        assert is_like(quote["employees"], r"\d+")
    assert all(list(row) == SIMILAR_KEYS for row in profile["similar"])
    assert 0 < len(profile["similar"]) <= 10
    assert list(profile["sectorPerformance"]) == SECTOR_KEYS
    assert all(list(row) == NEWS_KEYS and is_like(row["time"], r"\d+ hours ago") for row in profile["news"])


def test_a_profile_of_a_large_price_has_commas_and_of_a_fund_no_sector() -> None:
    assert "," in frame("profile", "BTC-USD")["quote"]["price"]
    fund = frame("profile", "SPY")
    assert list(fund["quote"]) == QUOTE_KEYS
    assert fund["sectorPerformance"] is None and fund["quote"]["sector"] is None
    assert is_like(fund["quote"]["netAssets"], SHORT) and is_like(fund["quote"]["morningstarRating"], "★+")


def test_profiles_know_symbols_in_any_case_and_answer_nulls_for_unknown_ones() -> None:
    assert frame("profile", "aapl")["quote"]["symbol"] == "AAPL"
    assert frame("profile", "NOSUCH") == real("profile.4.all-failed")


def test_the_market_has_its_six_parts_in_the_servers_sizes_and_styles() -> None:
    market = frame("market")
    assert list(market) == list(MARKET)
    for part in ("actives", "gainers", "losers"):
        assert len({row["symbol"] for row in market[part]}) == len(MARKET[part]) == 50
        for row in market[part] + MARKET[part]:
            assert list(row) == MOVER_KEYS
            assert is_like(row["price"], COMMAS)
            assert is_like(row["change"], BARE) and is_like(row["percentChange"], BARE_PERCENT)
    assert all(not row["change"].startswith("-") for row in market["gainers"][:20])
    assert all(row["change"].startswith("-") for row in market["losers"][:20])
    assert len({row["name"] for row in market["indices"]}) == len(MARKET["indices"]) == 73
    for row in market["indices"] + MARKET["indices"]:
        assert list(row) == INDEX_KEYS
        assert type(row["value"]) is float and row["value"] == round(row["value"], 2)
        assert is_like(row["change"], BARE) and is_like(row["percentChange"], BARE_PERCENT)
        assert all(is_like(row[key], SIGNED_PERCENT) for key in INDEX_KEYS[4:])
    assert all(list(row) == NEWS_KEYS for row in market["headlines"])
    assert [row["sector"] for row in market["sectors"]] == list(SECTORS)
    for row in market["sectors"] + MARKET["sectors"]:
        assert list(row) == SECTOR_KEYS
        assert all(is_like(row[key], SIGNED_PERCENT) for key in SECTOR_KEYS[1:])


def test_sizes_are_those_of_the_real_frames() -> None:
    for ours, theirs in ((frame("market"), MARKET), (frame("profile", "AAPL"), PROFILE)):
        assert 0.8 < len(orjson.dumps(ours)) / len(orjson.dumps(theirs)) < 1.25


@pytest.mark.parametrize("endpoint", ["quotes", "profile", "market", "hours"])
def test_frames_change_from_one_refresh_to_the_next_and_are_the_same_for_the_same_moment(endpoint: Endpoint) -> None:
    first, again, later = (
        frame(endpoint, "AAPL", at_ns=at_ns) for at_ns in (OPEN_NS, OPEN_NS, OPEN_NS + 5 * SECOND_NS)
    )
    assert first == again != later
