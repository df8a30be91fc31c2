"""Finlight's articles, and which of them a subscription wants. Pure.

In: frames byte for byte, the fields of a subscription. Out: the same frames, and yes or no. A frame is parsed only when
a filter or somebody's memory has to know what is in it; whatever is in it, nothing here raises but QueryInvalid.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

from recorder.feeds.finlight_tables import parse
from recorder.replay.upstreams import finlight_query

ENHANCED = "enhanced"
RAW = "raw"

_ENVELOPE = b'{"action":"sendArticle","data":'


class Article:
    """A sendArticle frame, byte for byte, and what the filters need to know of it."""

    def __init__(self, frame: bytes, raw_frame: bytes | None = None) -> None:
        self.frame = frame
        self.raw_frame = frame if raw_frame is None else raw_frame
        self.is_update = b'"isUpdate"' in frame and self.facts.get("isUpdate") is True

    @classmethod
    def of(cls, article: bytes, raw_article: bytes | None = None) -> Article:
        """From an article's JSON object, without the envelope; the raw stream gets `raw_article` if given."""
        raw_frame = None if raw_article is None else _ENVELOPE + raw_article + b"}"
        return cls(_ENVELOPE + article + b"}", raw_frame)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The article as parsed JSON; empty where the frame holds none. Parsed only when a filter asks."""
        data = parse(self.frame).get("data")
        return data if isinstance(data, dict) else {}

    @property
    def identity(self) -> Hashable:
        """What repeats of one article have in common: a revision of it is an article of its own. None: unknown."""
        link, revised = self.facts.get("link"), self.facts.get("revisedDate")
        if not isinstance(link, str):
            return None
        return link, self.facts.get("isUpdate") is True, revised if isinstance(revised, str) else None


class Wanted:
    """A subscription: its filters over articles. Unknown keys are ignored, null means unset. Raises QueryInvalid."""

    def __init__(self, stream: str, fields: dict[str, Any]) -> None:
        self.include_updates = fields.get("includeUpdates") is True
        tests: list[finlight_query.Predicate] = []
        query = fields.get("query")
        if isinstance(query, str) and query.strip():
            known = finlight_query.FIELDS if stream == ENHANCED else finlight_query.RAW_FIELDS
            tests.append(finlight_query.parse(query, known))
        if sources := {finlight_query.domain(each) for each in _texts(fields, "sources")}:
            tests.append(lambda facts: finlight_query.domain(str(facts.get("source"))) in sources)
        if excluded := {finlight_query.domain(each) for each in _texts(fields, "excludeSources")}:
            tests.append(lambda facts: finlight_query.domain(str(facts.get("source"))) not in excluded)
        if isinstance(language := fields.get("language"), str):
            tests.append(lambda facts: facts.get("language") == language)
        if stream == ENHANCED:
            if tickers := {each.upper() for each in _texts(fields, "tickers")}:
                tests.append(lambda facts: not tickers.isdisjoint(finlight_query.tickers(facts)))
            if countries := {each.lower() for each in _texts(fields, "countries")}:
                tests.append(_any_of("countries", countries))
            if categories := {each.lower() for each in _texts(fields, "categories")}:
                tests.append(_any_of("categories", categories))
            if fields.get("excludeEmptyContent") is True:
                tests.append(lambda facts: bool(facts.get("content")))
        self._tests = tests

    def __call__(self, article: Article) -> bool:
        if article.is_update and not self.include_updates:
            return False
        try:
            return all(test(article.facts) for test in self._tests)
        except (TypeError, AttributeError):  # a field is not what the filter looks for: a number for a list
            return False


def _any_of(name: str, values: set[str]) -> finlight_query.Predicate:
    return lambda facts: any(str(each).lower() in values for each in facts.get(name) or ())


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    value = fields.get(name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
