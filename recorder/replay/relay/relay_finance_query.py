"""Finance Query's channels out of a recording: each recorded frame is a broadcast to those it concerns.

In: recorded messages of its feeds. Out: frames for the imitation, in the cadence in which they were recorded. The first
frame of a client is the latest before the moment, looked up once for each different question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from recorder.clock import Moment
from recorder.message import Kind, Message
from recorder.replay.encoding import Wanted
from recorder.replay.relay import past
from recorder.replay.relay.asked import Asked
from recorder.replay.relay.latest import PREFIX, Latest
from recorder.replay.relay.relay import Relay
from recorder.replay.sessions import Sessions
from recorder.replay.track import Plan
from recorder.replay.upstreams.as_finance_query import Fetch, FinanceQuery
from recorder.replay.upstreams.imitation import Output


class FinanceQueryRelay(Relay):
    """All four endpoints, from the feeds that `wanted` selects.

    `has_profile`: whether a symbol's profile (upper case) was recorded, as far as any client has asked for it.
    """

    def __init__(
        self, has_profile: Callable[[str], bool], sessions: Sessions, asked: Asked, plan: Plan, wanted: Wanted
    ) -> None:
        self.latest = Latest(self._look_up, has_profile)
        self.finance_query = FinanceQuery(self.latest, refresh_s=None)
        super().__init__(self.finance_query, sessions, asked, plan, wanted)

    @property
    def is_listening(self) -> bool:
        return bool(self.finance_query.channels)

    def handle(self, message: Message, now: Moment) -> list[Output]:
        return self.finance_query.broadcast(self.latest.take(message), now)

    def handle_entry(self, message: Message, event: str) -> None:
        if event == "gap.opened":
            self.latest.silent.add(message.stream)
        elif event == "gap.closed":
            self.latest.silent.discard(message.stream)

    def connections(self, message: Message) -> list[int]:
        return self.finance_query.members(self.latest.concerned(message.stream))

    def moved(self, now: Moment) -> list[Output]:
        self.latest.forget()
        self.finance_query.begin_anew()
        return self.finance_query.answer(now)

    def _look_up(self, wanted: Fetch) -> None:
        symbols = wanted.symbols if wanted.endpoint == "profile" else None
        kinds = frozenset({Kind.DATA})
        selection = replace(
            self.wanted.selection, feed_kinds=frozenset({PREFIX + wanted.endpoint}), kinds=kinds, symbols=symbols
        )

        def find(before: int) -> list[Message]:
            return past.latest_of_each(
                self._sessions.timeline, before, selection, lambda found: self.latest.covers(wanted, found)
            )

        def then(found: list[Message], now: Moment) -> list[Output]:
            self.latest.found(wanted, found)
            return self.finance_query.answer(now)

        nothing: list[Message] = []
        self.look(find, then, nothing)
