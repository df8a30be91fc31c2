"""A year of scheduled life in seconds: rotations, days that end, both changes of the clocks, New Year, holidays.

Real decisions, simulated time: what a channel, the plans of compaction and retention and the rhythm of a feed answer
from one March to the next. Upstreams speak seldom here, and the settings wait accordingly longer, so that a year is
some hundred thousand events and not a hundred million.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.demo import market_hours
from recorder.demo.world import World
from recorder.feeds.channel import Channel
from recorder.feeds.command import Close, Command, Dial, Write
from recorder.feeds.feed import NEVER_NS, Frame
from recorder.feeds.finance_query import subscriptions
from recorder.feeds.redial import Redial
from recorder.journal.registry import Part
from recorder.message import Kind
from recorder.partitions import compact, layout, retain
from recorder.partitions.compact import Output
from recorder.rhythm import Rhythms
from recorder.settings import Hours, Market, Profile, Quotes
from recorder.settings import Redial as RedialSettings

HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
BEGIN_NS = int(BEGIN.timestamp()) * SECOND_NS
YEAR_NS = 366 * DAY_NS  # up to 2027-03-02: New York's clocks change on 2026-03-08 and 2026-11-01
WAY_NS = 40 * MS_NS
SOON_NS, FRAME_EVERY_NS = 5 * SECOND_NS, 1200 * SECOND_NS
URL, SILENCE_S = "ws://server", 4000.0
FEEDS: dict[str, Quotes | Profile | Market | Hours] = {
    "quotes": Quotes(kind="finance_query.quotes", url=URL, symbols=["AAPL"], silence_s=SILENCE_S),
    "profile": Profile(kind="finance_query.profile", url=URL, symbols=["AAPL"], silence_s=SILENCE_S),
    "market": Market(kind="finance_query.market", url=URL, silence_s=SILENCE_S),
    "hours": Hours(kind="finance_query.hours", url=URL, silence_s=SILENCE_S),
}


class Server:
    """Finance Query: a frame at once, one soon, then one every twenty minutes, to each connection."""

    def __init__(self, name: str) -> None:
        feed = FEEDS[name]
        (subscription,) = subscriptions(name, feed, "", salt=1)
        world = World(1, articles_per_s=0)
        frames = {
            "quotes": world.quotes(frozenset({"AAPL"}), BEGIN_NS),
            "profile": world.profile("AAPL", BEGIN_NS),
            "market": world.market(BEGIN_NS),
        }
        self.frame = world.hours if name == "hours" else lambda _: frames[name]
        self.now_ns = self.sent = self.recorded = 0
        self.events: list[tuple[int, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.open: set[int] = set()
        self.entries: list[dict[str, Any]] = []
        redial = lambda: Redial(RedialSettings(), lambda: 0.5)  # noqa: E731
        self.channel = Channel(subscription, redial, None, itertools.count(1).__next__, feed.overlap_s)
        self.obey(self.channel.start(BEGIN_NS, "start", self.moment))

    @property
    def moment(self) -> Moment:
        return Moment(BEGIN_NS + self.now_ns, self.now_ns)

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

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Write(_, Kind.DATA, _, payloads):
                    self.recorded += len(payloads)
                case Write(_, Kind.LIFECYCLE, _, payloads):
                    self.entries += [{"at_ns": self.moment.utc_ns, **lifecycle.read(entry)} for entry in payloads]
                case Dial(connection, _):
                    self.after(3 * WAY_NS, partial(self.accept, connection))
                case Close(connection, code, _):
                    self.after(2 * WAY_NS, partial(self.end, connection, code))

    def accept(self, connection: int) -> None:
        self.open.add(connection)
        self.obey(self.channel.opened(connection, 120.0, self.moment))
        self.publish(connection, SOON_NS)

    def publish(self, connection: int, next_ns: int = FRAME_EVERY_NS) -> None:
        if connection in self.open:
            self.sent += 1
            frame = Frame(self.frame(self.moment.utc_ns))
            self.obey(self.channel.received(connection, [frame], self.moment))
            self.after(next_ns, partial(self.publish, connection))

    def end(self, connection: int, code: int) -> None:
        self.open.discard(connection)
        self.obey(self.channel.closed(connection, code, "", True, self.moment))


@pytest.mark.slow
@pytest.mark.parametrize("name", FEEDS)
def test_a_year_of_rotations_loses_no_frame_and_makes_no_gap_where_the_server_lets_it(name: str) -> None:
    server = Server(name)
    server.run(YEAR_NS)
    ended = Counter(entry["event"] for entry in server.entries)
    rotations = YEAR_NS // int(FEEDS[name].rotate_s * SECOND_NS)
    assert ended["rotation.failed"] == ended["connection.failed"] == ended["connection.refused"] == 0
    assert rotations - rotations // 20 <= ended["connection.closed"] <= rotations + 2
    assert server.recorded == server.sent
    gaps = [entry for entry in server.entries if entry["event"] == "gap.closed" and entry["cause"] != "start"]
    if server.channel.subscription.break_first:  # a channel that all clients share: two connections share its fate
        assert {gap["cause"] for gap in gaps} == {"rotation (planned), old before new"}
        # From the last frame of the old to the second of the new one: the first may be a dead channel's last words.
        assert all(gap["until_ns"] - gap["since_ns"] <= FRAME_EVERY_NS + SOON_NS + SECOND_NS for gap in gaps)
    else:
        assert gaps == []
    assert server.channel.gap is None
    if name == "hours":
        new_year_ns = int(datetime(2027, 1, 1, 0, 5, tzinfo=UTC).timestamp()) * SECOND_NS  # and five minutes, surely
        dialled = [entry["at_ns"] for entry in server.entries if entry["event"] == "connection.dialled"]
        assert any(0 < at_ns - new_year_ns < 10 * SECOND_NS for at_ns in dialled), "a calendar of the new year"


TABLES = ("messages", "quotes")
SEALS_AN_HOUR = 2
POSITIONS = 10  # of each seal
KEPT_DAYS = 30


class Registry:
    """The parts of a recorder that seals, compacts and lets go. Only names and numbers."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.last = 0
        self.gone = 0  # positions let go
        self.compacted: set[Part] = set()

    def seal(self, received_ns: int) -> None:
        first, self.last = self.last + 1, self.last + POSITIONS
        for table in TABLES:
            path = layout.hot_path(table, layout.hour_of(received_ns), first, self.last)
            at = received_ns, received_ns + SECOND_NS
            self.parts.append(Part(table, path, "hot", first, self.last, *at, POSITIONS, 1000, 1))

    def compact(self) -> None:
        while works := compact.plan(self.parts):
            for work in works:
                inputs = set(work.inputs)
                assert inputs <= set(self.parts), "what is compacted is there"
                assert not inputs & self.compacted, "and was not compacted before"
                self.compacted |= inputs
                self.parts = [part for part in self.parts if part not in inputs]
                self.parts += [self.made(output) for output in work.outputs]

    def made(self, output: Output) -> Part:
        of = output.inputs
        span = of[0].first_position, of[-1].last_position, of[0].first_received_ns, of[-1].last_received_ns
        assert span[1] - span[0] + 1 == sum(part.row_count for part in of), "next to each other"
        rows, size = sum(part.row_count for part in of), sum(part.byte_count for part in of)
        return Part(output.table, output.path, "cold", *span, rows, size, 2)

    def retain(self, now_ns: int) -> None:
        for going in retain.plan(self.parts, now_ns, KEPT_DAYS, 0, {}, {}, None):
            assert going.until_ns < now_ns - KEPT_DAYS * DAY_NS
            self.gone = going.last_position
            self.parts = [part for part in self.parts if part not in set(going.parts)]

    def check(self) -> None:
        """Nothing is missing, nothing is there twice, and each part lies where its times say."""
        for table in TABLES:
            parts = sorted((p for p in self.parts if p.table_name == table), key=lambda part: part.first_position)
            assert parts[0].first_position == self.gone + 1
            assert parts[-1].last_position == self.last
            assert all(one.last_position + 1 == two.first_position for one, two in itertools.pairwise(parts))
        for part in self.parts:
            first, last = (layout.hour_of(ns) for ns in (part.first_received_ns, part.last_received_ns))
            date = f"{first[:4]}-{first[4:6]}-{first[6:8]}"
            assert f"/date={date}/" in part.path or f"/hour={first}/" in part.path
            assert first[:8] == last[:8]
            assert layout.hour_in(part.path) in (None, first)


@pytest.mark.slow
def test_a_year_of_parts_is_compacted_once_and_let_go_in_time() -> None:
    registry, hours = Registry(), YEAR_NS // HOUR_NS
    for hour in range(hours):
        for seal in range(SEALS_AN_HOUR):
            registry.seal(BEGIN_NS + hour * HOUR_NS + seal * HOUR_NS // SEALS_AN_HOUR)
        if hour % 6 == 5:
            registry.compact()
        if hour % 24 == 12:
            registry.retain(BEGIN_NS + hour * HOUR_NS)
            registry.check()
    assert registry.last == hours * SEALS_AN_HOUR * POSITIONS
    assert compact.plan(registry.parts) == []
    days = {part.path.split("/")[2] for part in registry.parts if layout.hour_in(part.path) is None}
    end = BEGIN + timedelta(days=366)
    assert days == {f"date={end - timedelta(days=ago):%Y-%m-%d}" for ago in range(2, KEPT_DAYS + 2)}


LOOK_NS = 300 * SECOND_NS


@pytest.mark.slow
def test_a_year_of_a_market_that_sleeps_is_no_false_alarm() -> None:
    """Prices come while New York is open; its hours move in UTC twice a year, and holidays come as they do."""
    rhythms, last_ns, alarms = Rhythms(), 0, []
    begin, end = BEGIN_NS, BEGIN_NS + YEAR_NS
    silent = int(datetime(2026, 7, 15, 15, tzinfo=UTC).timestamp()) * SECOND_NS  # a Wednesday, for two hours
    for now_ns in range(begin, end, LOOK_NS):
        status, reason = market_hours.status(datetime.fromtimestamp(now_ns // SECOND_NS, UTC))
        rhythms.market_hours(orjson.dumps({"status": status, "reason": reason}), now_ns)
        if status == "Open" and not silent <= now_ns < silent + 2 * HOUR_NS:
            last_ns = now_ns
        if rhythms.look("quotes", last_ns, now_ns):
            alarms.append(now_ns)
    assert alarms, "an outage in a session is noticed"
    assert all(silent < alarm <= silent + 2 * HOUR_NS for alarm in alarms), [
        datetime.fromtimestamp(alarm // SECOND_NS, UTC).isoformat() for alarm in alarms
    ]
