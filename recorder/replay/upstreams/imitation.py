"""What the server side of an upstream is told and what it answers: the seam between an imitation and the server.

The mirror image of feeds/feed.py. In: handshakes, frames and ends of connections, each with the time. Out: what to
send, close or cut. No socket, no sleep, no clock. An imitation lives in memory only; if the power fails, its clients
see 1006 and dial again. Writing, faults to order and the ledger are the host's job (host.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from recorder.clock import Moment
from recorder.replay.port.handshake import Answer, Handshake

NEVER_NS = 1 << 62  # a monotonic time that does not come

Role = Literal["data", "initial", "reply", "odd"]


class Later(Enum):
    """What a source says that has to look first: whoever feeds the imitation tells it when the answer is there."""

    LATER = "later"


LATER = Later.LATER


@dataclass(frozen=True, slots=True)
class Send:
    """One message for these connections, in this order; for nobody when `to` is empty: published all the same.

    `channel` names what it was published to, `role` what it is: `data` goes to whoever listens, `initial` is the
    snapshot at subscription, `reply` answers one client, `odd` is a fault to order.
    """

    to: Sequence[int]
    payload: bytes
    channel: str
    role: Role = "data"
    is_text: bool = True


@dataclass(frozen=True, slots=True)
class Close:
    """Close with this code and reason, after everything sent so far."""

    connection: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Cut:
    """End TCP with no close frame: the client sees 1006."""

    connection: int


Output = Send | Close | Cut


class Imitation(Protocol):
    """One upstream's server side. Connection numbers are the server's; a number is told closed exactly once."""

    name: str
    fragment_bytes_max: int | None  # longer messages leave in several WebSocket frames
    ping_interval_s: float | None  # the server's own protocol pings
    stop_code: int  # what clients get when the server stops
    stop_reason: str

    @property
    def wake_ns(self) -> int:
        """Monotonic nanoseconds at which `tick` is wanted at the latest; NEVER_NS for never."""

    def handshake(self, connection: int, request: Handshake, now: Moment) -> Answer | None:
        """Someone knocks. None lets them in: `connection` is open from here until `closed`."""

    def opened(self, connection: int, now: Moment, /) -> list[Output]:
        """The 101 is on its way."""

    def received(self, connection: int, message: str | bytes, now: Moment) -> list[Output]:
        """A text (str) or binary (bytes) message. Never raises, whatever it holds."""

    def closed(self, connection: int, now: Moment, code: int = 1006, /) -> list[Output]:
        """The connection is gone, with the code of the first close frame, whoever sent it; 1006: there was none."""

    def tick(self, now: Moment) -> list[Output]:
        """Time has passed."""
