"""Finlight's query language: a string in, a predicate over articles out.

    (ticker:AAPL OR ticker:NVDA) AND NOT source:www.reuters.com AND "Elon Musk"

Words, "phrases", field:value, AND, OR, NOT (capitals, as the service documents them), parentheses, and AND
between neighbours. A word or phrase without a field is looked for in title, summary and content, whole words, any
letter case. Pure; QueryInvalid says where a query breaks. What the service does beyond its documentation is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from recorder.errors import RecorderError

Facts = Mapping[str, Any]  # an article as parsed JSON
Predicate = Callable[[Facts], bool]

TEXT_FIELDS = ("title", "summary", "content")
RAW_FIELDS = frozenset({"source", "title", "summary"})
FIELDS = RAW_FIELDS | {
    "content",
    "ticker",
    "company",
    "country",
    "exchange",
    "isin",
    "language",
    "category",
    "sentiment",
}
LENGTH_MAX = 4096  # characters; longer is no question a person asks
DEPTH_MAX = 50  # parentheses and NOTs; keeps a hostile query off the interpreter's stack

_TOKEN = re.compile(r'\s*(?:(?P<mark>[()])|(?P<field>[A-Za-z]+):|"(?P<phrase>[^"]*)"|(?P<word>[^\s()"]+))')
_WORD = re.compile(r"\w+")


class QueryInvalid(RecorderError):
    """The query cannot be understood."""

    def __init__(self, query: str, at: int, reason: str) -> None:
        self.at = at
        self.reason = reason
        super().__init__(
            f"query is not usable at character {at + 1}: {reason}. Correct it and subscribe again: {query!r}"
        )


def parse(query: str, fields: frozenset[str] = FIELDS) -> Predicate:
    """The query as a predicate; an empty one matches everything. Raises QueryInvalid."""
    if len(query) > LENGTH_MAX:
        raise QueryInvalid(query[:40] + "…", LENGTH_MAX, f"more than {LENGTH_MAX} characters")
    return _Parser(query, fields).whole()


def domain(source: str) -> str:
    """A source as it is compared: lower case, without `www.`."""
    return source.strip().lower().removeprefix("www.")


def tickers(facts: Facts) -> set[str]:
    """Every ticker an article's companies are known by, upper case."""
    found: set[str] = set()
    for company in _objects(facts.get("companies")):
        listings = [company, company.get("primaryListing"), *_objects(company.get("otherListings"))]
        found.update(str(each.get("ticker")).upper() for each in _objects(listings))
    return found


class _Parser:
    """Recursive descent: either = both (OR both)*, both = one (AND? one)*, one = NOT one | (either) | [field:] term."""

    def __init__(self, query: str, fields: frozenset[str]) -> None:
        self.query = query
        self.fields = fields
        self.tokens: list[tuple[str, str, int]] = []
        self.next = 0
        at = 0
        while query[at:].strip():
            match = _TOKEN.match(query, at)
            if match is None:
                raise QueryInvalid(query, at, 'a " that is never closed')
            kind = str(match.lastgroup)
            text = match[kind]
            if kind == "word" and text in ("AND", "OR", "NOT"):
                kind = text
            self.tokens.append((text if kind == "mark" else kind, text, match.start(str(match.lastgroup))))
            at = match.end()

    def whole(self) -> Predicate:
        if not self.tokens:
            return lambda _: True
        predicate = self.either(None, 0)
        if self.next < len(self.tokens):
            self.fail("a ) without its (")
        return predicate

    def peek(self) -> str:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else "end"

    def fail(self, reason: str) -> NoReturn:
        at = self.tokens[self.next][2] if self.next < len(self.tokens) else len(self.query)
        raise QueryInvalid(self.query, at, reason)

    def either(self, field: str | None, depth: int) -> Predicate:
        parts = [self.both(field, depth)]
        while self.peek() == "OR":
            self.next += 1
            parts.append(self.both(field, depth))
        return parts[0] if len(parts) == 1 else lambda facts: any(part(facts) for part in parts)

    def both(self, field: str | None, depth: int) -> Predicate:
        parts = [self.one(field, depth)]
        while self.peek() not in ("end", "OR", ")"):
            if self.peek() == "AND":
                self.next += 1
            parts.append(self.one(field, depth))
        return parts[0] if len(parts) == 1 else lambda facts: all(part(facts) for part in parts)

    def one(self, field: str | None, depth: int) -> Predicate:
        if depth > DEPTH_MAX:
            self.fail(f"nested deeper than {DEPTH_MAX}")
        kind = self.peek()
        if kind in ("end", "AND", "OR", ")"):
            self.fail("a word, a phrase or ( is missing")
        _, text, at = self.tokens[self.next]
        self.next += 1
        if kind == "NOT":
            inner = self.one(field, depth + 1)
            return lambda facts: not inner(facts)
        if kind == "(":
            group = self.either(field, depth + 1)
            if self.peek() != ")":
                self.fail("a ) is missing")
            self.next += 1
            return group
        if kind == "field":
            if text.lower() not in self.fields:
                raise QueryInvalid(self.query, at, f"unknown field {text}; known are {', '.join(sorted(self.fields))}")
            if self.peek() not in ("word", "phrase", "("):
                self.fail(f"{text}: wants a value")
            return self.one(text.lower(), depth + 1)
        return _term(field, text)


def _term(field: str | None, text: str) -> Predicate:
    if field is None or field in TEXT_FIELDS:
        needle = _words(text)
        words = needle.split()
        places = TEXT_FIELDS if field is None else (field,)

        def holds(facts: Facts) -> bool:
            for place in places:
                # Taking a whole text apart costs 100 us: most do not even have the letters.
                where = facts.get(place)
                lower = where.lower() if isinstance(where, str) else ""
                if all(word in lower for word in words) and needle in _words(where):
                    return True
            return False

        return holds
    value = text.lower()
    if field == "source":
        return lambda facts: domain(str(facts.get("source"))) == domain(text)
    if field == "ticker":
        return lambda facts: text.upper() in tickers(facts)
    if field == "company":
        needle = _words(text)
        return lambda facts: any(needle in _words(each.get("name")) for each in _objects(facts.get("companies")))
    if field in ("country", "category"):
        many = "countries" if field == "country" else "categories"
        return lambda facts: value in {str(each).lower() for each in facts.get(many) or ()}
    if field in ("exchange", "isin"):
        return lambda facts: value in {str(each.get(field)).lower() for each in _objects(facts.get("companies"))}
    return lambda facts: str(facts.get(field)).lower() == value


def _words(text: object) -> str:
    """Text as it is searched: lower-case words with one blank on either side of each."""
    return f" {' '.join(_WORD.findall(text.lower()))} " if isinstance(text, str) else " "


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
