"""When to dial again: a ladder of growing waits, orders to wait longer, and a budget of connects a day.

Pure: told what happened and the time, it says at which monotonic time the next dial is allowed. The first try after
a connection that had proved itself is at once; a handshake, or a life shorter than `proven_s`, proves nothing, so an
upstream that accepts and hangs up at once is dialled no faster than one that is down.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from recorder.clock import SECOND_NS, Moment
from recorder.settings import Redial as RedialSettings

DAY_NS = 86_400 * SECOND_NS
DOUBLINGS_MAX = 30  # 2**30 times half a second is 17 years; without a bound, years of failures would overflow


class Redial:
    """The waits of one channel."""

    def __init__(self, settings: RedialSettings, chance: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._chance = chance
        self.dials = 0
        self._tries = 0  # dials since the last connection that proved itself
        self._orders = 0  # loud refusals in a row
        self._not_before_ns = 0

    def dialled(self) -> None:
        """One more dial was begun."""
        self.dials += 1
        self._tries += 1

    def proved(self) -> None:
        """What was dialled does its work: the next dial is a first one again."""
        self._tries = self._orders = 0

    def ended(self, proven_ns: int | None, now: Moment) -> None:
        """The dial or its connection is over; `proven_ns` is when it first proved alive, monotonic, or None."""
        if proven_ns is not None:
            self._orders = 0
            if now.monotonic_ns - proven_ns >= self._settings.proven_s * SECOND_NS:
                self._tries = 0
        self._order(now.monotonic_ns + self._ladder_ns())

    def wait(self, seconds: float, now: Moment, *, loud: bool) -> float:
        """An order to wait at least so long. One that a person has to lift doubles while it is repeated.

        Returns the seconds that will be waited.
        """
        if loud:
            seconds = max(seconds, min(seconds * 2**self._orders, self._settings.refused_max_s))
            self._orders = min(self._orders + 1, DOUBLINGS_MAX)
        self._order(now.monotonic_ns + int(seconds * SECOND_NS))
        return seconds

    @property
    def at_ns(self) -> int:
        """Monotonic time before which this channel must not be dialled."""
        return self._not_before_ns

    def _order(self, not_before_ns: int) -> None:
        self._not_before_ns = max(self._not_before_ns, not_before_ns)

    def _ladder_ns(self) -> int:
        if self._tries == 0:
            return 0
        wait_s = min(self._settings.first_s * 2 ** min(self._tries - 1, DOUBLINGS_MAX), self._settings.max_s)
        # Between half and all of the wait: many recorders cut off together must not come back together.
        return int(wait_s * (0.5 + 0.5 * self._chance()) * SECOND_NS)


class ConnectBudget:
    """At most `per_day_max` connects in any 24 hours, shared by all channels to one host.

    A bucket that holds a tenth of the day's connects and refills with the other nine tenths over the day: bursts
    after an outage are free, and a day of them still ends with connects left.
    """

    def __init__(self, per_day_max: int) -> None:
        self.allow(per_day_max)
        self._left = self._size
        self._as_of_ns: int | None = None

    def allow(self, per_day_max: int) -> None:
        """From now on so many; what was spent stays spent."""
        self._size = max(1.0, per_day_max / 10)
        self._refill_ns = DAY_NS / max(1.0, per_day_max - self._size)  # for one connect

    def at_ns(self, now: Moment) -> int:
        """Monotonic time from which the next connect is within the budget."""
        self._refill(now)
        missing = max(0.0, 1.0 - self._left)
        return now.monotonic_ns + int(missing * self._refill_ns)

    def spend(self, now: Moment) -> None:
        """One connect was begun."""
        self._refill(now)
        self._left -= 1.0

    def _refill(self, now: Moment) -> None:
        if self._as_of_ns is not None:
            self._left = min(self._size, self._left + (now.monotonic_ns - self._as_of_ns) / self._refill_ns)
        self._as_of_ns = now.monotonic_ns
