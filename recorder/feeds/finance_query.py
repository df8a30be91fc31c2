"""Finance Query: the channels of quotes, profile, market and hours feeds.

In: settings, and the time when it comes to dialling. Out: what to dial, and when to replace a connection. Pure. If the
power fails here nothing is lost but which channels were dead, and the first connections find that out again. What is
said and heard on a connection, how channels are spelled, what frames look like and how long to wait are in the files
named after this one; connections and gaps are channel.py's job.
"""

from __future__ import annotations

import random
from collections.abc import Hashable
from datetime import UTC, datetime
from urllib.parse import quote

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import Frame, Request, Subscription
from recorder.feeds.finance_query_channels import path_variant, path_variants, variant, variants
from recorder.feeds.finance_query_conversation import ENDPOINTS, FinanceQueryConversation
from recorder.feeds.finance_query_shapes import without_metadata
from recorder.feeds.finance_query_waits import Waits
from recorder.message import Stream
from recorder.settings import Hours, Market, Profile, Quotes

NEW_YEAR_LATE_S = 300


def subscriptions(
    name: str, settings: Quotes | Profile | Market | Hours, secret: str | None, salt: int | None = None
) -> list[Subscription]:
    """The channels of the feed `name`: one, or one a symbol for profile. `secret` is the API key, if there is one.

    `salt` chooses the first spelling of the symbols; by default it is drawn, so that no two clients share a channel.
    """
    if salt is None:
        salt = random.getrandbits(64)
    polling: set[str] = set()
    if isinstance(settings, Profile):
        return [FinanceQuerySubscription(name, settings, secret, salt, polling, symbol) for symbol in settings.symbols]
    return [FinanceQuerySubscription(name, settings, secret, salt, polling)]


class FinanceQuerySubscription:
    """One channel. Every connection gets the next spelling, so rotation and redial always land on another channel."""

    slots_limited = False
    may_take_over = False
    snapshots = True
    farewell = (1000, "")

    def __init__(
        self,
        feed: str,
        settings: Quotes | Profile | Market | Hours,
        secret: str | None,
        salt: int,
        polling: set[str],
        symbol: str = "",
    ) -> None:
        self.stream = Stream(feed, settings.kind, symbol)
        self._settings = settings
        self._endpoint = ENDPOINTS[settings.kind]
        self._headers = (("x-api-key", secret),) if secret else ()
        self._salt = salt
        self._turn = 0
        spellings = variants(settings.symbols) if isinstance(settings, Quotes) else path_variants(symbol)
        self._waits = Waits(settings, symbol, spellings, polling)
        # Where there is no other spelling (a profile without a letter), new before old would keep the old task.
        self.break_first = self._endpoint.break_first or spellings == 1

    def connect(self, now: Moment, *, takeover: bool) -> FinanceQueryConversation:  # noqa: ARG002 - nothing to take
        turn, self._turn = self._turn, self._turn + 1
        url, first_text = self._settings.url.rstrip("/") + self._endpoint.path, None
        if isinstance(self._settings, Quotes):
            first_text = variant(self._settings.symbols, turn, self._salt)
        elif self.stream.channel:
            url += quote(path_variant(self.stream.channel, turn, self._salt), safe="")
        return FinanceQueryConversation(
            Request(url, self._headers), first_text, self._endpoint, self._settings.silence_s, self._waits
        )

    def identity(self, frame: Frame) -> Hashable:
        return without_metadata(frame.payload)

    def rotate_at(self, opened: Moment) -> int:
        planned_ns = opened.monotonic_ns + int(self._settings.rotate_s * SECOND_NS)
        if isinstance(self._settings, Hours):
            return min(planned_ns, opened.monotonic_ns + _until_new_year_ns(opened.utc_ns))
        return planned_ns


def _until_new_year_ns(utc_ns: int) -> int:
    """Nanoseconds until a new /hours channel has to be opened for the new year, from this UTC moment.

    The server's calendar keeps the year, UTC, in which its channel was opened, and knows no holiday of any other. Its
    clock may be behind ours, and a channel opened too early would keep the old year: so five minutes late, which
    costs nothing, since New York, whose holidays these are, gets there five hours later.
    """
    year = datetime.fromtimestamp(utc_ns // SECOND_NS - NEW_YEAR_LATE_S, UTC).year
    new_year_s = int(datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()) + NEW_YEAR_LATE_S
    return new_year_s * SECOND_NS - utc_ns
