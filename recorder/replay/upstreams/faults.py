"""What may go wrong at an upstream, to order: pure bookkeeping that the host asks before it acts.

In: orders (refuse the next three handshakes with 429, hang up at once, mute a channel). Out: answers to "what about
this handshake", "does this frame go out". Orders are gone with the process. Faults a protocol has words for (kick,
error, preempted, a dead channel) are the imitations' own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.imitation import Close, Cut, Send

IGNORED = "ignored"  # the handshake is never answered


@dataclass(slots=True)
class _Order:
    """One fault for the next so many connections."""

    times: int
    fault: Answer | str | _HangUp


@dataclass(frozen=True, slots=True)
class _HangUp:
    after_messages: int
    code: int
    reason: str


@dataclass(slots=True)
class Faults:
    """All orders for one upstream. Each handshake or connection uses up one of the oldest order of its kind."""

    answers_pings: bool = True
    muted: bool = False
    muted_connections: set[int] = field(default_factory=set)
    muted_channels: set[str] = field(default_factory=set)
    _handshakes: deque[_Order] = field(default_factory=deque)
    _hang_ups: deque[_Order] = field(default_factory=deque)
    _doomed: dict[int, tuple[int, _HangUp]] = field(default_factory=dict)  # connection: messages left

    def refuse(self, status: int, times: int = 1, body: bytes = b"") -> None:
        """Answer the next handshakes with this HTTP status."""
        self._handshakes.append(_Order(times, Answer(status, body)))

    def ignore(self, times: int = 1) -> None:
        """Never answer the next handshakes."""
        self._handshakes.append(_Order(times, IGNORED))

    def hang_up(self, times: int = 1, after_messages: int = 0, code: int = 1001, reason: str = "Going away") -> None:
        """Accept the next connections and end each after so many messages; code 1006 cuts TCP."""
        self._hang_ups.append(_Order(times, _HangUp(after_messages, code, reason)))

    def forget(self) -> None:
        """Back to health: every order is withdrawn."""
        self._handshakes.clear()
        self._hang_ups.clear()
        self._doomed.clear()
        self.muted_connections.clear()
        self.muted_channels.clear()
        self.muted, self.answers_pings = False, True

    # --- asked by the host ------------------------------------------------------------------------------------

    def handshake(self) -> Answer | str | None:
        """What to do with a handshake: an answer, IGNORED, or None to let the imitation decide."""
        fault = _take(self._handshakes)
        return fault if isinstance(fault, Answer | str) else None

    def opened(self, connection: int) -> Close | Cut | None:
        """An accepted connection: ended at once, or remembered for later."""
        fault = _take(self._hang_ups)
        if not isinstance(fault, _HangUp):
            return None
        if fault.after_messages == 0:
            return _end(connection, fault)
        self._doomed[connection] = (fault.after_messages, fault)
        return None

    def sent(self, connection: int) -> Close | Cut | None:
        """One more message has gone to this connection."""
        if connection not in self._doomed:
            return None
        left, fault = self._doomed[connection]
        self._doomed[connection] = (left - 1, fault)
        return _end(connection, fault) if left == 1 else None

    def closed(self, connection: int) -> None:
        self._doomed.pop(connection, None)
        self.muted_connections.discard(connection)

    def recipients(self, send: Send) -> list[int]:
        """Who gets this message. Replies always pass: a mute upstream still answers pings."""
        if send.role in ("data", "initial"):
            if self.muted or send.channel in self.muted_channels:
                return []
            if self.muted_connections:
                return [each for each in send.to if each not in self.muted_connections]
        return list(send.to)


def _take(orders: deque[_Order]) -> Answer | str | _HangUp | None:
    if not orders:
        return None
    order = orders[0]
    order.times -= 1
    if order.times <= 0:
        orders.popleft()
    return order.fault


def _end(connection: int, fault: _HangUp) -> Close | Cut:
    return Cut(connection) if fault.code == 1006 else Close(connection, fault.code, fault.reason)
