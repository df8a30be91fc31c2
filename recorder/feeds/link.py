"""What a channel knows of one of its connections, from dialling to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.clock import Moment
from recorder.feeds.feed import Conversation, Frame, Subscription


@dataclass(slots=True, eq=False)
class Link:
    number: int
    subscription: Subscription  # what it was dialled for; the channel may want something else by now
    conversation: Conversation
    dialled: Moment
    rotate_ns: int  # monotonic; when to replace it
    opened: bool = False
    proven: Moment | None = None  # its first proof of life
    brings_data: bool = False
    closing: bool = False
    cause: str = ""  # why we hang up, once we do
    suspicion: str = ""  # why it should be replaced early
    took_over: bool = False
    frames: int = 0
    bytes: int = 0
    last_received_ns: int = 0  # UTC, any frame; 0: none yet
    last_data_ns: int = 0  # UTC, a data frame of the right shape

    def heard(self, frames: Sequence[Frame], now: Moment) -> None:
        self.frames += len(frames)
        self.bytes += sum(len(frame.payload) for frame in frames)
        self.last_received_ns = now.utc_ns

    @property
    def proven_ns(self) -> int | None:
        """Monotonic time of the first proof of life."""
        return self.proven.monotonic_ns if self.proven else None
