"""All sessions of a server: made, found by name, counted, ended.

In: what clients ask for, the recording. Out: a plan for it, or RequestInvalid with what is recorded; sessions, so many
at most. Holds nothing that must survive.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from recorder.clock import SECOND_NS, Clock
from recorder.errors import RequestInvalid
from recorder.replay.extents import Bounds
from recorder.replay.moments import Point, iso
from recorder.replay.reading import Start, Until, bounds_of
from recorder.replay.session import Session
from recorder.replay.timeline import Timeline
from recorder.replay.track import Plan
from recorder.replay.wire import Options
from recorder.settings import Replay

TRIES_MAX, TRY_EVERY_S = 100, 0.02


class Full(Exception):
    """A limit in the settings is reached."""

    def __init__(self, limit: str, value: int) -> None:
        super().__init__(f"replay.{limit} is {value}, and so many there are; raise it or end one")


class Sessions:
    """Sessions on one recording."""

    def __init__(self, timeline: Timeline, clock: Clock, limits: Replay) -> None:
        self.timeline = timeline
        self.clock = clock
        self.limits = limits
        self.all: list[Session] = []
        self.counts: Counter[str] = Counter()  # what happened since the start, by a name that ends in _total

    async def plan(self, options: Options) -> Plan:
        """What was asked for, on the timeline as it is now. Raises RequestInvalid, or as Timeline does."""
        return await asyncio.to_thread(self._plan, options)

    async def located(self, parameter: str, point: Point) -> Start:
        """Where a point is. Raises RequestInvalid with what is recorded."""
        return await asyncio.to_thread(self._located, parameter, point)

    async def moved(self, session: Session, by_ns: int) -> Start:
        """So far from where a session is, or as far as the recording goes. Raises RequestInvalid."""
        for _ in range(TRIES_MAX):  # after a seek, where it is turns out with the first message that is read
            if session.moment_ns is not None:
                break
            await asyncio.sleep(TRY_EVERY_S)
        bounds = await asyncio.to_thread(bounds_of, self.timeline)
        if bounds is None or (moment_ns := session.moment_ns) is None:
            raise RequestInvalid("by", f"{by_ns / SECOND_NS} s", _recorded(bounds))
        ns = min(max(moment_ns + by_ns, bounds.first_received_ns), bounds.last_received_ns)
        return await self.located("by", Point(ns=ns))

    def named(self, name: str | None) -> Session | None:
        """The session of this name, if it is there."""
        return next((session for session in self.all if name is not None and session.name == name), None)

    def check_room(self) -> None:
        """Raises Full where there may be no further session."""
        if len(self.all) >= self.limits.sessions_max:
            self.counts["sessions_refused_total"] += 1
            raise Full("sessions_max", self.limits.sessions_max)

    def open(self, name: str | None, plan: Plan) -> Session:
        """The session of this name as it is, else a new one with this plan. Raises Full."""
        if (found := self.named(name)) is not None:
            return found
        self.check_room()
        session = Session(
            self.timeline,
            self.clock,
            plan,
            name=name,
            buffer_bytes_max=self.limits.listener_buffer_bytes_max,
            grace_s=self.limits.grace_s if name is not None else 0.0,
            on_end=self.all.remove,
        )
        self.all.append(session)
        self.counts["sessions_total"] += 1
        return session

    def stop(self, cause: str) -> None:
        """End all of them."""
        for session in list(self.all):
            session.stop(cause)

    def _plan(self, options: Options) -> Plan:
        if options.feeds:
            known = self.timeline.feeds(options.feeds) if bounds_of(self.timeline) else frozenset()
            if unknown := options.feeds - known:
                raise RequestInvalid("feeds", ",".join(sorted(unknown)), ", ".join(sorted(known)) or _recorded(None))
        start = self._located("from", options.from_)
        until = Until()
        if (to := options.to) is not None:
            until = Until(to.position, to.ns)
            begin = to.position is not None and to.position <= start.position
            if begin or (to.ns is not None and start.moment_ns is not None and to.ns <= start.moment_ns):
                given = f"@{to.position}" if to.ns is None else iso(to.ns)
                raise RequestInvalid("to", given, f"something behind `from`, which is not included; {self._recorded()}")
        return Plan(start, until, options.speed, options.max_idle_ns, options.loop, options.paused)

    def _located(self, parameter: str, point: Point) -> Start:
        bounds = bounds_of(self.timeline)
        if point.live:
            return Start(bounds.last_position + 1 if bounds else 1, self.clock.now().utc_ns, follow=True)
        if bounds is None:
            if point.start:
                return Start(1)
            raise RequestInvalid(parameter, _words(point), "start or live; nothing is recorded yet")
        if point.position is not None:
            if point.position > bounds.last_position:
                raise RequestInvalid(parameter, _words(point), _recorded(bounds))
            return Start(max(point.position, bounds.first_position))
        if point.ns is not None and point.ns > bounds.last_received_ns:
            raise RequestInvalid(parameter, _words(point), _recorded(bounds))
        if point.ns is None or point.ns <= bounds.first_received_ns:
            return Start(bounds.first_position)
        return Start(self.timeline.position_at(point.ns), point.ns)

    def _recorded(self) -> str:
        return _recorded(bounds_of(self.timeline))


def _words(point: Point) -> str:
    return iso(point.ns) if point.ns is not None else f"@{point.position}"


def _recorded(bounds: Bounds | None) -> str:
    if bounds is None:
        return "nothing is recorded yet"
    return (
        f"recorded is {iso(bounds.first_received_ns)} to {iso(bounds.last_received_ns)}, "
        f"@{bounds.first_position} to @{bounds.last_position}"
    )
