"""The demo's newsroom: articles in bursts, in Finlight's shape, as bytes ready to send. Seeded.

In: the time up to which articles are wanted. Out: those that have fallen due since the last call, the same ones however
often it is asked. Bodies are taken from a pool made at the start, so thousands a second cost little: an article is a
handful of joins. Two shapes of each: enhanced, and raw with the core fields only.
"""

# ruff: noqa: RUF001 - dashes and quotes as newsrooms set them, for their UTF-8
from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from random import Random

import orjson

from recorder.clock import SECOND_NS
from recorder.demo.companies import COMPANIES, Company
from recorder.replay.upstreams.as_finlight import Article

BODIES = 400
LONG_SHARE = 0.02  # of the bodies, longer than one 32 KB frame
UPDATE_SHARE = 0.04  # of the articles, a revision of an earlier one
BURST_SHARE, BURST_GAP, LULL_GAP = 0.8, 0.25, 4.0  # gaps in units of the mean gap; 0.8 x 0.25 + 0.2 x 4.0 = 1

CATEGORIES = ("markets", "economy", "business", "technology", "regulation", "energy", "commodities", "health", "crypto")
_COUNTRIES = ("US", "GB", "DE", "FR", "JP", "CN", "IN")
_TITLES = (
    "{name} {moved} as quarterly revenue {beat} expectations",
    "{name} to cut {count} jobs in “efficiency” drive",
    "{name} raises full-year outlook, shares {moved}",
    "Exclusive: {name} in talks to buy rival for ${count} million",
    "{name} faces antitrust probe in Brussels – sources",
    "Analysts {verdict} {name} on margin worries",
    "{name} unveils ${count} million buyback & dividend increase",
    "Regulators clear {name}'s next-generation product",
    "Why {name} stock {moved} {percent}% today",
)
_TITLES_DE = ("{name}: Aktie gewinnt {percent} % – Anleger hoffen auf Übernahme", "{name} streicht {count} Stellen")
_TITLES_FR = ("{name} relève ses prévisions, l’action gagne {percent} %", "{name} supprime {count} postes à l’étranger")
_LANGUAGES = (
    ("en", _TITLES, ("www.reuters.com", "www.bloomberg.com", "www.cnbc.com", "www.wsj.com", "finance.yahoo.com")),
    ("de", _TITLES_DE, ("www.handelsblatt.com", "www.finanzen.net")),
    ("fr", _TITLES_FR, ("www.lesechos.fr", "www.boursorama.com")),
)
_SENTENCES = (
    "The company said demand had held up better than feared in its most important markets.",
    "“We see no reason to change our plans,” the chief executive told reporters on a call.",
    "Shares had already risen in extended trading before the announcement.",
    "Analysts polled by the demo had expected a smaller number.",
    "The deal still needs approval from regulators in the United States and the European Union.",
    "Operating margin widened to 23.4% from 21.9% a year earlier, helped by lower freight costs.",
    "Not everybody was convinced: one fund manager called the guidance “a hope, not a forecast”.",
    "The euro was little changed at $1.1048; Brent crude slipped 0.3% to $78.42 a barrel.",
    "Investors will look to Friday’s payrolls report for the next clue on interest rates.",
    "A spokesperson declined to comment further. 🔔",
)


def headline(dice: Random, name: str, titles: tuple[str, ...] = _TITLES) -> tuple[str, str]:
    """A title about somebody, and its sentiment."""
    up = dice.random() < 0.55
    title = dice.choice(titles).format(
        name=name,
        moved=dice.choice(("jumps", "climbs", "rises")) if up else dice.choice(("slides", "falls", "drops")),
        beat="beats" if up else "misses",
        verdict="upgrade" if up else "downgrade",
        count=dice.randrange(100, 9900, 50),
        percent=f"{dice.uniform(0.5, 12):.1f}",
    )
    return title, dice.choices(("positive" if up else "negative", "neutral"), (0.8, 0.2))[0]


class Newsroom:
    """Articles of one seed at a mean rate. Time starts with the first call."""

    def __init__(self, seed: int, articles_per_s: float) -> None:
        self.articles_per_s = articles_per_s
        self._dice = Random(f"news {seed}")
        self._firms = [company for company in COMPANIES.values() if company.sector is not None]
        self._entities = {firm.symbol: _entity(firm, number) for number, firm in enumerate(self._firms, 1)}
        self._bodies = [self._body() for _ in range(BODIES)]
        self._recent: deque[tuple[bytes, bytes]] = deque(maxlen=200)
        self._count = 0
        self.next_ns: int | None = None

    def due(self, utc_ns: int) -> list[Article]:
        """The articles published up to now, in order."""
        if self.articles_per_s <= 0:
            return []
        if self.next_ns is None:
            self.next_ns = utc_ns
        articles = []
        while self.next_ns <= utc_ns:
            articles.append(self._article(self.next_ns))
            mean_s = BURST_GAP if self._dice.random() < BURST_SHARE else LULL_GAP
            self.next_ns += int(self._dice.expovariate(self.articles_per_s / mean_s) * SECOND_NS)
        return articles

    def _article(self, utc_ns: int) -> Article:
        dice = self._dice
        if self._recent and dice.random() < UPDATE_SHARE:
            return self._update(utc_ns)
        self._count += 1
        firm = dice.choice(self._firms)
        language, titles, sources = _LANGUAGES[dice.choices((0, 1, 2), (0.86, 0.08, 0.06))[0]]
        title, sentiment = headline(dice, firm.name, titles)
        source, category = dice.choice(sources), dice.choice(CATEGORIES)
        confidence = f"{dice.uniform(0.5, 1):.4f}"
        if dice.random() >= 0.02:  # nearly always a string, now and then a number: the wire has both
            confidence = f'"{confidence}"'
        published_ns = utc_ns - int(dice.expovariate(1 / 20) * SECOND_NS)
        digits = 9 if dice.random() < 0.03 else 3
        core = b"".join(
            (
                f'{{"link":"https://{source}/{category}/{firm.symbol.lower()}-{self._count:08d}"'.encode(),
                f',"source":"{source}","title":'.encode(),
                orjson.dumps(title),
                f',"summary":"{firm.name} was in the news again on story {self._count}."'.encode(),
                f',"publishDate":"{_iso(published_ns, digits)}","createdAt":"{_iso(utc_ns)}"'.encode(),
                f',"language":"{language}"'.encode(),
            )
        )
        images = f',"images":["https://{source}/img/{self._count}.jpg"]'.encode()
        tags = f',"categories":["{category}"],"countries":["{dice.choice(_COUNTRIES)}"]'.encode()
        enhanced = b"".join(
            (
                core,
                f',"sentiment":"{sentiment}","confidence":{confidence}'.encode(),
                images,
                b',"content":"' + dice.choice(self._bodies) + b'"',
                tags,
                b',"companies":[' + self._entities[firm.symbol] + b"]",
            )
        )
        raw = core + images + tags
        self._recent.append((enhanced, raw))
        return Article.of(enhanced + b"}", raw + b"}")

    def _update(self, utc_ns: int) -> Article:
        """An earlier article again: same link, revised now."""
        enhanced, raw = self._recent[self._dice.randrange(len(self._recent))]
        revision = f',"revisedDate":"{_iso(utc_ns)}","isUpdate":true}}'.encode()
        return Article.of(enhanced + revision, raw + revision)

    def _body(self) -> bytes:
        """A content as the inside of a JSON string, 1 to 6 KB of UTF-8, seldom 33 to 60 KB."""
        dice = self._dice
        size = dice.randrange(33_000, 60_000) if dice.random() < LONG_SHARE else dice.randrange(1_000, 6_000)
        text = ""
        while len(text) < size:
            text += dice.choice(_SENTENCES) + ("\n\n" if dice.random() < 0.2 else " ")
        return orjson.dumps(text)[1:-1]


def _entity(firm: Company, number: int) -> bytes:
    return orjson.dumps(
        {
            "companyId": number,
            "confidence": f"0.{90 + number % 10}",
            "country": "United States",
            "exchange": firm.exchange,
            "industry": firm.industry,
            "sector": firm.sector,
            "name": firm.name,
            "ticker": firm.symbol,
            "isin": f"US{number:09d}0",
            "openfigi": f"BBG{number:09d}",
            "primaryListing": {"ticker": firm.symbol, "exchangeCode": firm.exchange, "exchangeCountry": "US"},
            "isins": [f"US{number:09d}0"],
            "otherListings": [{"ticker": f"{firm.symbol}D", "exchangeCode": "XETRA", "exchangeCountry": "DE"}],
        }
    )


def _iso(utc_ns: int, digits: int = 3) -> str:
    """ISO 8601 with Z and this many digits of the second, which may be nine."""
    seconds, rest_ns = divmod(utc_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}"[: 20 + digits] + "Z"
