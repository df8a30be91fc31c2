"""One pass over gaps of a Finlight feed: what to ask the REST API for, and what of its answers was missed.

Pure. In: the gaps, what is recorded around them, answers, failures, the time. Out: actions; the last one of each answer
says what is awaited. Nothing is held that a power cut could lose: a pass that did not finish is made again from the
beginning, and what it had kept is recorded by then.

The API filters on an article's publishDate, while the stream brings articles in the order in which they were indexed,
and late stories keep their old date. So a pass asks for everything published since long before the gap, newest index
date first, until a page reaches back beyond the gap. Pages shift while articles arrive: what comes twice is taken once.
When a pass is due, and what a person is told of it, is agenda.py's job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import NEVER_NS
from recorder.feeds.finlight_rest import HOUR_S, PAGE_ARTICLES, Found, Post, Refusal, Search, Version, read
from recorder.feeds.finlight_tables import seconds
from recorder.feeds.redial import ConnectBudget

MARGIN_NS = 60 * SECOND_NS  # around a gap: clocks differ, and an article takes a while from its index to the stream
DAY_NS = 24 * 3600 * SECOND_NS
LATE_NS = 2 * DAY_NS  # how much older than its index date a late story's publishDate is allowed to be
REVISED_NS = 31 * DAY_NS  # the same of a revision: as far as the smaller plans reach back
PAGES_MAX = 500  # of one pass: 50,000 articles
STALLED_PAGES_MAX = 2  # in a row without anything new: the server does not turn pages
TRIES_MAX = 8  # of one page, in a row: two minutes of failures, nine of bursts
TRY_S, TRY_S_MAX = 1.0, 120.0  # the wait after a failure, doubled by each further one
BURST_S = 10.0  # the limit of a burst is counted over so long


@dataclass(frozen=True, slots=True, order=True)
class ClosedGap:
    """UTC nanoseconds."""

    since_ns: int
    until_ns: int


@dataclass(slots=True)
class Filling:
    """What a pass found in one gap."""

    gap: ClosedGap
    recovered: int = 0
    already: int = 0  # found, and recorded before
    kept: list[Version] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send this; tell `answered` or `failed`."""

    request: Post


@dataclass(frozen=True, slots=True)
class Wait:
    """Tell `waited` after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Keep:
    """Record these articles, in this order, before anything else."""

    articles: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Done:
    """The pass is over. `refusal` None: it saw all that the API has of these gaps."""

    fillings: Sequence[Filling]
    pages: int
    refusal: Refusal | None = None


Action = Fetch | Wait | Keep | Done


class Backfill:
    """One pass. `recorded` holds the versions of this feed's articles recorded up to `began`, from the margin on.

    What was indexed less than `settle_s` before `began` is left to the stream, or to a later pass; so is, where the
    stream brings `updates`, what was revised since.
    """

    def __init__(
        self,
        search: Search,
        gaps: Sequence[ClosedGap],
        recorded: AbstractSet[Version],
        budget: ConnectBudget,
        began: Moment,
        *,
        settle_s: float,
        updates: bool,
    ) -> None:
        self._search = search
        self._fillings = [Filling(gap) for gap in sorted(gaps)]
        self._versions = set(recorded)
        self._links = {link for link, _ in recorded}
        self._budget = budget
        self._settled_ns = began.utc_ns - int(settle_s * SECOND_NS)
        self._since_ns = min(gap.since_ns for gap in gaps) - MARGIN_NS
        # A gap of long ago is not reached through all that was published since. Within two days of it there is no end,
        # since a wrong zone puts a publishDate into the future.
        ends_ns = max(gap.until_ns for gap in gaps) + LATE_NS
        self._ends_ns = ends_ns if ends_ns < began.utc_ns else NEVER_NS
        self._updates = updates
        self._orders = ["createdAt", "revisedDate"] if updates else ["createdAt"]
        self._seen: set[Version] = set()
        self._page = 1
        self._pages = self._tries = self._stalled = 0

    def begin(self, now: Moment) -> list[Action]:
        return [self._ask(now)]

    def waited(self, now: Moment) -> list[Action]:
        return [self._ask(now)]

    def failed(self, error: str, now: Moment) -> list[Action]:  # noqa: ARG002 - every event comes with its time
        """No answer, or half of one."""
        return [self._again(error, TRY_S)]

    def answered(self, status: int, headers: Mapping[str, str], body: bytes, now: Moment) -> list[Action]:
        """Header names are lower case."""
        if status == 200:
            page = read(body)
            if page is None:
                return [self._again("an answer that is not whole, or no list of articles", TRY_S)]
            self._pages += 1
            self._tries = 0
            return self._take(page.found, page.size, now)
        if refusal := self._search.refusal(status, body):
            return [self._done(refusal)]
        asked_s = seconds(headers.get("retry-after"), 0.0)
        return [self._again(f"HTTP {status}", max(BURST_S if status == 429 else TRY_S, min(asked_s, HOUR_S)))]

    # --- asking -------------------------------------------------------------------------------------------------

    def _ask(self, now: Moment) -> Action:
        wait_ns = self._budget.at_ns(now) - now.monotonic_ns
        if wait_ns > 0:
            return Wait(wait_ns / SECOND_NS)
        self._budget.spend(now)
        published_ns = self._since_ns - (LATE_NS if self._by_index else REVISED_NS)
        return Fetch(self._search.page(self._orders[0], published_ns, self._ends_ns, self._page))

    def _again(self, cause: str, least_s: float) -> Action:
        self._tries += 1
        if self._tries >= TRIES_MAX:
            return self._done(Refusal(f"no answer after {TRIES_MAX} tries, at last: {cause}", HOUR_S))
        return Wait(max(least_s, min(least_s * 2 ** (self._tries - 1), TRY_S_MAX)))

    def _done(self, refusal: Refusal | None = None) -> Done:
        return Done(self._fillings, self._pages, refusal)

    @property
    def _by_index(self) -> bool:
        return self._orders[0] == "createdAt"

    def _date(self, found: Found) -> int | None:
        return found.created_ns if self._by_index else found.revised_ns

    # --- reading ------------------------------------------------------------------------------------------------

    def _take(self, found: list[Found], size: int, now: Moment) -> list[Action]:
        fresh = [each for each in found if each.version not in self._seen]
        self._seen.update(each.version for each in fresh)
        kept = [each.text for each in fresh if self._is_missing(each)]
        return [*([Keep(kept)] if kept else []), self._turn(found, size, bool(fresh), now)]

    def _is_missing(self, found: Found) -> bool:
        """Whether the stream brought it, or would have, in one of the gaps, and it is recorded nowhere.

        By index date an article is missing whose link is unknown: REST has only its newest version, and where another
        one is recorded nothing is won. By date of revision it is the version that counts.
        """
        at_ns = self._date(found)
        filling = self._filling(at_ns) if at_ns is not None else None
        if filling is None or (self._updates and (found.revised_ns or 0) > self._settled_ns):
            return False
        if found.link in self._links if self._by_index else found.version in self._versions:
            filling.already += 1
            return False
        filling.recovered += 1
        filling.kept.append(found.version)
        self._links.add(found.link)
        self._versions.add(found.version)
        return True

    def _filling(self, at_ns: int) -> Filling | None:
        if at_ns > self._settled_ns:
            return None
        around = (
            each for each in self._fillings if each.gap.since_ns - MARGIN_NS <= at_ns <= each.gap.until_ns + MARGIN_NS
        )
        return next(around, None)

    def _turn(self, found: list[Found], size: int, fresh: bool, now: Moment) -> Action:
        """The next page, the next order, or the end."""
        dates = [date for each in found if (date := self._date(each)) is not None]
        if size and not dates and self._by_index:
            return self._done(Refusal("the answers do not say when an article was indexed", None))
        # An order by revision ends where what was never revised begins.
        if size < PAGE_ARTICLES or not dates or dates[-1] < self._since_ns:
            return self._next_order(now)
        self._stalled = 0 if fresh else self._stalled + 1
        if self._stalled >= STALLED_PAGES_MAX:
            return self._done(Refusal("the same articles on every page", HOUR_S))
        if self._pages >= PAGES_MAX:
            return self._done(Refusal(f"more than {PAGES_MAX} pages", None))
        self._page += 1
        return self._ask(now)

    def _next_order(self, now: Moment) -> Action:
        self._orders = self._orders[1:]
        self._page, self._stalled = 1, 0
        self._seen.clear()
        return self._ask(now) if self._orders else self._done()
