"""Spellings of the same symbols: each a channel of one's own, all of the same content."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.feeds.finance_query_channels import path_variant, path_variants, variant, variants

SYMBOL = st.from_regex(re.compile(r"[A-Za-z0-9^=.\-]{1,8}"), fullmatch=True)
SYMBOLS = st.lists(SYMBOL, min_size=1, max_size=30, unique_by=str.upper)
SALT = st.integers(min_value=0, max_value=2**64 - 1)

RESERVED = re.compile(r"hours|market|profile:.*", re.DOTALL)


def asked_for(text: str) -> set[str]:
    """What the server makes of a client's text: upper case and a set, blanks kept."""
    return set(text.upper().split(","))


@given(SYMBOLS, SALT)
def test_fifty_turns_are_fifty_channels_of_the_same_symbols(symbols: list[str], salt: int) -> None:
    texts = [variant(symbols, turn, salt) for turn in range(50)]
    assert len(set(texts)) == 50
    assert all(asked_for(text) == {symbol.upper() for symbol in symbols} for text in texts)


@pytest.mark.parametrize("symbols", [["F"], ["0700"], ["^N225"], ["AAPL"], ["0700", "9988"], ["BRK-B", "EURUSD=X"]])
def test_no_spelling_returns_before_all_had_their_turn(symbols: list[str]) -> None:
    count = variants(symbols)
    assert count >= 64
    turns = min(count, 5000)
    assert len({variant(symbols, turn, salt=9) for turn in range(turns)}) == turns


@given(SYMBOLS, st.integers(0, 10_000), SALT)
def test_text_holds_no_blank_and_is_no_other_endpoints_channel(symbols: list[str], turn: int, salt: int) -> None:
    text = variant(symbols, turn, salt)
    assert text.strip() == text != ""
    assert " " not in text
    assert not RESERVED.fullmatch(text)


@pytest.mark.parametrize("symbol", ["HOURS", "market", "profile:AAPL"])
def test_symbol_named_like_an_endpoint_does_not_join_its_channel(symbol: str) -> None:
    assert not any(RESERVED.fullmatch(variant([symbol], turn, 0)) for turn in range(variants([symbol])))


def test_other_salts_are_other_channels() -> None:
    symbols = ["AAPL", "MSFT", "NVDA"]
    ours = {variant(symbols, turn, 1 << 8) for turn in range(100)}
    theirs = {variant(symbols, turn, 1 << 9) for turn in range(100)}
    assert not ours & theirs


@given(SYMBOL, SALT)
def test_path_spellings_differ_in_letter_case_only(symbol: str, salt: int) -> None:
    turns = min(path_variants(symbol), 64)
    paths = [path_variant(symbol, turn, salt) for turn in range(turns)]
    assert len(set(paths)) == turns
    assert {path.upper() for path in paths} == {symbol.upper()}


@pytest.mark.parametrize(("symbol", "count"), [("0700", 1), ("F", 2), ("^GSPC", 16), ("BRK-B", 16), ("GOOGL", 32)])
def test_path_has_two_spellings_for_each_letter(symbol: str, count: int) -> None:
    assert path_variants(symbol) == count
    assert path_variant(symbol, count, 0) == path_variant(symbol, 0, 0)


def test_letters_beyond_ascii_are_left_as_they_are() -> None:
    # upper() would make two letters of one, and another symbol of it.
    assert {path_variant("ß", turn, 0) for turn in range(4)} == {"ß"}
