"""The demo's world: what Finance Query and Finlight would have to say at any moment. Pure and seeded.

In: a seed, what is asked for, the time. Out: frames in the shapes, key orders and number styles of the real ones (the
captured samples are the test), and articles as they fall due. One seed gives one history, whoever asks and how often.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson

from recorder.clock import SECOND_NS, Moment
from recorder.demo import market_hours
from recorder.demo.companies import COMPANIES, INDICES, SECTORS, Company
from recorder.demo.news import Newsroom, headline
from recorder.demo.prices import Prices, commas, company, key_of, noise, percent, short, signed
from recorder.replay.upstreams.as_finance_query import Fetch

HOUR_NS = 3600 * SECOND_NS
MOVERS = 50
UNKNOWN = frozenset({"NOSUCH", "UNKNOWN"})  # symbols that nobody has heard of, for what the real server leaves out

_SYMBOL = re.compile(r"\^?[A-Z0-9][A-Z0-9.&=-]{0,14}")
_RETURNS = ("fiveDays", "oneMonth", "threeMonth", "sixMonth", "ytd", "year", "threeYear", "fiveYear", "tenYear", "max")
_ABOUT = (
    "{name} designs, builds and sells what its customers ask for, together with its subsidiaries, in the Americas, "
    "Europe, Greater China and the rest of Asia Pacific. It serves consumers, small and mid-sized businesses, and the "
    "education, enterprise and government markets, directly and through resellers. {name} was founded long ago and is "
    "headquartered where the demo's imagination put it."
)


class World:
    """A Source for Finance Query, and a newsroom for Finlight (`news`)."""

    def __init__(self, seed: int = 1, *, articles_per_s: float = 2.0) -> None:
        self.seed = seed
        self.prices = Prices(seed)
        self.news = Newsroom(seed, articles_per_s)

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | None:
        """Finance Query's frame for these symbols at this moment."""
        if wanted.endpoint == "quotes":
            return self.quotes(wanted.symbols, now.utc_ns)
        if wanted.endpoint == "profile":
            return self.profile(next(iter(wanted.symbols)), now.utc_ns)
        return self.market(now.utc_ns) if wanted.endpoint == "market" else self.hours(now.utc_ns)

    # --- the four endpoints -----------------------------------------------------------------------------------

    def hours(self, utc_ns: int) -> bytes:
        now = datetime.fromtimestamp(utc_ns // 1000 / 1_000_000, UTC)
        status, reason = market_hours.status(now)
        return orjson.dumps({"status": status, "reason": reason, "timestamp": now.isoformat()})

    def quotes(self, symbols: frozenset[str], utc_ns: int) -> bytes:
        """Rows in an order of this world's own; symbols nobody knows are left out."""
        known = [symbol for symbol in symbols if _SYMBOL.fullmatch(symbol) and symbol not in UNKNOWN]
        known.sort(key=lambda symbol: key_of(self.seed, symbol))
        extra = self._extended_hours(utc_ns)
        rows = []
        for symbol in known:
            price, before = self.prices.of(symbol, utc_ns)
            row = {"symbol": symbol, "name": company(symbol).name, "price": f"{price:.2f}", **_change(price, before)}
            if extra:
                row[extra] = f"{price * 1.001:.2f}"
            rows.append(row | {"logo": _logo(symbol)} if key_of(0, symbol) % 2560 >= 256 else row)
        return orjson.dumps(rows)

    def profile(self, symbol: str, utc_ns: int) -> bytes:
        """All four parts; the nulls of an unknown symbol or of something without a sector."""
        symbol = symbol.upper()
        if not _SYMBOL.fullmatch(symbol) or symbol in UNKNOWN:
            return b'{"quote":null,"similar":[],"sectorPerformance":null,"news":[]}'
        who = company(symbol)
        peers = [each.symbol for each in COMPANIES.values() if each.sector == who.sector and each.symbol != symbol]
        sector = None if who.sector is None else self._sector(who.sector, utc_ns)
        return orjson.dumps(
            {
                "quote": self._quote(who, utc_ns),
                "similar": [self._similar(peer, utc_ns) for peer in peers[:10]],
                "sectorPerformance": sector,
                "news": self._headlines(symbol, who.name, utc_ns),
            }
        )

    def market(self, utc_ns: int) -> bytes:
        return orjson.dumps(
            {
                "actives": [self._mover("ACT", rank, 0.0, utc_ns) for rank in range(MOVERS)],
                "gainers": [self._mover("UP", rank, 0.30 - 0.005 * rank, utc_ns) for rank in range(MOVERS)],
                "losers": [self._mover("DN", rank, -0.30 + 0.005 * rank, utc_ns) for rank in range(MOVERS)],
                "indices": [self._index(name, start, utc_ns) for name, start in INDICES],
                "headlines": self._headlines("market", "Wall Street", utc_ns),
                "sectors": [self._sector(name, utc_ns) for name in SECTORS],
            }
        )

    # --- their parts ------------------------------------------------------------------------------------------

    def _extended_hours(self, utc_ns: int) -> str | None:
        """The key of the price outside regular hours, if this is such an hour."""
        reason = market_hours.status(datetime.fromtimestamp(utc_ns / SECOND_NS, UTC))[1]
        return {"Pre-market": "preMarketPrice", "After-hours": "afterHoursPrice"}.get(reason)

    def _quote(self, who: Company, utc_ns: int) -> dict[str, Any]:
        price, before = self.prices.of(who.symbol, utc_ns)
        facts = Random(key_of(self.seed, who.symbol))  # what does not change within a day
        extra = self._extended_hours(utc_ns)
        year_high, year_low = who.price * facts.uniform(1.1, 1.6), who.price * facts.uniform(0.4, 0.9)
        avg_volume = facts.randrange(1_000_000, 90_000_000)
        firm = who.sector is not None
        returns = {f"{name}Return": f"{facts.gauss(8, 20) * (1 + at / 2):,.2f}%" for at, name in enumerate(_RETURNS)}
        return {
            "symbol": who.symbol,
            "name": who.name,
            "price": commas(price),
            "preMarketPrice": commas(price * 1.001) if extra == "preMarketPrice" else None,
            "afterHoursPrice": commas(price * 1.001) if extra == "afterHoursPrice" else None,
            **_change(price, before),
            "open": commas(before),
            "high": commas(max(price, before) * 1.004),
            "low": commas(min(price, before) * 0.996),
            "yearHigh": commas(max(year_high, price * 1.004)),
            "yearLow": commas(min(year_low, price * 0.996)),
            "volume": int(avg_volume * (utc_ns % (24 * HOUR_NS)) / (24 * HOUR_NS)),
            "avgVolume": avg_volume,
            "marketCap": short(price * facts.uniform(1e8, 1.5e10)),
            "beta": f"{facts.uniform(0.4, 2.2):.2f}",
            "pe": f"{facts.uniform(8, 70):.2f}" if firm else None,
            "eps": None,  # always null on the wire: the real server looks it up in the wrong place
            "dividend": f"{facts.uniform(0.2, 5):.2f}" if firm else None,
            "yield": f"{facts.uniform(0.1, 5):.2f}%" if firm else None,
            "exDividend": "Aug 12, 2024" if firm else None,
            "netAssets": None if firm else short(facts.uniform(1e9, 5e11)),
            "nav": None if firm else commas(price),
            "expenseRatio": None if firm else f"{facts.uniform(0.03, 0.9):.2f}%",
            "category": None if firm else "Large Blend",
            "lastCapitalGain": None,
            "morningstarRating": None if firm else "★" * facts.randint(2, 5),
            "morningstarRiskRating": None if firm else "Average",
            "holdingsTurnover": None if firm else f"{facts.uniform(2, 40):.2f}%",
            "earningsDate": "Apr 23, 2024 - Apr 27, 2024" if facts.random() < 0.3 else "Oct 31, 2024",
            "lastDividend": f"{facts.uniform(0.1, 1.5):.2f}" if firm else None,
            "inceptionDate": None if firm else "Jan 22, 1993",
            "sector": who.sector,
            "industry": who.industry,
            "about": _ABOUT.format(name=who.name) if firm else None,
            "employees": str(facts.randrange(5_000, 400_000)) if firm else None,
            **returns,
            "logo": _logo(who.symbol),
        }

    def _similar(self, symbol: str, utc_ns: int) -> dict[str, Any]:
        price, before = self.prices.of(symbol, utc_ns)
        return {
            "symbol": symbol,
            "name": company(symbol).name,
            "price": commas(price),
            "preMarketPrice": None,
            "afterHoursPrice": None,
            **_change(price, before),
            "logo": _logo(symbol),
        }

    def _mover(self, kind: str, rank: int, drift: float, utc_ns: int) -> dict[str, str]:
        """Movers carry no plus sign [Q15]."""
        known = list(COMPANIES)
        symbol = known[rank] if kind == "ACT" and rank < 30 else f"{kind[0]}{chr(65 + rank % 26)}{chr(65 + rank // 2)}X"
        price, before = self.prices.of(symbol, utc_ns)
        price *= 1 + drift
        change = {key: text.removeprefix("+") for key, text in _change(price, before).items()}
        return {"symbol": symbol, "name": company(symbol).name, "price": commas(price), **change}

    def _index(self, name: str, start: float, utc_ns: int) -> dict[str, Any]:
        """`value` is the only JSON number with a fraction in the whole API; identified by name."""
        value, before = (self.prices.at(name, start, at_ns) for at_ns in (utc_ns, utc_ns - utc_ns % (24 * HOUR_NS)))
        change = {key: text.removeprefix("+") for key, text in _change(value, before).items()}
        key = key_of(self.seed, name)
        returns = {f"{each}Return": f"{30 * noise(key, at) * (at + 1):+,.2f}%" for at, each in enumerate(_RETURNS)}
        return {"name": name, "value": round(value, 2), **change, **returns}

    def _sector(self, name: str, utc_ns: int) -> dict[str, str]:
        value, before = (self.prices.at(name, 1.0, at_ns) for at_ns in (utc_ns, utc_ns - utc_ns % (24 * HOUR_NS)))
        key = key_of(self.seed, name)
        spans = {f"{each}Return": f"{12 * noise(key, at) * (at + 1):+.2f}%" for at, each in enumerate(("ytd", "year"))}
        spans |= {
            f"{each}Return": f"{40 * noise(key, at + 5):+.2f}%" for at, each in enumerate(("threeYear", "fiveYear"))
        }
        return {"sector": name, "dayReturn": percent(value - before, before), **spans}

    def _headlines(self, topic: str, name: str, utc_ns: int) -> list[dict[str, str]]:
        """Eight headlines, one an hour; `time` is relative text, so it rots."""
        hour = utc_ns // HOUR_NS
        rows = []
        for ago in range(8):
            title, _ = headline(Random(key_of(self.seed, f"{topic}{hour - ago}")), name)
            page = f"{topic.lower()}-{hour - ago}"
            rows.append(
                {
                    "title": title,
                    "link": f"https://news.example.com/{page}",
                    "source": ("Reuters", "Bloomberg", "CNBC", "Barrons.com")[(hour - ago) % 4],
                    "img": f"https://cdn.example.com/{page}.jpg",
                    "time": f"{ago + 1} hours ago",
                }
            )
        return rows


def _change(price: float, before: float) -> dict[str, str]:
    return {"change": signed(price - before), "percentChange": percent(price - before, before)}


def _logo(symbol: str) -> str:
    return f"https://img.example.com/ticker/{symbol.replace('^', '%5E')}?retina=true"
