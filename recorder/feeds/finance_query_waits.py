"""When a Finance Query channel may be dialled again, beyond the usual backoff, and when it is only polled.

In: how its connections fared. Out: the wait that the next dial has to keep. Pure; after a power cut the first
connections find it out again. The backoff and the connects of all channels together are redial.py's.
"""

from __future__ import annotations

from collections.abc import Mapping

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import RetryAfter
from recorder.feeds.finance_query_shapes import ConnectLimit
from recorder.settings import DAY_S, FinanceQuery

REFUSED_S = 300.0
# Even if `reset` says a day: the count is in the server's memory and gone when it restarts, and a refused dial costs
# nobody anything.
LIMITED_S_MAX = 900.0
TOO_MANY_S = 60.0  # a 429 without Retry-After
# For the server to see that we have left a channel that has no other name. Its answer to our close frame does not say
# so: over a short way the next connection is on the channel sooner, and keeps its dead or stale fetch task alive.
LEAVE_S = 0.5


class Waits:
    """What outlives the connections of one channel."""

    def __init__(self, settings: FinanceQuery, channel: str, spellings: int, polling: set[str]) -> None:
        """`spellings`: how many names this channel can have. `polling`: which channels of the feed poll, shared."""
        self._settings = settings
        self._channel = channel
        self._spellings = spellings
        self._polling = polling
        self._dead_in_a_row = 0
        self._opened_once = False
        self._limited_until_ns = 0

    @property
    def polling(self) -> bool:
        """Whether every name was found dead: then a connection takes the initial frame and leaves."""
        return self._channel in self._polling

    def opened(self) -> None:
        self._opened_once = True

    def alive(self) -> None:
        self._dead_in_a_row = 0
        self._polling.discard(self._channel)

    def dead(self) -> None:
        """A connection got the initial frame and nothing after it: somebody else holds a dead channel of this name."""
        self._dead_in_a_row += 1
        if self._dead_in_a_row >= self._spellings:
            self._polling.add(self._channel)

    def limited(self, limit: ConnectLimit, now: Moment) -> None:
        # With one connect left it is used: the next is answered with 403, which does no harm.
        self._limited_until_ns = now.monotonic_ns + limit.reset_s * SECOND_NS if limit.remaining <= 0 else 0

    def restarted(self) -> None:
        """The server was told to stop, and forgets its counts."""
        self._limited_until_ns = 0

    def after_close(self, now: Moment) -> RetryAfter | None:
        """The wait after a connection that had been open; None: the usual backoff."""
        limited_s = min((self._limited_until_ns - now.monotonic_ns) / SECOND_NS, LIMITED_S_MAX)
        poll_s = 0.0
        if self.polling:
            poll_s = max(self._settings.poll_s, DAY_S / self._settings.connects_per_day_max * len(self._polling))
        if limited_s > poll_s:
            return RetryAfter(limited_s, "the upstream's daily connect limit is used up")
        return RetryAfter(poll_s, "polling a dead channel") if poll_s else None

    def after_leaving(self) -> RetryAfter | None:
        """The wait after a connection that we ended; None where the next one goes to another channel anyway."""
        return RetryAfter(LEAVE_S, "leaving the channel before joining it again") if self._spellings == 1 else None

    def after_refusal(self, status: int, headers: Mapping[str, str], now: Moment) -> RetryAfter | None:
        """The wait after an HTTP answer; None: the usual backoff, as for 500, the trouble of the upstream's upstream.

        403 is two things: the daily limit, which passes, and a path that the server does not know, which a person has
        to correct. It was opened before: then it is the limit.
        """
        if status == 403:
            wait = self.after_close(now)
            seconds = max(REFUSED_S, wait.seconds if wait else 0.0)
            if self._opened_once:
                return RetryAfter(seconds, "403: the upstream's daily connect limit is used up")
            cause = (
                "403: the upstream does not know this path, or its daily connect limit is used up; check the feed's url"
            )
            return RetryAfter(seconds, cause, loud=True)
        if status == 429:
            asked = headers.get("retry-after", "")
            # At most nine digits: more would be no number of seconds, and the date that is also allowed is not used.
            is_seconds = asked.isdecimal() and len(asked) < 10
            return RetryAfter(float(min(int(asked), DAY_S)) if is_seconds else TOO_MANY_S, "429: too many requests")
        return None
