"""Was everything recorded that the upstreams sent? Pure: two accounts of the same minutes in, a verdict out.

In: the ledger of the sending side, the rows and gaps of the recording, and when recording began and was told to end.
Out: how many messages had to be there, how many are, and what is missing, doubled or not what was sent. Nothing here
knows how the recorder works; it counts what each connection was given:

- An article has to be recorded once for each time it was published, whether anybody was connected or not.
- A picture (a frame of Finance Query) has to be recorded if it was written to a connection of ours. What two
  connections of one channel both brought within `MEMORY_NS` is recorded as often as the busiest of them brought it.
- A reply, or a frame that no protocol knows, belongs to its connection: recorded as often as it was written to any.

What is missing must have been sent within a recorded gap of its channel, or up to `TRANSIT_NS` before: what was handed
to a socket just before a cut may have died on the way, and a gap begins when the last message had arrived.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recorder.clock import SECOND_NS
from recorder.replay.upstreams.imitation import NEVER_NS
from recorder.replay.upstreams.ledger import Entry, Ledger

TRANSIT_NS = SECOND_NS // 2
MEMORY_NS = SECOND_NS  # the recorder's own, for pictures
EXAMPLES_MAX = 20  # of problems that are told one by one
COUNTS = ("sent", "recorded", "lost", "lost_in_gaps", "duplicated", "altered")

Channel = tuple[str, str]  # feed, and what of the feed


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded message that came from an upstream."""

    position: int
    channel: Channel
    digest: str


@dataclass(frozen=True, slots=True)
class GapRow:
    """One recorded gap. Times are UTC nanoseconds; `until_ns` None: still open at the end."""

    channel: Channel
    since_ns: int
    until_ns: int | None

    def holds(self, utc_ns: int) -> bool:
        return self.since_ns - TRANSIT_NS <= utc_ns and (self.until_ns is None or utc_ns <= self.until_ns)


@dataclass(frozen=True, slots=True)
class Span:
    """When the recorder was at work, UTC nanoseconds. What was published outside, for nobody, is nobody's loss."""

    from_ns: int
    to_ns: int


@dataclass(slots=True)
class Verdict:
    """`sent` = `recorded` + `lost` + `lost_in_gaps`; what was recorded beyond is `duplicated` or `altered`."""

    sent: int = 0
    recorded: int = 0
    lost: int = 0
    lost_in_gaps: int = 0
    duplicated: int = 0
    altered: int = 0  # recorded, but nothing like it was ever sent on that channel
    examples: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        return not (self.lost or self.duplicated or self.altered)

    def add(self, other: Verdict) -> None:
        for count in COUNTS:
            setattr(self, count, getattr(self, count) + getattr(other, count))
        self.examples = (self.examples + other.examples)[:EXAMPLES_MAX]


@dataclass(slots=True)
class _Sent:
    """All the times one and the same text was sent to one channel."""

    published_ns: list[int] = field(default_factory=list)
    written_ns: list[tuple[int, int]] = field(default_factory=list)  # time and connection
    role: str = "data"


def check(
    ledger: Ledger,
    channels: Mapping[tuple[str, str], Channel],
    rows: Iterable[Row],
    gaps: Iterable[GapRow],
    span: Span,
    vanished: Mapping[str, Sequence[int]] | None = None,
) -> dict[Channel, Verdict]:
    """A verdict a channel. `channels`: what subscribes to an upstream's path (letter case is no part of it).

    `vanished`: when (UTC) the packets of an upstream's connections began to vanish. It goes on writing to them. Once
    the channel has another connection that is nobody's loss any more; before, a gap has to say so.
    """
    sent = _sent(ledger, channels, span, _ghosts(ledger, vanished or {}))
    positions: dict[Channel, dict[str, list[int]]] = {channel: {} for channel in channels.values()}
    for row in rows:
        positions.setdefault(row.channel, {}).setdefault(row.digest, []).append(row.position)
    gaps_of: dict[Channel, list[GapRow]] = defaultdict(list)
    for gap in gaps:
        gaps_of[gap.channel].append(gap)
    return {
        channel: _verdict(channel, sent.get(channel, {}), found, gaps_of[channel])
        for channel, found in positions.items()
    }


def _verdict(
    channel: Channel, sent: Mapping[str, _Sent], found: Mapping[str, list[int]], gaps: list[GapRow]
) -> Verdict:
    verdict = Verdict()
    name = "/".join(filter(None, channel))
    for digest, times in sent.items():
        due_ns, at_most = _due(times)
        here = found.get(digest, [])
        verdict.sent += len(due_ns)
        verdict.recorded += min(len(here), len(due_ns))
        if len(here) > at_most:
            verdict.duplicated += len(here) - at_most
            verdict.examples.append(f"{name}: recorded {len(here)} times, sent {at_most}: positions {here}")
        if (missing := len(due_ns) - len(here)) > 0:
            in_gaps = min(missing, sum(any(gap.holds(utc_ns) for gap in gaps) for utc_ns in due_ns))
            verdict.lost_in_gaps += in_gaps
            verdict.lost += missing - in_gaps
            if missing > in_gaps:
                verdict.examples.append(f"{name}: lost, in no gap: {times.role} {digest}, sent at {due_ns} ns UTC")
    for digest, here in found.items():
        if digest not in sent:
            verdict.altered += len(here)
            verdict.examples.append(f"{name}: recorded, but never sent like this: positions {here}")
    del verdict.examples[EXAMPLES_MAX:]
    return verdict


def _ghosts(ledger: Ledger, vanished: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Since when what is written to a connection is written to nobody: its packets vanish, and another is there."""
    ghosts: dict[int, int] = {}
    for number, connection in ledger.connections.items():
        for lost_ns in vanished.get(connection.upstream, ()):
            if connection.opened_ns < lost_ns < (connection.closed_ns or lost_ns + 1):
                later = [
                    other.opened_ns
                    for other in ledger.connections.values()
                    if other.upstream == connection.upstream
                    and other.path.lower() == connection.path.lower()
                    and other.opened_ns > lost_ns
                ]
                ghosts[number] = min(later, default=NEVER_NS)
                break
    return ghosts


def _sent(
    ledger: Ledger, channels: Mapping[tuple[str, str], Channel], span: Span, ghosts: Mapping[int, int]
) -> dict[Channel, dict[str, _Sent]]:
    """What was sent to each channel, by digest."""
    channel_of: dict[int, Channel] = {}
    for number, connection in ledger.connections.items():
        subscribed = channels.get((connection.upstream, connection.path.lower()))
        if subscribed is not None:
            channel_of[number] = subscribed
    sent: dict[Channel, dict[str, _Sent]] = defaultdict(lambda: defaultdict(_Sent))
    for entry in ledger.entries:
        for number in entry.to:
            if entry.utc_ns >= ghosts.get(number, NEVER_NS):
                continue
            if (channel := channel_of.get(number)) is not None:
                times = sent[channel][entry.digest]
                times.written_ns.append((entry.utc_ns, number))
                times.role = _stricter(times.role, entry.role)
        channel = _audience(entry, channels)
        if channel is not None and (entry.to or span.from_ns <= entry.utc_ns < span.to_ns):
            sent[channel][entry.digest].published_ns.append(entry.utc_ns)
    return sent


def _audience(entry: Entry, channels: Mapping[tuple[str, str], Channel]) -> Channel | None:
    """The channel an article is for, even if nobody listens; None for what is only for those who are connected."""
    if entry.upstream != "finlight" or entry.role != "data":
        return None
    return channels.get((entry.upstream, "/raw" if entry.channel == "raw" else "/"))


def _stricter(known: str, role: str) -> str:
    return role if role in ("reply", "odd") else known


def _due(times: _Sent) -> tuple[list[int], int]:
    """The moments at which this text was sent, one for each time it has to be recorded; and how often it may be."""
    if times.role in ("reply", "odd"):
        every = [utc_ns for utc_ns, _ in times.written_ns]
        return every, len(every)
    if times.published_ns:
        due_ns = max(times.published_ns, _busiest(times.written_ns), key=len)
        return due_ns, len(due_ns)
    # Delivered on two connections at a distance near the memory, it may be taken for one picture or for two.
    return _busiest(times.written_ns), sum(len(_busiest(cluster)) for cluster in _clusters(times.written_ns))


def _busiest(written: list[tuple[int, int]]) -> list[int]:
    """The moments of the connection that brought it most often."""
    by_connection: dict[int, list[int]] = defaultdict(list)
    for utc_ns, number in written:
        by_connection[number].append(utc_ns)
    return max(by_connection.values(), key=len, default=[])


def _clusters(written: list[tuple[int, int]]) -> Iterable[list[tuple[int, int]]]:
    """Deliveries that follow each other within the recorder's memory, to be safe within half of it."""
    cluster: list[tuple[int, int]] = []
    for delivery in sorted(written):
        if cluster and delivery[0] - cluster[-1][0] > MEMORY_NS // 2:
            yield cluster
            cluster = []
        cluster.append(delivery)
    if cluster:
        yield cluster
