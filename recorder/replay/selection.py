"""What of a recording is wanted. Pure.

In: rows of messages. Out: those selected, found by a few calls into Arrow a batch, with no Python step a message but
for articles that may be about a symbol.

What a message is about, for `symbols` (upper and lower case of a to z are the same):

- a message of a channel of its own (`finance_query.profile`) is about its channel, whatever its kind;
- a frame of `finance_query.quotes` is about every symbol it has a row of, and is selected whole;
- an article is about the tickers of its companies, as in the table `articles`; raw articles have none;
- replies and the recorder's own entries are about the connection and are selected with every symbol;
- the market, its hours and anything else is about none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from recorder.message import Kind

Limits = Callable[[str], tuple[Any, Any] | None]  # of a column by its name: least and greatest, None where unknown

_QUOTES = ("finance_query.quotes",)
_ARTICLES = ("finlight", "finlight.raw")


@dataclass(frozen=True)
class Selection:
    """Which messages; what is None or empty selects all."""

    feeds: frozenset[str] | None = None
    feed_kinds: frozenset[str] | None = None
    kinds: frozenset[Kind] = frozenset()
    symbols: frozenset[str] | None = None

    def rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The selected rows of a batch with the columns of `messages`."""
        masks = [pc.is_in(batch[column], value_set=pa.array(sorted(words))) for column, words in self._words]
        if self._symbols:
            masks.append(self._about(batch))
        if not masks:
            return batch
        selected = masks[0]
        for mask in masks[1:]:
            selected = pc.and_(selected, mask)
        wanted = pc.sum(selected).as_py() or 0
        return batch if wanted == batch.num_rows else batch.filter(selected)

    def may_be_within(self, limits: Limits) -> bool:
        """Whether rows of which only the limits of columns are known can hold any selected one."""
        for column, words in self._words:
            known = limits(column)
            if known is not None and not any(known[0] <= word.encode() <= known[1] for word in words):
                return False
        return True

    @cached_property
    def _words(self) -> list[tuple[str, set[str]]]:
        wanted = (
            ("feed", set(self.feeds or ())),
            ("feed_kind", set(self.feed_kinds or ())),
            ("kind", {kind.word for kind in self.kinds}),
        )
        return [(column, words) for column, words in wanted if words]

    @cached_property
    def _symbols(self) -> frozenset[str]:
        return frozenset(map(_folded, self.symbols or ()))

    def _about(self, batch: pa.RecordBatch) -> pa.Array:
        """A mask of the rows about one of the symbols."""
        shared = pc.equal(batch["channel"], "")
        named = pc.is_in(pc.ascii_upper(batch["channel"]), value_set=pa.array(sorted(self._symbols)))
        own = pc.and_(named, pc.invert(shared))
        data = pc.equal(batch["kind"], Kind.DATA.word)
        about = pc.or_(own, pc.and_(shared, pc.invert(data)))
        frames = pc.and_(shared, data)
        for feed_kinds, key, holds in ((_QUOTES, "symbol", None), (_ARTICLES, "ticker", self._has_company)):
            candidates = pc.and_(frames, pc.is_in(batch["feed_kind"], value_set=pa.array(feed_kinds)))
            about = pc.or_(about, self._mentioned(batch["text"], candidates, key, holds))
        return about

    def _mentioned(
        self, text: pa.Array, candidates: pa.Array, key: str, holds: Callable[[str], bool] | None
    ) -> pa.Array:
        """A mask of the candidates whose text has the key with one of the symbols, and which `holds` agrees with."""
        at = pc.indices_nonzero(candidates)
        found = pc.match_substring_regex(text.take(at), self._pattern(key))
        at = at.filter(pc.fill_null(found, False))
        if holds is not None:
            at = at.filter(pa.array([holds(frame) for frame in text.take(at).to_pylist()], pa.bool_()))
        return pc.is_in(pa.array(range(len(text)), at.type), value_set=at)

    def _pattern(self, key: str) -> str:
        """A regular expression (RE2) for the key with any of the symbols as its value, as JSON may write it."""
        values = "|".join("".join(map(_pattern_of, symbol)) for symbol in sorted(self._symbols))
        return rf'"{key}"\s*:\s*"(?:{values})"'

    def _has_company(self, frame: str) -> bool:
        """Whether it is an article about a company with one of the symbols; tickers of listings do not count."""
        try:
            told = orjson.loads(frame)
            companies = told.get("data", told)["companies"]  # without an envelope it was fetched over REST
            return any(_folded(company["ticker"]) in self._symbols for company in companies)
        except (ValueError, TypeError, LookupError, AttributeError):
            return False


def _folded(symbol: str) -> str:
    """In upper case, as far as symbols have one: a to z."""
    return symbol.encode().upper().decode()


def _pattern_of(character: str) -> str:
    if character.isascii() and character.isalpha():
        return f"[{character}{character.lower()}]"
    return re.escape(orjson.dumps(character).decode()[1:-1])
