"""A price for any symbol at any moment: a random walk as a pure function of seed, symbol and time.

The walk is noise of several periods added up, so no state is kept and any two processes with one seed agree. In: UTC
nanoseconds. Out: floats, and text in the styles that Finance Query sends.
"""

from __future__ import annotations

import math
import zlib

from recorder.clock import SECOND_NS
from recorder.demo.companies import COMPANIES, NAME_ENDS, NAME_WORDS, NAME_WORDS_2, Company

DAY_NS = 86_400 * SECOND_NS
_MASK = (1 << 64) - 1

# Periods in seconds with their amplitudes: about 6 % a day, as 0.02 % in 5 s, so that each frame differs from the last.
_OCTAVES = tuple(
    (int(period_s * SECOND_NS), min(0.04, 0.06 * math.sqrt(period_s / 86_400)))
    for period_s in (0.4, 2.5, 15, 120, 1_800, 21_600, 432_000, 5_184_000)
)


def noise(key: int, step: int) -> float:
    """An even number between -1 and 1 for each key and step."""
    x = (key * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 31)) * 0x94D049BB133111EB) & _MASK
    x = ((x ^ (x >> 29)) * 0x2545F4914F6CDD1D) & _MASK
    return (x ^ (x >> 32)) / (1 << 63) - 1


def walk(key: int, utc_ns: int) -> float:
    """How far a price is from its start, as a factor around 1."""
    total = 0.0
    for index, (period_ns, amplitude) in enumerate(_OCTAVES):
        step, rest = divmod(utc_ns, period_ns)
        here, there = noise(key + index, step), noise(key + index, step + 1)
        total += amplitude * (here + (there - here) * rest / period_ns)
    return math.exp(total)


def key_of(seed: int, text: str) -> int:
    """A number for a name; the same in every process."""
    return zlib.crc32(text.encode(), seed & 0xFFFFFFFF) << 8


def company(symbol: str) -> Company:
    """Who a symbol is: from the table, or made up."""
    known = COMPANIES.get(symbol)
    if known is not None:
        return known
    key = key_of(0, symbol) >> 8
    price = round(5 * 10 ** (2 * (key % 1000) / 1000), 2)
    if symbol.startswith("^"):
        return Company(symbol, f"{symbol[1:]} Index", price * 20, exchange="INDX")
    if symbol.endswith("=X"):
        pair = symbol[:-2]
        return Company(symbol, f"{pair[:3]}/{pair[3:]}", 1 + key % 100 / 100, exchange="CCY")
    if symbol.endswith("-USD"):
        return Company(symbol, f"{symbol[:-4].title()} USD", price, exchange="CCC")
    words = (NAME_WORDS[key % 11], NAME_WORDS_2[key // 11 % 12], NAME_ENDS[key // 132 % 8])
    return Company(symbol, " ".join(words), price, "Technology", "Software - Application")


class Prices:
    """Prices of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._keys: dict[str, int] = {}

    def at(self, name: str, start: float, utc_ns: int) -> float:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = key_of(self.seed, name)
        return start * walk(key, utc_ns)

    def of(self, symbol: str, utc_ns: int) -> tuple[float, float]:
        """Price now and close of the day before (UTC days)."""
        start = company(symbol).price
        return self.at(symbol, start, utc_ns), self.at(symbol, start, utc_ns - utc_ns % DAY_NS)


def signed(value: float) -> str:
    return f"{value:+.2f}"


def percent(value: float, previous: float) -> str:
    """A change as signed percent of the previous value."""
    return f"{value / previous * 100:+.2f}%"


def commas(value: float) -> str:
    return f"{value:,.2f}"


def short(value: float) -> str:
    """A large amount as Yahoo writes it: 3.460T, 684.286B, 520.00M."""
    if value >= 1e12:
        return f"{value / 1e12:.3f}T"
    return f"{value / 1e9:.3f}B" if value >= 1e9 else f"{value / 1e6:.2f}M"
