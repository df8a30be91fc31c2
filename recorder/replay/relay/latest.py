"""What Finance Query's endpoints say at the moment of a replay: the latest recorded frames, and rows taken from them.

In: recorded frames in order, and older ones that were looked up. Out: the frame for whatever a client asks, and whom a
new frame concerns. Pure. Nothing is re-written: a frame leaves as it came, and one that is composed is made of rows as
they came, text of numbers and order of keys included; the rate limit that a recorded frame may carry is left out of
quotes, since clients take every element for a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from recorder.clock import Moment
from recorder.message import Mark, Message, Stream
from recorder.replay.relay.rows import elements
from recorder.replay.upstreams.as_finance_query import Fetch
from recorder.replay.upstreams.imitation import LATER, Later

PREFIX = "finance_query."
QUOTES, PROFILE = f"{PREFIX}quotes", f"{PREFIX}profile"
NO_PROFILE = b'{"quote":null,"similar":[],"sectorPerformance":null,"news":[]}'  # as for any symbol nobody has heard of
LOOKED_MAX = 4096  # different questions remembered as looked up

Concerns = Callable[[Fetch], bool]


@dataclass(frozen=True)
class _Frame:
    position: int
    payload: bytes

    @cached_property
    def rows(self) -> dict[str, bytes]:
        """A quotes frame's rows by symbol, as they came; empty where it is no array."""
        found: dict[str, bytes] = {}
        try:
            for text, row in elements(self.payload.decode()):
                if isinstance(row, dict) and isinstance(symbol := row.get("symbol"), str):
                    found[symbol.upper()] = text.encode()
        except ValueError:
            return {}
        return found

    @cached_property
    def is_all_rows(self) -> bool:
        """Whether the frame has its rows and nothing else, each symbol once."""
        try:
            return len(self.rows) == sum(1 for _ in elements(self.payload.decode()))
        except ValueError:
            return False


_NONE = _Frame(0, b"[]")


class Latest:
    """A Source for FinanceQuery. `look` is asked to look a fetch up, and tells `found`, empty-handed or not.

    `is_recorded` says of a profile's symbol (upper case) whether it ever was: one that was not has no quote.
    """

    def __init__(self, look: Callable[[Fetch], None], is_recorded: Callable[[str], bool]) -> None:
        self._look = look
        self._is_recorded = is_recorded
        self._frames: dict[Stream, _Frame] = {}
        self._looking: set[Fetch] = set()
        self._looked: dict[Fetch, None] = {}  # the one used last is the last
        self.silent: set[Stream] = set()  # in a gap that is to be heard: a fetch of these alone fails

    def fetch(self, wanted: Fetch, now: Moment) -> bytes | Later | None:  # noqa: ARG002 - the seam's signature
        """The frame of this moment; None: there was a gap; LATER: not known yet, or not recorded yet."""
        if self._is_silent(wanted):
            return None
        if wanted not in self._looked:
            if wanted not in self._looking:
                self._looking.add(wanted)
                self._look(wanted)
            return LATER
        self._looked[wanted] = self._looked.pop(wanted)
        frames = self._frames_for(wanted)
        if wanted.endpoint == "quotes" and frames:
            return self._composed(wanted.symbols, frames)
        if frames:
            return max(frames, key=lambda frame: frame.position).payload
        if wanted.endpoint == "profile" and not self._is_recorded(_symbol(wanted)):
            return NO_PROFILE
        return LATER

    def found(self, wanted: Fetch, messages: Iterable[Message]) -> None:
        """What was looked up; where something newer has come meanwhile, that stands."""
        self._looking.discard(wanted)
        if len(self._looked) >= LOOKED_MAX:
            del self._looked[next(iter(self._looked))]
        self._looked[wanted] = None
        for message in messages:
            self._put(message)

    def take(self, message: Message) -> Concerns:
        """The next recorded frame. Returns whom it concerns."""
        before = self._frames.get(message.stream, _NONE)
        if Mark.ODD in message.mark or not self._put(message):
            return lambda _: False
        self.silent.discard(message.stream)
        if message.stream.feed_kind != QUOTES:
            return concerned(message.stream)
        after, frames = self._frames[message.stream], self._frames_of(QUOTES)

        def concerns(fetch: Fetch) -> bool:
            if fetch.endpoint != "quotes":
                return False
            if any(not fetch.symbols.isdisjoint(frame.rows) for frame in (before, after)):
                return True
            return all(fetch.symbols.isdisjoint(frame.rows) for frame in frames)  # nobody has them: [] each time

        return concerns

    def concerned(self, stream: Stream) -> Concerns:
        """Whom it concerns what happens to a stream."""
        if stream.feed_kind != QUOTES:
            return concerned(stream)
        symbols = frozenset(self._frames.get(stream, _NONE).rows)
        return lambda fetch: fetch.endpoint == "quotes" and not fetch.symbols.isdisjoint(symbols)

    def covers(self, wanted: Fetch, messages: Iterable[Message]) -> bool:
        """Whether these frames have all that is asked for."""
        if wanted.endpoint != "quotes":
            return any(concerned(message.stream)(wanted) for message in messages)
        known: set[str] = set()
        for message in messages:
            known.update(_Frame(message.position, message.payload).rows)
        return wanted.symbols <= known

    def forget(self) -> None:
        """The replay has moved to another moment."""
        self._frames.clear()
        self._looking.clear()
        self._looked.clear()
        self.silent.clear()

    def _put(self, message: Message) -> bool:
        known = self._frames.get(message.stream)
        if known is not None and known.position >= message.position:
            return False
        self._frames[message.stream] = _Frame(message.position, message.payload)
        return True

    def _frames_for(self, wanted: Fetch) -> list[_Frame]:
        if wanted.endpoint == "quotes":
            return self._frames_of(QUOTES)
        return [frame for stream, frame in self._frames.items() if concerned(stream)(wanted)]

    def _frames_of(self, feed_kind: str) -> list[_Frame]:
        """In order of the feeds' names, so that the order of rows does not change with every frame."""
        return [self._frames[stream] for stream in sorted(self._frames, key=str) if stream.feed_kind == feed_kind]

    def _composed(self, symbols: frozenset[str], frames: list[_Frame]) -> bytes:
        """An array of the asked symbols' rows: the newest of each, in the order in which they were recorded."""
        newest: dict[str, _Frame] = {}
        for frame in frames:
            for symbol in frame.rows:
                if symbol in symbols and (symbol not in newest or newest[symbol].position < frame.position):
                    newest[symbol] = frame
        used = list({id(frame): frame for frame in newest.values()}.values())
        if len(used) == 1 and len(newest) == len(used[0].rows) and used[0].is_all_rows:
            return used[0].payload
        return b"[" + b",".join(frame.rows[symbol] for symbol, frame in newest.items()) + b"]"

    def _is_silent(self, wanted: Fetch) -> bool:
        if not self.silent:
            return False
        of = {stream for stream in self._frames.keys() | self.silent if self.concerned(stream)(wanted)}
        return bool(of) and of <= self.silent


def concerned(stream: Stream) -> Concerns:
    """Whom a frame of a stream concerns that is no array of rows."""
    endpoint = stream.feed_kind.removeprefix(PREFIX)
    if stream.feed_kind == PROFILE:
        symbol = stream.channel.upper()
        return lambda fetch: fetch.endpoint == endpoint and _symbol(fetch) == symbol
    return lambda fetch: fetch.endpoint == endpoint


def _symbol(fetch: Fetch) -> str:
    return next(iter(fetch.symbols)).upper()
