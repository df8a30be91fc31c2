"""One connection to Finance Query, from its one text frame to the silence that ends it.

In: what arrives and what time it is. Out: frames to keep with their marks, proof of life, when to hang up. Pure. If the
power fails here nothing is lost. What outlives the connection is in finance_query_waits.py.

The server has no acknowledgement, no error frame and no sequence number. At subscription it sends one snapshot
(initial), even from a dead channel. The fetch task of a new channel sends a near-identical frame milliseconds later
(double), then one each 5 s + time of the fetch. A failed fetch kills that task for good: the socket stays open, pings
are answered, nothing comes any more, and whoever joins that channel gets the initial frame and then silence, until
everybody has left it. So the second good frame is the first proof of life, and silence of data the only sign of death.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from recorder.clock import SECOND_NS, Moment
from recorder.feeds.feed import NEVER_NS, Action, Alarm, Alive, Frame, HangUp, Keep, Request, Send, Suspect
from recorder.feeds.finance_query_shapes import (
    HOURS,
    MARKET,
    NO_QUOTE,
    PROFILE,
    QUOTES,
    Shape,
    connect_limit,
    without_metadata,
)
from recorder.feeds.finance_query_waits import Waits
from recorder.message import Kind, Mark

DOUBLE_NS = SECOND_NS  # the double comes 1 to 120 ms after the initial frame, plus the time of one fetch
RESTART = 1012  # the close code of a server that was told to stop
LEFT = 1000  # the close code we leave with, which the server echoes

ALIVE = Alive(data=True)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What differs between the four."""

    path: str
    shape: Shape
    # Market and hours have one channel name each. While anybody is on it the old fetch task lives on, with its stale
    # credentials (market) or its stale year (hours): only leaving first gets a new one.
    break_first: bool
    # While polling a dead channel: how long after the initial frame a second one would come if it lived again. One
    # period: 5 s + fetch. A market's fetch was seen to take 5 s; a profile's tries several sources.
    poll_wait_s: float


ENDPOINTS: Mapping[str, Endpoint] = {
    "finance_query.quotes": Endpoint("/quotes", QUOTES, break_first=False, poll_wait_s=7),
    "finance_query.profile": Endpoint("/profile/", PROFILE, break_first=False, poll_wait_s=10),
    "finance_query.market": Endpoint("/market", MARKET, break_first=True, poll_wait_s=15),
    "finance_query.hours": Endpoint("/hours", HOURS, break_first=True, poll_wait_s=7),
}


class FinanceQueryConversation:
    """One connection. It sends one text frame and never another: a binary one would kill the channel for everybody."""

    def __init__(
        self, request: Request, first_text: str | None, endpoint: Endpoint, silence_s: float, waits: Waits
    ) -> None:
        self.request = request
        self.wake_ns = NEVER_NS
        self._first_text = first_text
        self._endpoint = endpoint
        self._shape = endpoint.shape
        self._silence_ns = int(silence_s * SECOND_NS)
        self._waits = waits
        self._polling = waits.polling
        self._odd_told = waits.polling  # one alarm a connection, none while polling
        self._suspected = False
        self._good = 0  # frames of the right shape: the initial one, its double or the first tick, …
        self._initial_ns = 0
        self._quoted_ns = 0  # the last frame that was not a profile without its quote; 0: none yet
        self._over = False

    def opened(self, now: Moment) -> list[Action]:
        self._waits.opened()
        self.wake_ns = now.monotonic_ns + self._silence_ns
        return [] if self._first_text is None else [Send(self._first_text)]

    def received(self, frames: Sequence[Frame], now: Moment) -> list[Action]:
        if self._good > 1 and not self._over and self._shape.are_usual(frames):
            self._quoted_ns = now.monotonic_ns
            self._stay(now)
            return [Keep(frames), ALIVE]
        good_before = self._good
        keeps = [
            Keep(list(run), Kind.DATA, mark) for mark, run in groupby(frames, lambda frame: self._look_at(frame, now))
        ]
        if self._over:
            return [*keeps]
        return [*keeps, *self._odd_news(keeps), *(self._good_news(now) if self._good > good_before else ())]

    def tick(self, now: Moment) -> list[Action]:
        if now.monotonic_ns < self.wake_ns:
            return []
        self._end()
        if self._good != 1:
            return [HangUp(1000, "", "silent")]
        if self._polling:
            return [HangUp(1000, "", "polling")]
        self._waits.dead()
        if not self._waits.polling:
            return [HangUp(1000, "", "silent")]
        detail = "the channel is dead and others are on it: taking a frame now and then until it lives again"
        return [Alarm("feed.polling", detail), HangUp(1000, "", "silent")]

    def closed(self, code: int, reason: str, now: Moment) -> list[Action]:  # noqa: ARG002 - the code says it all
        self._end()
        if code == RESTART:
            self._waits.restarted()
        wait = self._waits.after_close(now) or (self._waits.after_leaving() if code == LEFT else None)
        return [wait] if wait else []

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: Moment) -> list[Action]:  # noqa: ARG002
        self._end()
        wait = self._waits.after_refusal(status, headers, now)
        return [wait] if wait else []

    def _look_at(self, frame: Frame, now: Moment) -> Mark:
        """The frame's mark. Told each frame once, in order, and counts those of the right shape."""
        if not self._shape.holds(frame):
            return Mark.ODD if frame.is_text else Mark.ODD | Mark.BINARY
        self._good += 1
        # A profile of which everything failed is an answer and proof of life: the server heals it by itself.
        if not without_metadata(frame.payload).startswith(NO_QUOTE):
            self._quoted_ns = now.monotonic_ns
        if self._good == 1:
            self._initial_ns = now.monotonic_ns
            limit = connect_limit(frame.payload)
            if limit:
                self._waits.limited(limit, now)
            return Mark.INITIAL
        # On a channel that others had opened a tick comes this early one time in five; the mark is wrong then, and
        # the frame is kept like any other.
        if self._good == 2 and now.monotonic_ns - self._initial_ns <= DOUBLE_NS:
            return Mark.DOUBLE
        return Mark.NONE

    def _odd_news(self, keeps: Sequence[Keep]) -> list[Action]:
        odd = next((keep.frames[0].payload for keep in keeps if Mark.ODD in keep.mark), None)
        if odd is None or self._odd_told:
            return []
        self._odd_told = True
        return [Alarm("feed.odd", f"not what {self._endpoint.path} sends, {len(odd)} bytes: {odd[:60]!r}")]

    def _good_news(self, now: Moment) -> list[Action]:
        """What frames of the right shape mean, beyond being kept."""
        if self._good == 1:
            wait_ns = int(self._endpoint.poll_wait_s * SECOND_NS) if self._polling else self._silence_ns
            self.wake_ns = now.monotonic_ns + wait_ns
            return []
        self._stay(now)
        # The credentials that the channel's first client brought have gone stale; another channel has fresh ones. Only
        # where there was a quote before: an unknown symbol has none anywhere, and rotating would never end.
        if self._quoted_ns and now.monotonic_ns - self._quoted_ns >= self._silence_ns and not self._suspected:
            self._suspected = True
            return [ALIVE, Suspect("profile without a quote")]
        return [ALIVE]

    def _stay(self, now: Moment) -> None:
        self._waits.alive()
        self.wake_ns = now.monotonic_ns + self._silence_ns

    def _end(self) -> None:
        self._over = True
        self.wake_ns = NEVER_NS
