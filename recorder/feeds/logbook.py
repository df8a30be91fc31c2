"""What a channel commands, in order, and the gap it is in: its opening is written before anything is done about it."""

from __future__ import annotations

from dataclasses import dataclass

from recorder import lifecycle
from recorder.feeds.command import Command, Write
from recorder.feeds.link import Link
from recorder.message import Kind, Mark


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval without proof of receiving that has not ended."""

    since_ns: int  # UTC
    cause: str


class Logbook:
    """Collects until `take`."""

    def __init__(self, gap: Gap | None) -> None:
        self.gap = gap
        self.commands: list[Command] = []

    def note(self, event: str, link: Link | None = None, **fields: object) -> None:
        """A lifecycle entry, about a connection or about the channel as a whole."""
        entry = lifecycle.entry(event, **fields)
        self.commands.append(Write(link.number if link else 0, Kind.LIFECYCLE, Mark.NONE, [entry]))

    def open_gap(self, since_ns: int, cause: str) -> None:
        """From then on nothing is proven, UTC. A gap that is open already goes on with its own bounds and cause."""
        if self.gap is None:
            self.gap = Gap(since_ns, cause)
            self.note("gap.opened", since_ns=since_ns, cause=cause)

    def close_gap(self, until_ns: int) -> None:
        if self.gap:
            since_ns, cause, self.gap = self.gap.since_ns, self.gap.cause, None
            self.note("gap.closed", since_ns=since_ns, until_ns=max(since_ns, until_ns), cause=cause)

    def take(self) -> list[Command]:
        commands, self.commands = self.commands, []
        return commands
