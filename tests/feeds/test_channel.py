"""A channel lives here on scripted conversations, so that each rule shows by itself, in milliseconds."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pytest

from recorder import lifecycle
from recorder.clock import SECOND_NS, Moment
from recorder.feeds.channel import Channel
from recorder.feeds.command import Close, Command, Dial, Say, Write
from recorder.feeds.feed import NEVER_NS, Action, Alarm, Alive, Frame, HangUp, Keep, Request, RetryAfter, Send, Suspect
from recorder.feeds.logbook import Gap
from recorder.feeds.redial import ConnectBudget, Redial
from recorder.message import Kind, Mark, Stream
from recorder.settings import Redial as RedialSettings

START = Moment(1_800_000_000 * SECOND_NS, 1000 * SECOND_NS)


class Script:
    """A conversation that obeys its frames: `alive`, `kick 9`, `wait 9`, `suspect`, `alarm`, else data."""

    def __init__(self, takeover: bool) -> None:
        self.request = Request("ws://upstream/", (("x-api-key", "secret"),))
        self.takeover = takeover
        self.wake_ns = NEVER_NS

    def opened(self, now: Moment) -> list[Action]:
        return [Send("subscribe")]

    def received(self, frames: Sequence[Frame], now: Moment) -> list[Action]:
        actions: list[Action] = []
        for frame in frames:
            word, *rest = frame.payload.decode().split()
            if word == "alive":
                actions += [Keep([frame], Kind.REPLY), Alive(data=False)]
            elif word == "kick":
                actions += [
                    Keep([frame], Kind.REPLY),
                    HangUp(4003, "kicked", "kicked"),
                    RetryAfter(float(rest[0]), "k"),
                ]
            elif word == "preempted":
                actions += [Keep([frame], Kind.REPLY), HangUp(1000, "", "preempted"), RetryAfter(900, "p", loud=True)]
            elif word == "suspect":
                actions += [Keep([frame], Kind.REPLY), Suspect("silent")]
            elif word == "alarm":
                actions += [Keep([frame], Kind.REPLY), Alarm("feed.error", "hm")]
            elif word == "initial":
                actions += [Keep([frame], Kind.DATA, Mark.INITIAL), Alive()]
            elif word == "odd":
                actions += [Keep([frame], Kind.DATA, Mark.ODD)]
            else:
                actions += [Keep([frame]), Alive()]
        return actions

    def tick(self, now: Moment) -> list[Action]:
        return []

    def closed(self, code: int, reason: str, now: Moment) -> list[Action]:
        return [RetryAfter(900, "blocked", loud=True)] if code == 1008 else []

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: Moment) -> list[Action]:
        return [RetryAfter(60, f"refused {status}", loud=status == 401)]


class Scripted:
    stream = Stream("news", "finlight")
    slots_limited = True
    farewell = (4000, "Proactive rotation")

    def __init__(self, *, break_first: bool = False, snapshots: bool = False, may_take_over: bool = False) -> None:
        self.break_first = break_first
        self.snapshots = snapshots
        self.may_take_over = may_take_over
        self.takeovers: list[bool] = []

    def connect(self, now: Moment, *, takeover: bool) -> Script:
        self.takeovers.append(takeover)
        return Script(takeover)

    def identity(self, frame: Frame) -> Hashable | None:
        return frame.payload

    def rotate_at(self, opened: Moment) -> int:
        return opened.monotonic_ns + 6600 * SECOND_NS


class Life:
    """A channel with everything it ever commanded."""

    def __init__(self, subscription: Scripted | None = None, gap: Gap | None = None, **redial: float) -> None:
        self.now = START
        self.commands: list[Command] = []
        self.subscription = subscription or Scripted()
        settings = RedialSettings(**redial)
        self.channel = Channel(
            self.subscription,
            lambda: Redial(settings, lambda: 1.0),
            None,
            itertools.count(1).__next__,
            overlap_s=300,
            gap=gap,
        )
        self.did(self.channel.start(START.utc_ns, "start", START))

    def did(self, commands: list[Command]) -> list[Command]:
        self.commands += commands
        return commands

    def later(self, seconds: float) -> list[Command]:
        ns = int(seconds * SECOND_NS)
        self.now = Moment(self.now.utc_ns + ns, self.now.monotonic_ns + ns)
        return self.did(self.channel.tick(self.now))

    def opened(self, connection: int) -> list[Command]:
        return self.did(self.channel.opened(connection, 1.0, self.now))

    def hears(self, connection: int, *words: str) -> list[Command]:
        return self.did(self.channel.received(connection, [Frame(w.encode()) for w in words], self.now))

    def closed(self, connection: int, code: int = 1001, by_us: bool = False) -> list[Command]:
        return self.did(self.channel.closed(connection, code, "", by_us, self.now))

    def refused(self, connection: int, status: int) -> list[Command]:
        return self.did(self.channel.refused(connection, status, {}, b"", self.now))

    def receiving(self) -> Life:
        self.opened(1)
        self.hears(1, "alive")
        return self

    @property
    def dials(self) -> list[int]:
        return [c.connection for c in self.commands if isinstance(c, Dial)]

    @property
    def closes(self) -> list[tuple[int, int]]:
        return [(c.connection, c.code) for c in self.commands if isinstance(c, Close)]

    @property
    def recorded(self) -> list[str]:
        writes = [c for c in self.commands if isinstance(c, Write) and c.kind is Kind.DATA]
        return [payload.decode() for write in writes for payload in write.payloads]

    def events(self, prefix: str = "") -> list[dict[str, Any]]:
        writes = [c for c in self.commands if isinstance(c, Write) and c.kind is Kind.LIFECYCLE]
        entries = [lifecycle.read(payload) for write in writes for payload in write.payloads]
        return [entry for entry in entries if entry["event"].startswith(prefix)]

    @property
    def gaps(self) -> list[tuple[str, str]]:
        return [(entry["event"], entry["cause"]) for entry in self.events("gap.")]


def test_it_dials_at_once_and_is_a_gap_until_proof_of_life() -> None:
    life = Life()
    assert life.dials == [1]
    assert life.channel.gap == Gap(START.utc_ns, "start")
    assert life.opened(1)[-1] == Say(1, "subscribe")
    assert life.channel.gap
    life.hears(1, "alive")
    assert life.channel.gap is None
    assert life.gaps == [("gap.opened", "start"), ("gap.closed", "start")]
    assert life.channel.state == "receiving"


def test_a_lost_connection_is_redialled_at_once_and_is_a_gap_since_its_last_frame() -> None:
    life = Life().receiving()
    life.later(100)
    heard = life.now
    life.hears(1, "a")
    life.later(3)
    life.closed(1, 1006)
    assert life.dials == [1, 2]
    assert life.channel.gap == Gap(heard.utc_ns, "closed with 1006")
    life.opened(2)
    life.later(1)
    life.hears(2, "alive")
    closed = life.events("gap.closed")[-1]
    assert (closed["since_ns"], closed["until_ns"]) == (heard.utc_ns, life.now.utc_ns)


def test_an_upstream_that_accepts_and_hangs_up_is_dialled_as_the_ladder_says() -> None:
    life = Life(first_s=0.5, max_s=30)
    for _ in range(6000):  # ten minutes, a look each 0.1 s
        for connection in life.channel.connections:
            life.opened(connection)
            life.hears(connection, "initial")
            life.closed(connection)
        life.later(0.1)
    assert 20 <= len(life.dials) <= 26


def test_refusals_are_retried_as_ordered_and_never_given_up() -> None:
    life = Life()
    life.refused(1, 401)
    assert life.events("feed.refused")
    waits = []
    for _ in range(5):
        before = life.now
        while not life.channel.connections:
            life.later(10)
        waits.append((life.now.monotonic_ns - before.monotonic_ns) / SECOND_NS)
        life.refused(life.dials[-1], 401)
    assert waits == [60, 120, 240, 480, 900]


def test_a_kick_waits_as_long_as_told() -> None:
    life = Life().receiving()
    life.later(60)
    life.hears(1, "kick 900")
    assert life.closes == [(1, 4003)]
    life.closed(1, 4003, by_us=True)
    life.later(899)
    assert life.dials == [1]
    life.later(1)
    assert life.dials == [1, 2]
    assert life.gaps[-1] == ("gap.opened", "kicked")


def test_a_connection_we_hang_up_is_a_gap_at_once_however_long_the_peer_takes_to_go() -> None:
    life = Life().receiving()
    life.later(60)
    life.hears(1, "kick 0")
    assert life.channel.gap == Gap(life.now.utc_ns, "kicked")
    life.later(2)
    life.closed(1, 1006, by_us=True)
    assert life.gaps[-1:] == [("gap.opened", "kicked")]


def test_hanging_up_one_of_two_connections_is_no_gap_while_the_other_is_proven() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "kick 0")
    assert life.channel.gap is None
    life.closed(2, 4003, by_us=True)
    life.later(60)
    life.opened(3)
    life.hears(3, "alive")
    life.hears(1, "kick 0")
    life.closed(1, 4003, by_us=True)
    assert life.channel.gap is None


def test_rotation_is_new_before_old_and_no_gap() -> None:
    life = Life().receiving()
    life.hears(1, "a")
    life.later(6600)
    assert life.dials == [1, 2]
    assert life.closes == []
    life.opened(2)
    life.hears(2, "alive", "initial a")
    life.later(10)
    assert life.closes == [], "what is sent at every subscription proves nothing"
    life.hears(1, "b")
    assert life.closes == []
    life.hears(2, "b")
    assert life.closes == [(1, 4000)]
    life.hears(1, "c")
    life.hears(2, "c", "d")
    life.closed(1, 4000, by_us=True)
    assert life.recorded == ["a", "initial a", "b", "c", "d"]
    assert life.gaps == [("gap.opened", "start"), ("gap.closed", "start")]
    (done,) = life.events("rotation.done")
    assert (done["both"], done["only_old"], done["only_new"], done["proof"]) == (2, 0, 1, "overlap")
    assert life.channel.rotations == 1
    life.later(6600)
    assert life.dials == [1, 2, 3]


def test_the_old_connection_stays_until_the_new_one_has_brought_what_it_brought() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    life.hears(1, "a", "b")
    life.hears(2, "a")
    assert life.closes == []
    life.hears(2, "b")
    assert life.closes == [(1, 4000)]


def test_a_message_that_only_the_old_one_brings_delays_the_rotation_by_seconds_only() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    life.hears(1, "a", "lost")
    life.hears(2, "a")
    life.later(2)
    assert life.closes == [(1, 4000)]
    life.closed(1, 4000, by_us=True)
    (done,) = life.events("rotation.done")
    assert (done["both"], done["only_old"]) == (1, 1)
    assert life.recorded == ["a", "lost"]


def test_a_quiet_rotation_ends_after_the_overlap() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    life.later(299)
    assert life.closes == []
    life.later(1)
    assert life.closes == [(1, 4000)]
    life.closed(1, 4000, by_us=True)
    assert life.events("rotation.done")[0]["proof"] == "admitted"


def test_the_old_connection_serves_on_while_the_new_one_fails() -> None:
    life = Life().receiving()
    life.later(6600)
    life.did(life.channel.failed(2, "no route to host", life.now))
    assert life.events("rotation.failed")
    assert life.channel.gap is None
    life.hears(1, "a")
    life.later(1)
    assert life.dials == [1, 2, 3]


def test_an_old_connection_that_ends_before_the_new_one_is_proven_is_a_gap() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.closed(1, 1001)
    assert life.channel.gap
    life.hears(2, "alive")
    assert life.channel.gap is None
    assert life.dials == [1, 2]


def test_an_old_connection_that_ends_after_the_new_one_is_proven_is_no_gap() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    life.closed(1, 1001)
    assert life.channel.gap is None
    assert life.channel.rotations == 1


def test_a_connection_lost_just_after_a_rotation_is_redialled_at_once() -> None:
    life = Life().receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    life.hears(1, "a")
    life.hears(2, "a")
    life.closed(1, 4000, by_us=True)
    life.closed(2, 1001)
    assert life.dials == [1, 2, 3]


def test_without_a_second_slot_the_break_is_short_and_a_gap() -> None:
    life = Life().receiving()
    life.later(6600)
    life.refused(2, 429)
    assert life.closes == [(1, 4000)]
    life.hears(1, "last words")
    life.closed(1, 4000, by_us=True)
    assert life.dials == [1, 2, 3]
    assert life.gaps[-1] == ("gap.opened", "rotation with a single slot, old before new")
    life.refused(3, 429)
    life.later(1)
    assert life.dials == [1, 2, 3, 4], "the slot that we freed comes free within seconds, not after a minute"
    life.opened(4)
    life.hears(4, "alive")
    assert life.channel.gap is None
    assert "last words" in life.recorded


def test_a_slot_that_never_comes_free_is_asked_for_as_429_says() -> None:
    life = Life().receiving()
    life.later(6600)
    life.refused(2, 429)
    life.closed(1, 4000, by_us=True)
    before = len(life.dials)
    for _ in range(3600):
        for connection in life.channel.connections:
            life.refused(connection, 429)
        life.later(1)
    assert len(life.dials) - before <= 8 + 60


def test_with_takeover_the_heir_asks_for_the_slot_and_its_preempting_is_no_alarm() -> None:
    life = Life(Scripted(may_take_over=True)).receiving()
    life.later(6600)
    life.refused(2, 429)
    assert life.subscription.takeovers == [False, False, True]
    life.opened(3)
    life.hears(1, "preempted")
    life.hears(3, "alive")
    life.closed(1, 1000)
    assert life.channel.gap is None
    assert not life.events("feed.refused")
    life.hears(3, "a")
    assert life.recorded == ["a"]


def test_a_foreign_takeover_is_loud_and_retried_slowly() -> None:
    life = Life().receiving()
    life.hears(1, "preempted")
    life.closed(1, 1000, by_us=True)
    assert life.events("feed.refused")
    life.later(899)
    assert life.dials == [1]
    life.later(1)
    assert life.dials == [1, 2]


def test_close_1008_is_retried_slowly() -> None:
    life = Life().receiving()
    life.closed(1, 1008)
    life.later(899)
    assert life.dials == [1]
    life.later(1)
    assert life.dials == [1, 2]


def test_break_first_lets_the_old_one_go_before_it_dials() -> None:
    life = Life(Scripted(break_first=True, snapshots=True)).receiving()
    life.later(6600)
    assert life.dials == [1]
    assert life.closes == [(1, 4000)]
    life.closed(1, 4000, by_us=True)
    assert life.dials == [1, 2]
    assert life.gaps[-1] == ("gap.opened", "rotation (planned), old before new")


def test_snapshots_need_no_common_message() -> None:
    life = Life(Scripted(snapshots=True)).receiving()
    life.later(6600)
    life.opened(2)
    life.hears(2, "b")
    assert life.closes == [(1, 4000)]
    assert life.recorded == ["b"]


def test_a_suspected_connection_is_replaced_and_if_it_was_deaf_that_is_a_gap() -> None:
    life = Life().receiving()
    life.hears(1, "a")
    last = life.now
    life.later(3600)
    life.hears(1, "suspect")
    life.later(0)
    assert life.dials == [1, 2]
    life.opened(2)
    life.hears(2, "alive", "initial b", "c")
    life.later(2)
    assert life.closes == [(1, 4000)]
    life.closed(1, 4000, by_us=True)
    closed = life.events("gap.closed")[-1]
    assert closed["cause"] == "deaf"
    assert closed["since_ns"] == last.utc_ns
    assert life.channel.gap is None


def test_odd_frames_are_kept_and_prove_nothing() -> None:
    life = Life()
    life.opened(1)
    life.hears(1, "odd")
    assert life.recorded == ["odd"]
    assert life.channel.gap


def test_stopping_hangs_up_writes_the_gap_and_keeps_last_frames() -> None:
    life = Life().receiving()
    life.did(life.channel.stop("stopped", life.now))
    assert life.gaps[-1] == ("gap.opened", "stopped")
    assert life.closes == [(1, 1000)]
    life.hears(1, "last")
    assert not life.channel.idle
    life.closed(1, 1000, by_us=True)
    assert life.channel.idle
    life.later(100)
    assert life.dials == [1]
    assert life.recorded == ["last"]
    assert life.channel.gap


def test_a_gap_left_open_by_an_earlier_run_goes_on() -> None:
    life = Life(gap=Gap(7, "stopped"))
    assert life.gaps == []
    life.receiving()
    assert life.events("gap.closed")[0]["since_ns"] == 7


def test_the_daily_budget_is_kept_whatever_happens() -> None:
    life = Life()
    life.channel._budget = ConnectBudget(100)
    for _ in range(24 * 360):
        for connection in life.channel.connections:
            life.did(life.channel.failed(connection, "refused", life.now))
        life.later(10)
    assert 80 <= len(life.dials) <= 101


@pytest.mark.parametrize("seconds", [0.5, 7.0, 61.0])
def test_it_asks_to_be_woken_when_something_is_due_and_never_spins(seconds: float) -> None:
    life = Life().receiving()
    ticks = 0
    while life.now.monotonic_ns < START.monotonic_ns + 4 * 6600 * SECOND_NS:
        wake_ns = life.channel.wake_ns(life.now)
        assert wake_ns > life.now.monotonic_ns
        life.later((wake_ns - life.now.monotonic_ns) / SECOND_NS)
        ticks += 1
        for connection in life.channel.connections:
            link = life.channel._links[connection]
            if not link.opened:
                life.later(seconds)
                life.opened(connection)
                life.hears(connection, "alive")
            elif link.closing:
                life.closed(connection, 4000, by_us=True)
    assert life.channel.rotations >= 3
    assert ticks < 2000
    assert [gap for gap in life.gaps if gap[1] != "start"] == []


def test_no_secret_reaches_the_journal() -> None:
    life = Life().receiving()
    assert "secret" not in repr(life.commands)


def test_a_changed_subscription_is_new_before_old_without_a_gap() -> None:
    life = Life().receiving()
    life.hears(1, "old a")
    changed = Scripted()
    life.did(life.channel.change(changed, None, 300, life.now))
    assert life.dials == [1, 2]
    assert (len(life.subscription.takeovers), len(changed.takeovers)) == (1, 1)
    life.opened(2)
    life.hears(2, "alive")
    life.hears(1, "both", "old b")
    life.hears(2, "both", "new c")
    assert life.closes == [], "what is on its way on the old one may still come"
    life.later(2)
    assert life.closes == [(1, 4000)], "nobody waits for the new one to bring what only the old one asked for"
    life.closed(1, 4000, by_us=True)
    assert life.recorded == ["old a", "both", "old b", "new c"]
    assert life.gaps == [("gap.opened", "start"), ("gap.closed", "start")], "the old one was not deaf"
    (done,) = life.events("rotation.done")
    assert done["cause"] == "changed"
    life.later(60)
    assert life.dials == [1, 2]


def test_the_old_subscription_serves_on_while_the_changed_one_is_refused() -> None:
    life = Life().receiving()
    life.did(life.channel.change(Scripted(), None, 300, life.now))
    life.refused(2, 400)
    life.hears(1, "still here")
    life.later(60)
    assert life.dials == [1, 2, 3], "and it is tried again"
    assert life.closes == []
    assert life.channel.gap is None


def test_a_change_ends_waiting_and_dials_that_were_for_the_old_subscription() -> None:
    life = Life()
    life.refused(1, 401)
    assert life.dials == [1]
    life.did(life.channel.change(Scripted(), None, 300, life.now))
    assert life.dials == [1, 2], "a refusal of the old one says nothing about the new one"
    life.did(life.channel.change(Scripted(), None, 300, life.now))
    assert life.closes == [(2, 1000)]
    life.closed(2, 1006, by_us=True)
    assert life.dials == [1, 2, 3]
    life.opened(3)
    life.hears(3, "alive")
    assert life.channel.gap is None


def test_a_change_in_the_middle_of_a_rotation_is_not_forgotten() -> None:
    life = Life().receiving()
    life.hears(1, "a")
    life.later(6600)
    life.opened(2)
    life.hears(2, "alive")
    changed = Scripted()
    life.did(life.channel.change(changed, None, 300, life.now))
    assert life.dials == [1, 2]
    life.hears(1, "b")
    life.hears(2, "b")
    life.closed(1, 4000, by_us=True)
    assert life.dials == [1, 2, 3]
    assert len(changed.takeovers) == 1
    assert life.channel.gap is None


def test_a_change_with_a_single_slot_lets_the_old_one_go_first() -> None:
    life = Life().receiving()
    life.hears(1, "suspect")
    life.later(0)
    life.refused(2, 429)
    life.did(life.channel.change(Scripted(), None, 300, life.now))
    life.refused(3, 429)
    assert life.closes == [(1, 4000)]
    life.closed(1, 4000, by_us=True)
    assert life.dials == [1, 2, 3, 4]
