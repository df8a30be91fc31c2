"""Who is kept on the line: the channels of the configured feeds, and what becomes of them when that changes.

In: settings and secrets, what the journal knew of each stream. Out: keepers that record, each stream's gap with its
true bounds: from the last frame before a crash, from where it was taken out to where it came back. If the power fails,
the gaps that were open go on at the next start. Recording itself is the keepers' and the journal's job.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from recorder import lifecycle, reload
from recorder.clock import Clock
from recorder.feeds.channel import Channel
from recorder.feeds.connection import Connection
from recorder.feeds.feed import Request, Subscription
from recorder.feeds.keeper import Append, Ear, Keeper
from recorder.feeds.logbook import Gap
from recorder.feeds.redial import ConnectBudget, Redial
from recorder.feeds.register import subscriptions
from recorder.journal.standing import Standing
from recorder.message import Kind, Mark, Stream
from recorder.settings import AnyFeed, FinanceQuery, Settings

FAREWELL_S = 2.0  # how long an upstream may take to answer our close, at a stop


class Roster:
    """`standing` is the journal's as of the start; `append` hands messages to it."""

    def __init__(
        self, settings: Settings, secrets: Mapping[str, str], clock: Clock, standing: Standing, append: Append
    ) -> None:
        self._settings = settings
        self._secrets = dict(secrets)
        self._clock = clock
        self._standing = standing
        self._append = append
        self._numbers = itertools.count(1 + max((known.connection for known in standing.streams.values()), default=0))
        self._budgets: dict[str, ConnectBudget] = {}
        # UTC; since when a channel known from earlier is not wanted
        self._taken_out = {stream: known.removed_ns for stream, known in standing.streams.items() if known.removed_ns}
        self._leaving: set[Keeper] = set()
        self._ended = self._paused = False
        self._hung_up = ""  # why, while it is
        self.keepers = [self._keeper(feed, subscription) for feed, subscription in self._wanted()]

    def begin(self) -> None:
        """Dial. What was not in the configuration any more when this recorder started is out from now on."""
        started_ns = self._clock.now().utc_ns
        kept = {keeper.channel.subscription.stream for keeper in self.keepers}
        for stream, known in self._standing.streams.items():
            if stream in kept or stream in self._taken_out:
                continue
            if known.gap:
                self._took_out(stream, Gap(known.gap.since_ns, known.gap.cause), started_ns)
            elif known.last_received_ns:  # it received until the crash
                self._note(stream, "gap.opened", since_ns=known.last_received_ns, cause="crash")
                self._took_out(stream, Gap(known.last_received_ns, "crash"), started_ns)
        for keeper in self.keepers:
            stream = keeper.channel.subscription.stream
            earlier = self._standing.streams.get(stream)
            if stream in self._taken_out:
                keeper.start(self._taken_out[stream], "removed")
            elif earlier and earlier.last_received_ns:
                keeper.start(earlier.last_received_ns, "crash")
            else:
                keeper.start(started_ns, "start")

    def plan(self, settings: Settings, secrets: Mapping[str, str]) -> reload.Plan:
        """What `change` would do."""
        rekeyed = {name for name in settings.feeds if secrets.get(name) != self._secrets.get(name)}
        return reload.plan(self._settings, settings, rekeyed)

    async def change(self, settings: Settings, secrets: Mapping[str, str]) -> None:
        """Go by other feeds from now on. What did not change keeps its connections, what did is new before old."""
        plan = self.plan(settings, secrets)
        self._settings, self._secrets = settings, dict(secrets)
        wanted = {subscription.stream: (feed, subscription) for feed, subscription in self._wanted()}
        keepers = {keeper.channel.subscription.stream: keeper for keeper in self.keepers}
        for stream in plan.change:
            feed, subscription = wanted[stream]
            keepers[stream].change(subscription, self._budget(feed), feed.overlap_s)
        await asyncio.gather(*(self._remove(keepers[stream]) for stream in plan.remove))
        for stream in plan.add:
            if not self._ended:
                await self._add(*wanted[stream])

    def read(self, reading: bool) -> None:
        """Read sockets, or let TCP hold the upstreams back."""
        self._paused = not reading
        for keeper in self.keepers:
            keeper.resume() if reading else keeper.pause()

    async def hang_up(self, cause: str) -> None:
        """Close every connection; each channel is in a gap until `restart`."""
        self._hung_up = cause
        await asyncio.gather(*(keeper.stop(cause, FAREWELL_S) for keeper in self.keepers))

    def restart(self) -> None:
        """Dial again after `hang_up`."""
        self._hung_up = ""
        for keeper in self.keepers:
            keeper.restart()

    async def end(self, cause: str) -> None:
        """Hang up for good, what is being taken out included."""
        self._ended = True
        await asyncio.gather(*(keeper.stop(cause, FAREWELL_S) for keeper in (*self.keepers, *self._leaving)))

    def _took_out(self, stream: Stream, gap: Gap, until_ns: int) -> None:
        """What is not in the configuration is not expected any more: its gap ends where it was taken out."""
        self._note(stream, "gap.closed", since_ns=gap.since_ns, until_ns=until_ns, cause=gap.cause)
        self._note(stream, "channel.removed", since_ns=until_ns)
        self._taken_out[stream] = until_ns

    def _note(self, stream: Stream, event: str, **fields: object) -> None:
        entry = lifecycle.entry(event, **fields)
        self._append(stream, Kind.LIFECYCLE, 0, [entry], Mark.NONE, self._clock.now())

    async def _remove(self, keeper: Keeper) -> None:
        stream, until_ns = keeper.channel.subscription.stream, self._clock.now().utc_ns
        self.keepers.remove(keeper)
        self._leaving.add(keeper)
        await keeper.stop("removed", FAREWELL_S)
        self._leaving.remove(keeper)
        if keeper.channel.gap:
            self._took_out(stream, keeper.channel.gap, max(keeper.channel.gap.since_ns, until_ns))

    async def _add(self, feed: AnyFeed, subscription: Subscription) -> None:
        keeper = self._keeper(feed, subscription, known=False)
        self.keepers.append(keeper)
        since_ns = self._taken_out.get(subscription.stream)
        keeper.start(since_ns or self._clock.now().utc_ns, "removed" if since_ns else "start")
        if self._paused:
            keeper.pause()
        if self._hung_up:
            await keeper.stop(self._hung_up, 0.0)

    def _wanted(self) -> Iterator[tuple[AnyFeed, Subscription]]:
        for name, feed in self._settings.feeds.items():
            for subscription in subscriptions(name, feed, self._secrets.get(name, "")):
                yield feed, subscription

    def _budget(self, feed: AnyFeed) -> ConnectBudget | None:
        if not isinstance(feed, FinanceQuery):
            return None
        # The server counts connects by client address, over all its endpoints.
        host = urlsplit(feed.url).netloc
        budget = self._budgets.setdefault(host, ConnectBudget(feed.connects_per_day_max))
        budget.allow(feed.connects_per_day_max)
        return budget

    def _keeper(self, feed: AnyFeed, subscription: Subscription, *, known: bool = True) -> Keeper:
        """`known`: a gap that an earlier run left open goes on."""
        earlier = self._standing.streams.get(subscription.stream) if known else None
        gap = Gap(earlier.gap.since_ns, earlier.gap.cause) if earlier and earlier.gap else None
        channel = Channel(
            subscription,
            lambda: Redial(self._settings.redial),
            self._budget(feed),
            self._numbers.__next__,
            feed.overlap_s,
            gap,
        )
        return Keeper(channel, self._clock, self._append, self._connect)

    def _connect(self, request: Request, ear: Ear) -> Connection:
        return Connection(request, ear, self._clock, self._settings.redial, self._settings.limits)
