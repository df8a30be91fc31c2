"""Listeners that fail, fall behind and leave."""

from __future__ import annotations

from typing import cast

from recorder.clock import MS_NS, Moment
from recorder.replay.audience import BEHIND_TOLD_NS, Audience
from recorder.replay.encoding import Wanted
from recorder.replay.listener import State
from recorder.replay.playhead import FAR_NS
from recorder.replay.reading import Stretch

STRETCH = cast("Stretch", None)  # nobody here looks into it
NOW = Moment(0, 0)


class Ear:
    wanted = Wanted()
    takes_json = False

    def __init__(self, backlog_bytes: int = 0, *, fails: bool = False) -> None:
        self.backlog_bytes = backlog_bytes
        self.fails = fails
        self.played = 0

    def play(self, stretch: Stretch, now: Moment) -> None:
        if self.fails:
            raise OSError("no such listener")
        self.played += 1

    def tell(self, state: State) -> None:
        pass


def test_one_that_raises_is_named_and_the_others_are_played_to() -> None:
    audience = Audience(100)
    first, broken, last = Ear(), Ear(fails=True), Ear()
    for ear in (first, broken, last):
        audience.add(ear)
    assert audience.play(STRETCH, NOW) == [broken]
    assert (first.played, last.played) == (1, 1)


def test_the_slowest_is_waited_for_until_it_has_half_of_what_it_may_have() -> None:
    audience = Audience(100)
    slow = Ear()
    audience.add(Ear())
    audience.add(slow)
    behind = []
    for slow.backlog_bytes in (0, 100, 101, 99, 51, 50, 100, 101):
        behind.append(audience.is_behind(0))
    assert behind == [False, False, True, True, True, False, False, True]


def test_a_wait_is_worth_telling_once_it_has_lasted() -> None:
    audience = Audience(100)
    slow = Ear(101)
    audience.add(slow)
    assert audience.is_behind(MS_NS)
    assert not audience.behind_for_long(MS_NS + BEHIND_TOLD_NS)
    assert audience.is_behind(2 * MS_NS)  # since the first time it was
    assert audience.behind_for_long(MS_NS + BEHIND_TOLD_NS + 1)
    slow.backlog_bytes = 0
    assert not audience.is_behind(3 * MS_NS)
    assert not audience.behind_for_long(FAR_NS - 1)


def test_it_is_alone_from_when_the_last_one_has_left() -> None:
    audience = Audience(100)
    one, other = Ear(), Ear()
    assert audience.alone_since_ns == FAR_NS
    audience.add(one)
    audience.add(other)
    audience.remove(one, 1)
    assert audience.alone_since_ns == FAR_NS
    audience.remove(other, 2)
    assert audience.alone_since_ns == 2
    audience.add(one)
    assert audience.alone_since_ns == FAR_NS
