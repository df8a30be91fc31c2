"""Weeks of a feed's life against an upstream that keeps to its protocol page, in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import orjson
import pytest

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.feeds.channel import Channel
from recorder.feeds.command import Close, Command, Dial, Say, Write
from recorder.feeds.feed import NEVER_NS, Frame
from recorder.feeds.finlight import FinlightSubscription
from recorder.feeds.redial import Redial
from recorder.message import Kind
from recorder.settings import Finlight
from recorder.settings import Redial as RedialSettings

HOUR_NS = 3600 * SECOND_NS
START_NS = 1_800_000_000 * SECOND_NS
WAY_NS = 40 * MS_NS  # one way through the network


class Vendor:
    """Finlight's server: admits, answers pings, sends the newest article first, closes after two hours."""

    def __init__(self, seed: int, *, raw: bool, slots: int, **over: float) -> None:
        self.chance = random.Random(seed)
        self.now_ns = 0
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.open: set[int] = set()
        self.subscribed: set[int] = set()
        self.newest: bytes | None = None
        self.published: list[bytes] = []
        self.raw, self.slots = raw, slots
        feed = Finlight.model_validate({"kind": "finlight.raw" if raw else "finlight", "url": "ws://vendor", **over})
        redial = lambda: Redial(RedialSettings(), self.chance.random)  # noqa: E731
        numbers = itertools.count(1).__next__
        self.channel = Channel(FinlightSubscription("news", feed, "key"), redial, None, numbers, feed.overlap_s)
        self.recorded: Counter[bytes] = Counter()
        self.entries: list[dict[str, object]] = []
        self.obey(self.channel.start(START_NS, "start", self.moment))

    @property
    def moment(self) -> Moment:
        return Moment(START_NS + self.now_ns, self.now_ns)

    def after(self, ns: int, what: Callable[[], None]) -> None:
        heapq.heappush(self.events, (self.now_ns + ns, next(self.order), what))

    def run(self, until_ns: int) -> None:
        while True:
            wake_ns = max(self.channel.wake_ns(self.moment), self.now_ns + 1)
            due_ns = self.events[0][0] if self.events else NEVER_NS
            if min(wake_ns, due_ns) > until_ns:
                return
            if due_ns <= wake_ns:
                self.now_ns, _, what = heapq.heappop(self.events)
                what()
            else:
                self.now_ns = wake_ns
                self.obey(self.channel.tick(self.moment))

    def publish(self) -> None:
        data = {"link": f"https://news/{len(self.published)}", "title": "T"}
        article = orjson.dumps({"action": "sendArticle", "data": data})
        self.newest = article
        self.published.append(article)
        for connection in self.subscribed:
            self.send(connection, article)
        self.after(int(self.chance.expovariate(1 / HOUR_NS)), self.publish)

    def send(self, connection: int, *payloads: bytes) -> None:
        frames = [Frame(payload) for payload in payloads]
        self.after(WAY_NS, partial(self.arrive, connection, frames))

    def arrive(self, connection: int, frames: list[Frame]) -> None:
        if connection in self.open:
            self.obey(self.channel.received(connection, frames, self.moment))

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Write(_, Kind.DATA, _, payloads):
                    self.recorded.update(payloads)
                case Write(_, Kind.LIFECYCLE, _, payloads):
                    self.entries += map(lifecycle.read, payloads)
                case Dial(connection, _):
                    self.after(3 * WAY_NS, partial(self.accept, connection))
                case Say(connection, text):
                    self.after(WAY_NS, partial(self.hear, connection, text))
                case Close(connection, code, _):
                    self.subscribed.discard(connection)
                    self.after(2 * WAY_NS, partial(self.end, connection, code, by_us=True))

    def accept(self, connection: int) -> None:
        if len(self.open) >= self.slots:
            self.obey(self.channel.refused(connection, 429, {}, b"", self.moment))
            return
        self.open.add(connection)
        self.after(2 * HOUR_NS, lambda: self.end(connection, 1001, by_us=False))
        self.obey(self.channel.opened(connection, 120.0, self.moment))

    def hear(self, connection: int, text: str) -> None:
        if connection not in self.open:
            return
        said = orjson.loads(text)
        if said.get("action") == "ping":
            self.send(connection, orjson.dumps({"action": "pong", "t": said["t"]}))
            return
        self.send(connection, orjson.dumps({"action": "admit", "clientNonce": said["clientNonce"]}))
        if self.newest and not self.raw:
            self.send(connection, self.newest)
        self.subscribed.add(connection)

    def end(self, connection: int, code: int, *, by_us: bool) -> None:
        if connection in self.open:
            self.open.discard(connection)
            self.subscribed.discard(connection)
            self.obey(self.channel.closed(connection, code, "", by_us, self.moment))

    def gaps(self) -> list[dict[str, object]]:
        return [e for e in self.entries if e["event"] == "gap.closed" and e["cause"] != "start"]


def test_weeks_of_two_hour_connections_lose_nothing_and_double_nothing() -> None:
    for seed, raw in itertools.product(range(2), (False, True)):
        vendor = Vendor(seed, raw=raw, slots=2)
        vendor.after(SECOND_NS, vendor.publish)
        vendor.run(7 * 24 * HOUR_NS)
        assert vendor.gaps() == []
        assert vendor.channel.rotations >= 7 * 24 * 60 // 117
        assert vendor.recorded == Counter(vendor.published)
        assert len(vendor.published) > 100


@pytest.mark.slow
@pytest.mark.parametrize("raw", [False, True], ids=["enhanced", "raw"])
def test_a_year_of_them_neither(raw: bool) -> None:
    """With a ping in ten minutes instead of 25 s, which is most of what happens in a year."""
    vendor = Vendor(1, raw=raw, slots=2, ping_s=600.0, pong_timeout_s=1500.0)
    vendor.after(SECOND_NS, vendor.publish)
    vendor.run(366 * 24 * HOUR_NS)
    assert vendor.gaps() == []
    assert vendor.channel.rotations >= 366 * 24 * 60 // 117
    assert vendor.recorded == Counter(vendor.published)


def test_with_one_slot_the_breaks_are_short_written_and_all_that_is_lost() -> None:
    vendor = Vendor(1, raw=False, slots=1)
    vendor.after(SECOND_NS, vendor.publish)
    vendor.run(2 * 24 * HOUR_NS)
    gaps = vendor.gaps()
    assert 2 * 24 * 60 // 117 <= len(gaps) <= 30
    for gap in gaps:
        assert int(str(gap["until_ns"])) - int(str(gap["since_ns"])) < 27 * SECOND_NS  # the last pong to the new admit
    assert max(vendor.recorded.values()) == 1
    assert vendor.channel.state == "receiving"
