"""Finlight's REST API, the client's side: what is asked for, and what the answers say.

In: a feed's settings and key, answers from a server that may be wrong about anything. Out: requests, articles as they
stood in the answer, and what a refusal means. Nothing here raises for an answer or remembers anything; when to ask is
backfill.py's job, asking rest.py's.

Facts: section 7 of the page on Finlight's protocol, read in its clients and documentation; untested on the real server.
Without `language` REST and, for all that is documented, the stream give English articles only, so both mean the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

import orjson

from recorder import __version__, settings
from recorder.feeds.feed import NEVER_NS
from recorder.feeds.finlight_tables import FIELDS, parse

PAGE_ARTICLES = 100  # more is a 400
WORDS_CHARACTERS_MAX = 200  # of what a refusal says, kept in the journal
HOUR_S, DAY_S = 3_600, 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPACE = re.compile(r"[ \t\r\n]*")

Version = tuple[str, int | None]  # link, and when it was revised: UTC microseconds


@dataclass(frozen=True, slots=True)
class Post:
    """One request. `headers` may hold a secret: they are never logged or recorded; `url` never does."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """One article. `text` is the slice of the answer, byte for byte; moments are UTC, to the microsecond."""

    text: bytes = field(repr=False)
    link: str
    created_ns: int | None
    revised_ns: int | None

    @property
    def version(self) -> Version:
        return self.link, None if self.revised_ns is None else self.revised_ns // 1000


class Page(NamedTuple):
    found: list[Found]
    size: int  # of everything in `articles`, also what is no article


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that ends the asking. `again_s`: when it may be worth asking again; None: it never is."""

    cause: str
    again_s: float | None


# Any other 4xx is as 400: it would be the same the next time. 5xx is tried again at once (backfill.py).
REFUSALS: Mapping[int, Refusal] = {
    400: Refusal("the request was refused", None),
    401: Refusal("the key was refused", DAY_S),
    403: Refusal("the key was refused, or the plan has no such articles", DAY_S),
    404: Refusal("nothing is there; check rest_url", DAY_S),
    422: Refusal("the request was refused", None),
}
REDIRECTED = Refusal("it points elsewhere, where the key must not go; check rest_url", DAY_S)
QUOTA = Refusal("quota", DAY_S)  # of the month; nobody says when the month ends
QUOTA_WORDS = "token limit"  # the other 429, of the burst, says "rate limit of N requests per 10 seconds"


class Search:
    """What one feed's subscription is in REST's words. Raises ValueError for a feed without a REST address."""

    def __init__(self, feed: settings.Finlight, key: str) -> None:
        if feed.backfill_url is None:
            raise ValueError("this feed has no REST API")
        self._url = f"{feed.backfill_url}/v2/articles"
        self._key = key
        asked = {name: getattr(feed, ours) for ours, name in FIELDS.items() if name != "includeUpdates"}
        self._filters = {name: value for name, value in asked.items() if value is not None and value is not False}

    def page(self, order_by: str, since_ns: int, until_ns: int, page: int) -> Post:
        """The newest first by `order_by`, published from `since_ns` to `until_ns` (NEVER_NS: no end), UTC."""
        span = {"from": _iso(since_ns)} | ({} if until_ns == NEVER_NS else {"to": _iso(until_ns)})
        order = {"orderBy": order_by, "order": "DESC", "pageSize": PAGE_ARTICLES, "page": page}
        headers = [
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("x-client-version", f"python/recorder@{__version__}"),
            ("user-agent", f"recorder/{__version__}"),
        ]
        if self._key:
            headers.insert(0, ("X-API-KEY", self._key))
        return Post(self._url, tuple(headers), orjson.dumps({**self._filters, **span, **order}))

    def refusal(self, status: int, body: bytes) -> Refusal | None:
        """What this answer means, with the upstream's own words; None where the same request may succeed soon."""
        if status == 429:
            known = QUOTA if QUOTA_WORDS in self._words(body).lower() else None
        elif 300 <= status < 400:
            known = REDIRECTED
        else:
            known = REFUSALS.get(status, REFUSALS[400]) if 400 <= status < 500 and status != 408 else None
        if known is None:
            return None
        said = self._words(body)
        return Refusal(f"{known.cause} (HTTP {status}{': ' + said if said else ''})", known.again_s)

    def _words(self, body: bytes) -> str:
        """`message` of an error, one text or several."""
        message = parse(body).get("message")
        said = (
            "; ".join(map(str, message)) if isinstance(message, list) else message if isinstance(message, str) else ""
        )
        said = "".join(character if character.isprintable() else " " for character in said)
        if self._key:
            said = said.replace(self._key, "…")  # an upstream may quote what it was sent
        return said[:WORDS_CHARACTERS_MAX]


def read(body: bytes) -> Page | None:
    """The articles of an answer; None where it is not whole, or not what was asked for. Never raises."""
    try:
        elements = _articles(body.decode())
    except (ValueError, RecursionError):
        return None
    found = []
    for value, text in elements:
        link = value.get("link") if isinstance(value, dict) else None
        if isinstance(link, str):
            found.append(
                Found(text.encode(), link, moment_ns(value.get("createdAt")), moment_ns(value.get("revisedDate")))
            )
    return Page(found, len(elements))


def moment_ns(value: object) -> int | None:
    """ISO 8601 as UTC nanoseconds, to the microsecond; without a zone it is UTC. None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return (at - _EPOCH) // timedelta(microseconds=1) * 1000
    except (ValueError, OverflowError):
        return None


def _iso(utc_ns: int) -> str:
    return datetime.fromtimestamp(utc_ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


# --- slices of the answer: of JSON's parsers only the standard library's tells where in the text a value ends ---


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).raw_decode


def _articles(text: str) -> list[tuple[Any, str]]:
    """Each element of `articles` in the object that `text` is, parsed and as it stands there. Raises ValueError."""
    elements: list[tuple[Any, str]] | None = None
    at = _behind("{", text, _skip(text, 0))
    while True:
        key, at = _decode(text, at)
        at = _behind(":", text, _skip(text, at))
        if key == "articles":
            elements, at = _elements(text, at)
        else:
            value, at = _decode(text, at)
            if key == "status" and value != "ok":
                raise ValueError("not ok")
        at = _skip(text, at)
        if text.startswith("}", at):
            break
        at = _behind(",", text, at)
    if elements is None or _skip(text, at + 1) != len(text):
        raise ValueError("no articles, or more than one value")
    return elements


def _elements(text: str, at: int) -> tuple[list[tuple[Any, str]], int]:
    elements: list[tuple[Any, str]] = []
    at = _behind("[", text, at)
    if text.startswith("]", at):
        return elements, at + 1
    while True:
        value, end = _decode(text, at)
        elements.append((value, text[at:end]))
        at = _skip(text, end)
        if text.startswith("]", at):
            return elements, at + 1
        at = _behind(",", text, at)


def _skip(text: str, at: int) -> int:
    """Behind the white space that begins here."""
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _behind(mark: str, text: str, at: int) -> int:
    """Behind the mark that has to stand here, and the white space after it."""
    if not text.startswith(mark, at):
        raise ValueError(f"no {mark} at {at}")
    return _skip(text, at + 1)
