"""Finlight's REST API on loopback as a test or the demo sees it, and what may go wrong with it.

In: articles as they are published, orders as method calls. Out: an address that answers, over real sockets. Orders are
gone with the process.
"""

from __future__ import annotations

from recorder.clock import Clock
from recorder.replay.upstreams.as_finlight_rest import Archive, FinlightRest
from recorder.replay.upstreams.finlight_articles import Article
from recorder.replay.upstreams.rest_server import RestServer


class RestUpstream:
    """`keys` None lets any key in."""

    def __init__(self, clock: Clock, keys: frozenset[str] | None = None) -> None:
        self.clock = clock
        self.archive = Archive()
        self.rest = FinlightRest(self.archive, keys=keys)
        self.server = RestServer(self.rest.answer, clock)
        self.lag_s = 0.0

    @property
    def url(self) -> str:
        return self.server.url

    def add(self, article: Article) -> None:
        """It was published now, and is found when it is indexed."""
        self.archive.add(article, self.clock.now().utc_ns, self.lag_s)

    def lag(self, seconds: float) -> None:
        """How long after its publication an article is found, for those to come."""
        self.lag_s = seconds

    def limit(self, burst_max: int | None = None, period_max: int | None = None) -> None:
        """Requests let in within ten seconds, and ever. What is above is a 429."""
        self.rest.burst_max, self.rest.period_max = burst_max, period_max

    def refuse(self, status: int, times: int = 1, body: str = "{}") -> None:
        """Answer the next requests with this status and body."""
        self.server.faults.refuse(status, times, body.encode())

    def ignore(self, times: int = 1) -> None:
        """Never answer the next requests."""
        self.server.faults.ignore(times)

    def truncate(self, times: int = 1) -> None:
        """Hang up in the middle of the next answers."""
        self.server.faults.truncate(times)

    def heal(self) -> None:
        """Withdraw every order."""
        self.server.faults.forget()
        self.limit()
        self.lag(0.0)
