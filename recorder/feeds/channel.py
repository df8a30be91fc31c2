"""One channel of a feed: which connection serves it, when the next is dialled, when it is a gap.

Pure. In: what happened to its connections and what time it is. Out: commands (dial, say, close, write), in order. What
holds at every moment: the channel is proven to receive, or it has an open gap whose opening was written.

A rotation is a second connection beside the first: it is dialled, proves itself, and only when it is seen to bring what
the old one brings is the old one let go (rotation.py). Everything either brings is kept, once (overlap.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.feeds.command import Close, Command, Dial, Say, Write
from recorder.feeds.feed import (
    NEVER_NS,
    Action,
    Alarm,
    Alive,
    Frame,
    HangUp,
    Keep,
    RetryAfter,
    Send,
    Subscription,
    Suspect,
)
from recorder.feeds.link import Link
from recorder.feeds.logbook import Gap, Logbook
from recorder.feeds.overlap import Overlap, Verdict
from recorder.feeds.redial import ConnectBudget, Redial
from recorder.feeds.rotation import Rotation
from recorder.message import Kind, Mark

SNAPSHOT_MEMORY_NS = SECOND_NS  # one broadcast reaches two sockets of one channel within milliseconds
HTTP_TOO_MANY = 429
SLOT_TRIES_MAX = 8  # dials for a slot we have just freed before its 429 is taken for a real one


class Channel:
    """The life of one channel. `next_connection` gives out numbers that no other connection ever had."""

    def __init__(
        self,
        subscription: Subscription,
        redial: Callable[[], Redial],
        budget: ConnectBudget | None,
        next_connection: Callable[[], int],
        overlap_s: float,
        gap: Gap | None = None,
    ) -> None:
        self.subscription = subscription
        self.stopping = False
        self.rotations = self.reconnects = self.repeats = 0
        self.last_data_ns = 0  # UTC
        self._new_redial = redial
        self._redial = redial()
        self._spare_redial = redial()
        self._budget = budget
        self._next_connection = next_connection
        self._overlap_ns = int(overlap_s * SECOND_NS)
        self._links: dict[int, Link] = {}
        self._serving: Link | None = None
        self._rotation: Rotation | None = None
        self._slot_tries = 0  # left, for a slot that we freed ourselves
        self._overlap = Overlap(subscription.identity, SNAPSHOT_MEMORY_NS if subscription.snapshots else None)
        self._log = Logbook(gap)

    # --- what it is told ----------------------------------------------------------------------------------------

    def start(self, since_ns: int, cause: str, now: Moment) -> list[Command]:
        """Begin. `since_ns`: from when on nothing is known of this channel, UTC (its last frame before a crash)."""
        self._log.open_gap(since_ns, cause)
        return self.tick(now)

    def opened(self, connection: int, handshake_ms: float, now: Moment) -> list[Command]:
        link = self._links[connection]
        link.opened = True
        self._log.note("connection.opened", link, handshake_ms=round(handshake_ms, 3))
        self._obey(link, link.conversation.opened(now), now)
        return self._log.take()

    def received(self, connection: int, frames: Sequence[Frame], now: Moment) -> list[Command]:
        link = self._links[connection]
        link.heard(frames, now)
        self._obey(link, link.conversation.received(frames, now), now)
        if self._rotation:
            self._settle(self._rotation, now)
        return self._log.take()

    def refused(
        self, connection: int, status: int, headers: Mapping[str, str], body: bytes, now: Moment
    ) -> list[Command]:
        link = self._links.pop(connection)
        cause = f"refused with HTTP {status}"
        no_slot = status == HTTP_TOO_MANY and self.subscription.slots_limited
        expected = no_slot and (self._is_spare(link) or self._slot_tries > 0)
        if not expected:
            self._obey(link, link.conversation.refused(status, headers, body, now), now)
        wait_s = self._ended(link, cause, now)
        self._log.note("connection.refused", link, status=status, retry_s=wait_s, cause=cause)
        if expected:
            self._free_slot(link, now)
        return self.tick(now)

    def failed(self, connection: int, error: str, now: Moment) -> list[Command]:
        link = self._links.pop(connection)
        wait_s = self._ended(link, error, now)
        self._log.note("connection.failed", link, error=error, retry_s=wait_s)
        return self.tick(now)

    def closed(self, connection: int, code: int, reason: str, by_us: bool, now: Moment) -> list[Command]:
        link = self._links.pop(connection)
        cause = link.cause or f"closed with {code} {reason}".rstrip()
        self._obey(link, link.conversation.closed(code, reason, now), now)
        self._log.note(
            "connection.closed",
            link,
            code=code,
            reason=reason,
            by="us" if by_us else "upstream",
            cause=cause,
            frames=link.frames,
            bytes=link.bytes,
            last_received_ns=link.last_received_ns,
        )
        self._ended(link, cause, now)
        return self.tick(now)

    def tick(self, now: Moment) -> list[Command]:
        """Time has passed: heartbeats, watchdogs, rotation, redialling."""
        for link in self._links.values():
            if link.opened and not link.closing and now.monotonic_ns >= link.conversation.wake_ns:
                self._obey(link, link.conversation.tick(now), now)
        if self._rotation:
            self._settle(self._rotation, now)
        if not self.stopping:
            self._rotate_when_due(now)
            if self._serving is None and now.monotonic_ns >= self._dial_ns(self._redial, now):
                self.reconnects += self._redial.dials > 0
                self._serving = self._dial("redial" if self._redial.dials else "start", self._redial, now)
        return self._log.take()

    def change(
        self, subscription: Subscription, budget: ConnectBudget | None, overlap_s: float, now: Moment
    ) -> list[Command]:
        """Want something else of the same stream: what serves goes on until a connection for the new is proven."""
        self.subscription, self._budget, self._overlap_ns = subscription, budget, int(overlap_s * SECOND_NS)
        self._redial, self._spare_redial = self._new_redial(), self._new_redial()  # what was refused was the old
        for link in self._links.values():
            if link.proven is None:
                self._let_go(link, 1000, "", "changed")
        return self.tick(now)

    def stop(self, cause: str, now: Moment) -> list[Command]:
        """Hang up everything; the channel is done when `idle`."""
        self.stopping = True
        self._log.open_gap(now.utc_ns, cause)
        for link in self._links.values():
            self._let_go(link, 1000, "", cause)
        return self._log.take()

    def restart(self, now: Moment) -> list[Command]:
        """Begin again after a stop; the gap of the stop goes on until there is proof of life."""
        self.stopping = False
        return self.tick(now)

    # --- what it tells ------------------------------------------------------------------------------------------

    @property
    def gap(self) -> Gap | None:
        """The gap this channel is in; None while it is proven to receive."""
        return self._log.gap

    @property
    def idle(self) -> bool:
        return not self._links

    @property
    def connections(self) -> list[int]:
        """Numbers of the connections that are dialling, open or closing."""
        return list(self._links)

    @property
    def state(self) -> str:
        """`receiving`, `rotating`, `connecting`, `waiting` (to dial again) or `stopped`."""
        if self.stopping:
            return "stopped"
        if self.gap is None:
            return "rotating" if self._rotation else "receiving"
        return "connecting" if self._links else "waiting"

    def wake_ns(self, now: Moment) -> int:
        """Monotonic time of the next tick that could matter."""
        wakes = [link.conversation.wake_ns for link in self._links.values() if link.opened and not link.closing]
        serving = self._serving
        if self._rotation:
            wakes.append(self._rotation.wake_ns(now))
        elif serving is None and not self.stopping:
            wakes.append(self._dial_ns(self._redial, now))
        elif serving and serving.proven and not serving.closing:
            wakes.append(max(self._rotate_ns(serving), self._dial_ns(self._spare_redial, now)))
        return min(wakes, default=NEVER_NS)

    # --- obeying a conversation ---------------------------------------------------------------------------------

    def _obey(self, link: Link, actions: Sequence[Action], now: Moment) -> None:
        for action in actions:
            match action:
                case Keep(frames, kind, mark):
                    self._keep(link, frames, kind, mark, now)
                case Alive(data):
                    self._alive(link, data, now)
                case Send(text):
                    self._log.commands.append(Say(link.number, text))
                case HangUp(code, reason, cause):
                    self._let_go(link, code, reason, cause)
                    if link is self._serving and not (self._rotation and self._rotation.new.proven):
                        self._open_gap(link, cause, now)  # a dead peer takes 2 s more to be let go
                case RetryAfter(seconds, cause, loud):
                    self._wait(link, seconds, cause, loud, now)
                case Suspect(cause):
                    link.rotate_ns, link.suspicion = now.monotonic_ns, cause
                case Alarm(event, detail):
                    self._log.note(event, link, detail=detail)

    def _keep(self, link: Link, frames: Sequence[Frame], kind: Kind, mark: Mark, now: Moment) -> None:
        verdicts = None
        if kind is Kind.DATA and Mark.ODD not in mark:
            self.last_data_ns = link.last_data_ns = now.utc_ns
            verdicts = self._overlap.sift(link.number, frames, now, counted=Mark.INITIAL not in mark)
        if verdicts is None:
            self._log.commands.append(Write(link.number, kind, mark, [frame.payload for frame in frames]))
            return
        for frame, verdict in zip(frames, verdicts, strict=True):
            if verdict is Verdict.REPEAT:
                self.repeats += 1
            else:
                variant = Mark.VARIANT if verdict is Verdict.VARIANT else Mark.NONE
                self._log.commands.append(Write(link.number, kind, mark | variant, [frame.payload]))

    def _alive(self, link: Link, data: bool, now: Moment) -> None:
        link.brings_data = link.brings_data or data
        if link.proven is None:
            link.proven = now
            self._slot_tries = 0
            self._log.note("connection.proven", link, after_ms=(now.monotonic_ns - link.dialled.monotonic_ns) / MS_NS)
            if self._rotation and self._rotation.new is link:
                self._rotation.tally = self._overlap.watch(self._rotation.old.number, link.number)
        if self.gap and not self.stopping:
            self._log.close_gap(now.utc_ns)

    def _wait(self, link: Link, seconds: float, cause: str, loud: bool, now: Moment) -> None:
        # A connection that is being replaced may be told anything: preempted, for one, by its own heir.
        if (self._rotation and link is self._rotation.old) or link not in (self._serving, self._spare):
            return
        redial = self._spare_redial if self._is_spare(link) else self._redial
        waited_s = redial.wait(seconds, now, loud=loud)
        if loud:
            self._log.note("feed.refused", link, detail=f"{cause}; dialled again in {waited_s:.0f} s")

    # --- dialling and ending ------------------------------------------------------------------------------------

    def _dial_ns(self, redial: Redial, now: Moment) -> int:
        return max(redial.at_ns, self._budget.at_ns(now) if self._budget else 0)

    def _dial(self, purpose: str, redial: Redial, now: Moment, *, takeover: bool = False) -> Link:
        conversation = self.subscription.connect(now, takeover=takeover)
        redial.dialled()
        if self._budget:
            self._budget.spend(now)
        rotate_ns = self.subscription.rotate_at(now)
        link = Link(self._next_connection(), self.subscription, conversation, now, rotate_ns, took_over=takeover)
        self._links[link.number] = link
        self._log.note("connection.dialled", link, url=conversation.request.url, purpose=purpose)
        self._log.commands.append(Dial(link.number, conversation.request))
        return link

    def _let_go(self, link: Link, code: int, reason: str, cause: str) -> None:
        if not link.closing:
            link.closing, link.cause = True, cause
            self._log.commands.append(Close(link.number, code, reason))

    def _ended(self, link: Link, cause: str, now: Moment) -> float:
        """A connection, or the attempt at one, is over. Returns the seconds until this channel may dial again."""
        rotation = self._rotation
        if rotation and link is rotation.new:
            self._end_rotation()
            self._log.note("rotation.failed", link, old=rotation.old.number, new=link.number, cause=cause)
            self._spare_redial.ended(link.proven_ns, now)
            return self._wait_s(self._spare_redial, now)
        if rotation:
            self._end_rotation()
            self._serving = rotation.new
            self._redial.ended(
                link.proven_ns, now
            )  # it did its work: should the new one be lost, the first try is at once
            if rotation.new.proven:
                self._report(rotation, now)
                return 0.0
        else:
            self._serving = None
            self._redial.ended(link.proven_ns, now)
        self._open_gap(link, cause, now)
        return self._wait_s(self._redial, now)

    def _open_gap(self, link: Link, cause: str, now: Moment) -> None:
        """From the link's last proof of life on. Of a snapshot channel, that is data and nothing else."""
        proof_ns = link.last_data_ns if self.subscription.snapshots else link.last_received_ns
        self._log.open_gap(proof_ns or now.utc_ns, cause)

    def _wait_s(self, redial: Redial, now: Moment) -> float:
        return round(max(0, self._dial_ns(redial, now) - now.monotonic_ns) / SECOND_NS, 3)

    # --- rotation -----------------------------------------------------------------------------------------------

    @property
    def _spare(self) -> Link | None:
        return self._rotation.new if self._rotation else None

    def _is_spare(self, link: Link) -> bool:
        return link is self._spare

    def _outdated(self, link: Link) -> bool:
        return link.subscription is not self.subscription

    def _rotate_ns(self, link: Link) -> int:
        return 0 if self._outdated(link) else link.rotate_ns

    def _rotate_when_due(self, now: Moment) -> None:
        link = self._serving
        if link is None or link.proven is None or link.closing or self._rotation:
            return
        if now.monotonic_ns < max(self._rotate_ns(link), self._dial_ns(self._spare_redial, now)):
            return
        cause = "changed" if self._outdated(link) else link.suspicion or "planned"
        if self.subscription.break_first:
            self._let_go(link, *self.subscription.farewell, f"rotation ({cause}), old before new")
            self.rotations += 1
        else:
            self._begin_rotation(link, cause, now)

    def _begin_rotation(self, old: Link, cause: str, now: Moment, *, takeover: bool = False) -> None:
        new = self._dial("takeover" if takeover else "rotation", self._spare_redial, now, takeover=takeover)
        alike = not self._outdated(old)
        self._rotation = Rotation(old, new, cause, self.subscription.snapshots, self._overlap_ns, alike)
        self._log.note("rotation.started", new, old=old.number, new=new.number, cause=cause)

    def _settle(self, rotation: Rotation, now: Moment) -> None:
        if rotation.settled(now):
            self._let_go(rotation.old, *self.subscription.farewell, f"rotation ({rotation.cause})")

    def _report(self, rotation: Rotation, now: Moment) -> None:
        self.rotations += 1
        self._spare_redial.proved()
        self._log.note("rotation.done", rotation.new, **rotation.report(now))
        if rotation.deaf and rotation.new.proven:
            # Only now is it known that the old one had been mute; since when, its last data says.
            self._log.open_gap(rotation.old.last_data_ns, "deaf")
            self._log.close_gap(rotation.new.proven.utc_ns)

    def _end_rotation(self) -> None:
        self._rotation = self._overlap.tally = None

    def _free_slot(self, link: Link, now: Moment) -> None:
        """The upstream has no room for one more connection: take ours over, or let it go first."""
        old = self._serving
        if old is None or old.closing:
            self._slot_tries = max(0, self._slot_tries - 1)
        elif self.subscription.may_take_over and not link.took_over:
            self._begin_rotation(old, "single slot", now, takeover=True)
        elif old.suspicion and not self._outdated(old):
            # A break for certain is worse than a suspicion: the planned rotation replaces it soon enough.
            old.suspicion, old.rotate_ns = "", self.subscription.rotate_at(old.dialled)
        else:
            self.rotations += 1
            self._slot_tries = SLOT_TRIES_MAX
            self._let_go(old, *self.subscription.farewell, "rotation with a single slot, old before new")
