"""What a feed is told and what it answers: the seam between a protocol and the socket.

Two pure interfaces. A `Subscription` is what one channel of a feed wants from its upstream and lives as long
as the channel; for every connection it makes a `Conversation`, which is told what arrives and what time it is and
answers with actions. Neither has a socket, a sleep or a clock, so a year of a feed's life is a fast test.

Who does what with the answers: channel.py decides about connections (dial, rotate, hang up, gaps),
connection.py moves bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from recorder.clock import Moment
from recorder.message import Kind, Mark, Stream

NEVER_NS = 1 << 62  # a monotonic time that does not come


class Frame(NamedTuple):  # one for every message there is: made in 0.15 us, a frozen dataclass in 0.26
    """One WebSocket message as it came."""

    payload: bytes
    is_text: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What to dial. `headers` may hold a secret: it is never logged or recorded; `url` never does."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


# --- what a conversation answers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Send one text frame."""

    text: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Record these frames, in this order. Every frame told is kept by exactly one Keep, in order of arrival."""

    frames: Sequence[Frame]
    kind: Kind = Kind.DATA
    mark: Mark = Mark.NONE


@dataclass(frozen=True, slots=True)
class Alive:
    """Proof that this connection is subscribed and receiving: an `admit`, a data frame. Never a handshake.

    `data` says whether the proof was data. May be answered as often as there is proof.
    """

    data: bool = True


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection with this code and reason; `cause` is the gap's cause in the glossary's words."""

    code: int
    reason: str
    cause: str


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Do not dial this channel again before so many seconds have passed. `cause` says why, for people."""

    seconds: float
    cause: str
    loud: bool = False  # an operator has to do something: a wrong key, a blocked user, a foreign takeover


@dataclass(frozen=True, slots=True)
class Suspect:
    """Receiving, yet something is off (no article for long): replace this connection, new before old."""

    cause: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should see; recorded as a lifecycle entry and logged. `event` is dotted: `feed.error`."""

    event: str
    detail: str


Action = Send | Keep | Alive | HangUp | RetryAfter | Suspect | Alarm


class Conversation(Protocol):
    """One connection's side of the protocol, from dialling to its end."""

    request: Request

    @property
    def wake_ns(self) -> int:
        """Monotonic nanoseconds at which `tick` is wanted at the latest; NEVER_NS for never."""

    def opened(self, now: Moment) -> list[Action]:
        """The handshake succeeded. Answers with the subscription, if the protocol has one."""

    def received(self, frames: Sequence[Frame], now: Moment) -> list[Action]:
        """These frames arrived together, at least one, in this order. Never raises, whatever they hold."""

    def tick(self, now: Moment) -> list[Action]:
        """Time has passed: heartbeats, watchdogs."""

    def closed(self, code: int, reason: str, now: Moment) -> list[Action]:
        """The open connection ended; 1006 where no close frame came. Only RetryAfter and Alarm make sense."""

    def refused(self, status: int, headers: Mapping[str, str], body: bytes, now: Moment) -> list[Action]:
        """The handshake was answered with this HTTP status. Header names are lower case. Answers as `closed`."""


class Subscription(Protocol):
    """What one channel of a feed wants; remembers what has to outlive a connection (which variant is dead)."""

    stream: Stream
    break_first: bool  # rotation must let the old connection go before the new one (it would share its fate)
    slots_limited: bool  # the upstream answers 429 when a second connection is one too many
    may_take_over: bool  # then a new connection may ask the upstream to drop the old one
    snapshots: bool  # each frame is a picture of its moment (quotes), not news that both connections must bring
    farewell: tuple[int, str]  # close code and reason when a rotation lets a connection go

    def connect(self, now: Moment, *, takeover: bool) -> Conversation:
        """A conversation for one new connection. `takeover`: ask the upstream to drop our oldest one for it."""

    def identity(self, frame: Frame) -> Hashable | None:
        """What makes this data frame the same message on another connection; None: it has no identity."""

    def rotate_at(self, opened: Moment) -> int:
        """Monotonic nanoseconds at which a connection opened then should be replaced; NEVER_NS for never."""
