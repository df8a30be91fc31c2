"""Who listens to a session: played to, told the state, waited for.

In: listeners that come and go, stretches, states. Out: which of them failed, whether the slowest is behind, since when
nobody is there. Memory is bounded: a session plays nothing while its audience is behind. What that means for the
playhead is session.py's business.
"""

from __future__ import annotations

import logging

from recorder.clock import SECOND_NS, Moment
from recorder.replay.listener import Listener, State
from recorder.replay.playhead import FAR_NS
from recorder.replay.reading import Stretch

BEHIND_TOLD_NS = SECOND_NS // 4  # at speed=max a listener fills its buffer all the time: shorter waits are not told

_log = logging.getLogger(__name__)


class Audience:
    """The listeners of one session, in the order in which they came."""

    def __init__(self, buffer_bytes_max: int) -> None:
        self.listeners: list[Listener] = []
        self.alone_since_ns = FAR_NS  # monotonic; in the far future while somebody listens, or nobody has yet
        self._buffer_bytes_max = buffer_bytes_max
        self._behind_since_ns = FAR_NS

    def add(self, listener: Listener) -> None:
        self.listeners.append(listener)
        self.alone_since_ns = FAR_NS

    def remove(self, listener: Listener, now_ns: int) -> None:
        """Raises ValueError where it is not there."""
        self.listeners.remove(listener)
        if not self.listeners:
            self.alone_since_ns = now_ns

    def clear(self) -> None:
        self.listeners.clear()

    def play(self, stretch: Stretch, now: Moment) -> list[Listener]:
        """Play it to everybody. Returns those that raised."""
        failed = []
        for listener in list(self.listeners):
            try:
                listener.play(stretch, now)
            except Exception:
                _log.exception("replay.listener_failed")
                failed.append(listener)
        return failed

    def tell(self, state: State) -> None:
        """Tell everybody."""
        for listener in list(self.listeners):
            listener.tell(state)

    def is_behind(self, now_ns: int) -> bool:
        """Whether the slowest has more before it than it may, or has had, and not yet less than half of it."""
        backlog = max((listener.backlog_bytes for listener in self.listeners), default=0)
        if backlog > self._buffer_bytes_max:
            self._behind_since_ns = min(self._behind_since_ns, now_ns)
        elif backlog <= self._buffer_bytes_max // 2:
            self._behind_since_ns = FAR_NS
        return self._behind_since_ns != FAR_NS

    def behind_for_long(self, now_ns: int) -> bool:
        """Whether that has lasted so long that it is worth telling."""
        return now_ns - self._behind_since_ns > BEHIND_TOLD_NS
