"""What flows: a frame as it came, with its position, its time and where it came from.

A message is never changed after it was accepted. `payload` holds the bytes of the frame exactly as
they arrived after WebSocket unmasking and decompression: UTF-8 text nearly always, anything for a
binary frame or for an upstream that breaks the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class Kind(IntEnum):
    """What a message is. The numbers are on disk; never reuse one."""

    DATA = 0  # an article, a quotes array, …: what the feed is for
    REPLY = 1  # the upstream's answer about the connection: admit, pong, error, …
    LIFECYCLE = 2  # written by the recorder: connections, rotations, gaps, starts and stops

    @property
    def word(self) -> str:
        """The kind as it stands in SQL: `data`, `reply` or `lifecycle`."""
        return self.name.lower()


class Mark(IntFlag):
    """What a reader should know about a message. The bits are on disk; never reuse one."""

    NONE = 0
    INITIAL = 1  # the snapshot an upstream sends at subscription; not a tick
    DOUBLE = 2  # Finance Query's near-identical second frame at connect, 1 to 120 ms after the first
    ODD = 4  # not the shape this feed sends: kept, never parsed into a typed table
    BINARY = 8  # arrived in a binary frame
    VARIANT = 16  # same identity as a message of another connection, but other text
    REST = 32  # fetched later over REST to fill a gap, as it stood in the answer: no frame, and not when it was sent

    @property
    def words(self) -> str | None:
        """The marks as they stand in SQL: `initial+odd`, or None."""
        return "+".join(str(m.name).lower() for m in Mark if m in self and m) or None


@dataclass(frozen=True, slots=True)
class Stream:
    """Where a message comes from, as the user named it."""

    feed: str  # the name in config.toml; "recorder" for the recorder's own entries
    feed_kind: str  # "finlight", "finance_query.quotes", …; "recorder"
    channel: str = ""  # what of the feed, where it has several connections: the symbol of a profile


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Times are nanoseconds: UTC since 1970, and of the monotonic clock since boot."""

    position: int
    stream: Stream
    kind: Kind
    mark: Mark
    received_ns: int
    monotonic_ns: int
    connection: int  # 0: not from a connection
    payload: bytes

    @property
    def text(self) -> str:
        """The frame as text. Raises UnicodeDecodeError where it was none."""
        return self.payload.decode()
