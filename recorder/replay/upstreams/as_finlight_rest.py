"""Finlight's REST API, imitated: searching articles by page, one by its link, the list of sources.

In: HTTP requests as their parts, articles as they are published, the time. Out: answers in the documented shapes. Pure;
an archive in memory of bounded size. What the service does was read in its documentation and clients (the page on
Finlight's protocol, section 7); what nobody knows is chosen here and marked "unknown". Ports are rest_server.py's job.

An article is one entry a link, in its newest version, without `isUpdate`: nobody is being told of anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import orjson

from recorder.clock import SECOND_NS, Moment
from recorder.partitions.numbers import moment_ns
from recorder.replay.port.handshake import Answer, Handshake
from recorder.replay.upstreams import finlight_query
from recorder.replay.upstreams.finlight_articles import ENHANCED, Article, Wanted

PAGE_SIZE, PAGE_SIZE_MAX = 20, 100
ORDERS = {"publishDate": "published_ns", "createdAt": "created_ns", "revisedDate": "revised_ns"}
BURST_NS = 10 * SECOND_NS


@dataclass(slots=True)
class _Entry:
    """An article in its newest version. Moments are UTC nanoseconds; 0: it has none."""

    article: Article
    text: bytes
    published_ns: int
    created_ns: int
    revised_ns: int
    shown_ns: int  # not found before


class Archive:
    """What was published, the last `count_max` links."""

    def __init__(self, count_max: int = 20_000) -> None:
        self._count_max = count_max
        self._entries: dict[str, _Entry] = {}

    def add(self, article: Article, utc_ns: int, lag_s: float = 0.0) -> None:
        """A new article, or a revision of one. It is found `lag_s` later: indexing takes a while."""
        facts = {key: value for key, value in article.facts.items() if key != "isUpdate"}
        link = facts.get("link")
        if not isinstance(link, str):
            return
        text = orjson.dumps(facts)
        published_ns, created_ns, revised_ns = (moment_ns(facts.get(name)) or 0 for name in ORDERS)
        shown_ns = utc_ns + int(lag_s * SECOND_NS)
        self._entries.pop(link, None)
        self._entries[link] = _Entry(Article.of(text), text, published_ns, created_ns, revised_ns, shown_ns)
        if len(self._entries) > self._count_max:
            del self._entries[next(iter(self._entries))]

    def shown(self, utc_ns: int) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.shown_ns <= utc_ns]

    def at(self, link: str, utc_ns: int) -> _Entry | None:
        entry = self._entries.get(link)
        return entry if entry and entry.shown_ns <= utc_ns else None


class FinlightRest:
    """The service. `keys` None lets any key in; the two limits are those of the plan, None for none."""

    def __init__(
        self,
        archive: Archive,
        *,
        keys: frozenset[str] | None = None,
        burst_max: int | None = None,
        period_max: int | None = None,
    ) -> None:
        self.archive = archive
        self.keys = keys
        self.burst_max = burst_max
        self.period_max = period_max
        self.requests = 0  # let in
        self._recent: deque[int] = deque()  # monotonic times of the last 10 s

    def answer(self, method: str, request: Handshake, body: bytes, now: Moment) -> Answer:
        """Never raises, whatever is asked."""
        headers = {name.lower(): value for name, value in request.headers}
        key = headers.get("x-api-key", "")
        if not key or (self.keys is not None and key not in self.keys):
            return _error(401, "Unauthorized")
        if limited := self._limited(now):
            return limited
        match method, request.path:
            case "POST", "/v2/articles":
                return self._search(body, now)
            case "GET", "/v2/articles/by-link":
                entry = self.archive.at(request.query.get("link", ""), now.utc_ns)
                if entry is None:
                    return _error(404, "Article not found", "Not Found")
                return Answer(200, b'{"status":"ok","article":' + entry.text + b"}")
            case "GET", "/v2/sources":
                domains = {str(entry.article.facts.get("source")) for entry in self.archive.shown(now.utc_ns)}
                sources = [{"domain": domain, "isDefaultSource": True} for domain in sorted(domains)]
                return Answer(200, orjson.dumps(sources))
        return _error(404, f"Cannot {method} {request.path}", "Not Found")

    def _limited(self, now: Moment) -> Answer | None:
        while self._recent and now.monotonic_ns - self._recent[0] > BURST_NS:
            self._recent.popleft()
        if self.period_max is not None and self.requests >= self.period_max:
            return _error(429, f"Exceeded token limit of {self.period_max} for the current period.")
        if self.burst_max is not None and len(self._recent) >= self.burst_max:
            return _error(429, f"Exceeded rate limit of {self.burst_max} requests per 10 seconds.")
        self.requests += 1
        self._recent.append(now.monotonic_ns)
        return None

    def _search(self, body: bytes, now: Moment) -> Answer:
        try:
            fields = orjson.loads(body)
        except ValueError:
            return _error(400, "Unexpected token in JSON", "Bad Request")
        fields = fields if isinstance(fields, dict) else {}
        page, size = fields.get("page", 1), fields.get("pageSize", PAGE_SIZE)
        wrong = [  # the wording of the first three is documented, or follows it
            *(["page must not be less than 1"] if not _whole(page) or page < 1 else []),
            *(["pageSize must not be less than 1"] if not _whole(size) or size < 1 else []),
            *([f"pageSize must not be greater than {PAGE_SIZE_MAX}"] if _whole(size) and size > PAGE_SIZE_MAX else []),
            *(
                [f"orderBy must be one of {', '.join(ORDERS)}"]
                if fields.get("orderBy", "createdAt") not in ORDERS
                else []
            ),
            *(["order must be ASC or DESC"] if fields.get("order", "DESC") not in ("ASC", "DESC") else []),
        ]
        if wrong:
            return _error(400, wrong, "Bad Request")
        try:
            found = self._found(fields, now)
        except finlight_query.QueryInvalid as invalid:
            return _error(400, [invalid.reason], "Bad Request")
        articles = b",".join(entry.text for entry in found[(page - 1) * size : page * size])
        return Answer(200, b'{"status":"ok","page":%d,"pageSize":%d,"articles":[%s]}' % (page, size, articles))

    def _found(self, fields: Mapping[str, Any], now: Moment) -> list[_Entry]:
        """In the order asked for; without a date the last (unknown). `from` and `to` are about publishDate."""
        wanted = Wanted(ENHANCED, {**fields, "language": fields.get("language") or "en"})
        since_ns, until_ns = moment_ns(fields.get("from")), moment_ns(fields.get("to"))
        found = [
            entry
            for entry in self.archive.shown(now.utc_ns)
            if (since_ns is None or entry.published_ns >= since_ns)
            and (until_ns is None or entry.published_ns <= until_ns)
            and wanted(entry.article)
        ]
        date = attrgetter(ORDERS[fields.get("orderBy", "publishDate")])
        return sorted(found, key=date, reverse=fields.get("order", "DESC") == "DESC")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _error(status: int, message: str | list[str], error: str | None = None) -> Answer:
    told = {"statusCode": status, "message": message}
    return Answer(status, orjson.dumps({**told, "error": error} if error else told))
