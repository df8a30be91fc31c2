"""What a channel tells whoever owns its sockets and the journal to do, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recorder.feeds.feed import Request
from recorder.message import Kind, Mark


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection under this number."""

    connection: int
    request: Request


@dataclass(frozen=True, slots=True)
class Say:
    """Send one text frame."""

    connection: int
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Begin the closing handshake, or give up dialling."""

    connection: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Write:
    """Journal these payloads, received or decided now. `connection` 0: about the channel as a whole."""

    connection: int
    kind: Kind
    mark: Mark
    payloads: Sequence[bytes]


Command = Dial | Say | Close | Write
