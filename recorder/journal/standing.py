"""What is known of every stream as of a position: what a recorder that crashed can say about itself.

In: groups, in order. Out: when each stream last received, whether it has an open gap, its highest connection number,
when anything was journalled last and whether the recorder stopped on purpose. Kept as a fact beside the journal as of
the sealed position and brought up to date at every start with the groups behind it, so that the gap of a crash gets its
true bounds and connection numbers go on. Closing that gap is the daemon's job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recorder import lifecycle
from recorder.journal.group import Group
from recorder.message import Kind, Stream

_LIFECYCLE = bytes((Kind.LIFECYCLE,))


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval without proof of receiving that has not ended."""

    since_ns: int  # UTC
    cause: str


@dataclass(slots=True)
class StreamStanding:
    """One stream. Times are UTC nanoseconds; 0: never."""

    last_received_ns: int = 0  # of a frame: data or reply
    connection: int = 0  # the highest number ever used
    gap: Gap | None = None
    removed_ns: int = 0  # since when it is wanted no more; 0: it is wanted


@dataclass(slots=True)
class Standing:
    """Everything up to and including `position`."""

    position: int = 0
    last_received_ns: int = 0  # of any message, the recorder's own entries included
    stopped: bool = True  # the recorder's last own entry was `recorder.stopped`, or there is none
    streams: dict[Stream, StreamStanding] = field(default_factory=dict)
    told: set[tuple[int, int]] = field(default_factory=set)  # losses that have their `journal.lost` entry

    def fold(self, group: Group) -> None:
        """Take in the next group; one that was taken in before changes nothing."""
        if group.last_position <= self.position:
            return
        # One C pass, 0.1 us a message, leaves a handful of (stream, kind, connection) to look at in Python.
        seen = dict(
            zip(zip(group.stream_index, group.kind, group.connection, strict=True), group.received_ns, strict=True)
        )
        for (index, kind, connection), received_ns in seen.items():
            stream = self.streams.setdefault(group.streams[index], StreamStanding())
            stream.connection = max(stream.connection, connection)
            if kind != Kind.LIFECYCLE and connection:  # what came over no connection proves none (Mark.REST)
                stream.last_received_ns = max(stream.last_received_ns, received_ns)
            self.last_received_ns = max(self.last_received_ns, received_ns)
        at = group.kind.find(_LIFECYCLE)
        while at >= 0:
            stream_of_entry = group.streams[group.stream_index[at]]
            self._entry(stream_of_entry, group.payload[group.offsets[at] : group.offsets[at + 1]])
            at = group.kind.find(_LIFECYCLE, at + 1)
        self.position = group.last_position

    def _entry(self, stream: Stream, payload: bytes) -> None:
        try:
            fields = lifecycle.read(payload)
            event = fields["event"]
            if stream.feed == lifecycle.RECORDER_FEED:
                self.stopped = event == "recorder.stopped"
            if event == "gap.opened":
                known = self.streams[stream]
                known.gap, known.removed_ns = Gap(int(fields["since_ns"]), str(fields["cause"])), 0
            elif event == "gap.closed":
                self.streams[stream].gap = None
            elif event == "channel.removed":
                self.streams[stream].removed_ns = int(fields["since_ns"])
            elif event == "journal.lost":
                self.told.add((int(fields["first_position"]), int(fields["last_position"])))
        except (ValueError, TypeError, KeyError):
            return  # an entry of another version of the recorder is kept and shown, but says nothing here

    def to_json(self) -> dict[str, Any]:
        """As plain values for a fact; `from_json` reads them."""
        return {
            "position": self.position,
            "last_received_ns": self.last_received_ns,
            "stopped": self.stopped,
            "told": sorted(self.told),
            "streams": [
                {
                    "stream": [stream.feed, stream.feed_kind, stream.channel],
                    "last_received_ns": known.last_received_ns,
                    "connection": known.connection,
                    "gap": [known.gap.since_ns, known.gap.cause] if known.gap else None,
                    "removed_ns": known.removed_ns,
                }
                for stream, known in self.streams.items()
            ],
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Standing:
        streams = {
            Stream(*known["stream"]): StreamStanding(
                known["last_received_ns"],
                known["connection"],
                Gap(*known["gap"]) if known["gap"] else None,
                known.get("removed_ns", 0),
            )
            for known in fields["streams"]
        }
        told = {(first, last) for first, last in fields["told"]}
        return cls(fields["position"], fields["last_received_ns"], fields["stopped"], streams, told)
