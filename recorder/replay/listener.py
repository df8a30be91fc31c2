"""The seam between a session and whoever it plays to.

In: messages that are due and the state of the session. Out: what a listener wants and how much waits for its client. A
native client and an imitated upstream are listeners alike; session.py knows no other words than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from recorder.clock import Moment
from recorder.replay.encoding import Wanted
from recorder.replay.reading import Stretch

Status = Literal["playing", "paused", "buffering", "live", "ended"]


@dataclass(frozen=True, slots=True)
class State:
    """How a session is. The moment is one of the recording, UTC nanoseconds."""

    status: Status
    moment_ns: int | None  # None before the first message is known
    position: int  # of the last message played; 0 before the first
    speed: float
    speed_reached: float  # recorded time per time, over the last second
    lateness_ms: tuple[float, float] | None  # p50, p99 of the last messages; None where nothing was paced
    listeners: int
    played: int  # messages, over all loops and seeks
    loops: int
    cause: str = ""  # why it ended


class Listener(Protocol):
    """Whoever is played to. Methods are called on the event loop and return at once; one that raises is detached."""

    @property
    def wanted(self) -> Wanted:
        """What it wants of the timeline; does not change while it is attached."""

    @property
    def takes_json(self) -> bool:
        """Whether it asks for `stretch.json(wanted)`, which is then made ahead, in another thread."""

    @property
    def backlog_bytes(self) -> int:
        """What waits for this client: above the limit the session waits as well, until half of that is left."""

    def play(self, stretch: Stretch, now: Moment) -> None:
        """These messages are due: `stretch.wanted_by(self.wanted)`, which may be none of them, in a shared session."""

    def tell(self, state: State) -> None:
        """The state has changed, or a second has passed. `ended` comes last, and nothing after it."""
