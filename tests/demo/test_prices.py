from __future__ import annotations

import itertools

import pytest

from recorder.clock import SECOND_NS
from recorder.demo.prices import Prices, commas, company, noise, percent, short, signed

NOON_NS = 1_795_262_400 * SECOND_NS


def test_a_price_is_a_function_of_seed_symbol_and_time_alone() -> None:
    assert Prices(1).of("AAPL", NOON_NS) == Prices(1).of("AAPL", NOON_NS)
    assert Prices(1).of("AAPL", NOON_NS) != Prices(2).of("AAPL", NOON_NS)
    assert Prices(1).of("FOO", NOON_NS) != Prices(1).of("BAR", NOON_NS)


def test_prices_move_a_little_in_seconds_and_stay_sane_for_years() -> None:
    prices = Prices(1)
    walk = [prices.of("AAPL", NOON_NS + 5 * second * SECOND_NS)[0] for second in range(500)]
    steps = [abs(after / before - 1) for before, after in itertools.pairwise(walk)]
    assert len({round(price, 2) for price in walk}) > 100
    assert max(steps) < 0.01
    years = [prices.of("AAPL", NOON_NS + day * 86_400 * SECOND_NS)[0] for day in range(0, 3650, 10)]
    assert min(years) > 100 and max(years) < 500


def test_noise_is_even() -> None:
    values = [noise(7, step) for step in range(10_000)]
    assert min(values) >= -1 and max(values) <= 1
    assert abs(sum(values) / len(values)) < 0.05


@pytest.mark.parametrize(
    ("symbol", "name"),
    [("AAPL", "Apple Inc."), ("^FOO", "FOO Index"), ("DOGE-USD", "Doge USD"), ("GBPJPY=X", "GBP/JPY")],
)
def test_every_symbol_has_a_name(symbol: str, name: str) -> None:
    assert company(symbol).name == name
    assert company("QWERT").name and company("QWERT").price >= 5


def test_numbers_are_written_as_the_server_writes_them() -> None:
    assert (signed(0.666), signed(-0.001)) == ("+0.67", "-0.00")
    assert percent(0.6, 200) == "+0.30%"
    assert commas(59208.36) == "59,208.36"
    assert [short(each) for each in (3.46e12, 684.286e9, 5.2e8)] == ["3.460T", "684.286B", "520.00M"]
