"""Do what a channel commands: own its sockets, wake it on time, hand what it writes to the journal.

In: events of connections and the loop's clock. Out: messages, in order of their commands. It has no opinion: every
decision is channel.py's. If the power fails, what the journal had made durable is all there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from recorder.clock import SECOND_NS, Clock, Moment
from recorder.feeds.channel import Channel
from recorder.feeds.command import Close, Command, Dial, Say, Write
from recorder.feeds.connection import Connection
from recorder.feeds.feed import NEVER_NS, Frame, Request, Subscription
from recorder.feeds.redial import ConnectBudget
from recorder.message import Kind, Mark, Stream

UNREAD_S = 1.0  # after a pause: what waited in the kernel is read before watchdogs look again
LATE_S = 0.5  # a tick that comes so late comes from a process that stood still, which is a pause as well

Append = Callable[[Stream, Kind, int, Sequence[bytes], Mark, Moment], object]
Connect = Callable[[Request, "Ear"], Connection]


class Ear:
    """Tells the keeper which of its connections something happened to."""

    def __init__(self, keeper: Keeper, number: int) -> None:
        self._keeper = keeper
        self._number = number

    def opened(self, handshake_ms: float) -> None:
        keeper = self._keeper
        keeper.perform(keeper.channel.opened(self._number, handshake_ms, keeper.clock.now()))

    def received(self, frames: list[Frame], moment: Moment) -> None:
        keeper = self._keeper
        keeper.perform(keeper.channel.received(self._number, frames, moment), moment)

    def refused(self, status: int, headers: dict[str, str], body: bytes) -> None:
        keeper = self._keeper
        keeper.forget(self._number)
        keeper.perform(keeper.channel.refused(self._number, status, headers, body, keeper.clock.now()))

    def failed(self, error: str) -> None:
        keeper = self._keeper
        keeper.forget(self._number)
        keeper.perform(keeper.channel.failed(self._number, error, keeper.clock.now()))

    def closed(self, code: int, reason: str, by_us: bool) -> None:
        keeper = self._keeper
        keeper.forget(self._number)
        keeper.perform(keeper.channel.closed(self._number, code, reason, by_us, keeper.clock.now()))


class Keeper:
    """Keeps one channel alive."""

    def __init__(self, channel: Channel, clock: Clock, append: Append, connect: Connect) -> None:
        self.channel = channel
        self.clock = clock
        self._append = append
        self._connect = connect
        self._connections: dict[int, Connection] = {}
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._excused = False  # the last tick was put off
        self._gone = asyncio.Event()

    def start(self, since_ns: int, cause: str) -> None:
        """Dial. `since_ns`: from when on nothing is known of this channel, UTC."""
        self.perform(self.channel.start(since_ns, cause, self.clock.now()))

    def change(self, subscription: Subscription, budget: ConnectBudget | None, overlap_s: float) -> None:
        """Keep the same channel alive with other wishes, new before old."""
        self.perform(self.channel.change(subscription, budget, overlap_s, self.clock.now()))

    def overdue_ns(self) -> int:
        """How long the channel has been waiting for a tick that nothing will bring any more: 0 unless we are broken."""
        if self._timer or self._paused or self._gone.is_set():
            return 0
        now = self.clock.now()
        return max(0, now.monotonic_ns - self.channel.wake_ns(now))

    async def stop(self, cause: str, patience_s: float) -> None:
        """Hang up; what still arrives within `patience_s` is kept. Returns when every connection is over."""
        self.perform(self.channel.stop(cause, self.clock.now()))
        try:
            async with asyncio.timeout(patience_s):
                await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections.values()):
                connection.abort()
            await self._gone.wait()
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def restart(self) -> None:
        """Dial again after a stop."""
        self._gone.clear()
        self.perform(self.channel.restart(self.clock.now()))

    def pause(self) -> None:
        """Read no further: the journal cannot follow. What waits unread is no silence, so watchdogs wait too."""
        self._paused = True
        if self._timer:
            self._timer.cancel()
            self._timer = None
        for connection in self._connections.values():
            connection.pause()

    def resume(self) -> None:
        self._paused = False
        for connection in self._connections.values():
            connection.resume()
        self._timer = asyncio.get_running_loop().call_later(UNREAD_S, self._tick)

    def forget(self, number: int) -> None:
        self._connections.pop(number, None)

    def perform(self, commands: Sequence[Command], moment: Moment | None = None) -> None:
        """Carry out commands in order. `moment`: when the frames among them arrived, if not now."""
        stream = self.channel.subscription.stream
        for command in commands:
            match command:
                case Write(connection, kind, mark, payloads):
                    moment = moment or self.clock.now()
                    self._append(stream, kind, connection, payloads, mark, moment)
                case Say(connection, text):
                    if open_connection := self._connections.get(connection):
                        open_connection.send(text)
                case Dial(connection, request):
                    self._dial(connection, request)
                case Close(connection, code, reason):
                    if open_connection := self._connections.get(connection):
                        open_connection.hang_up(code, reason)
        if self.channel.stopping and self.channel.idle:
            self._gone.set()
        else:
            self._wake()

    def _dial(self, number: int, request: Request) -> None:
        connection = self._connect(request, Ear(self, number))
        self._connections[number] = connection
        connection.dial()
        if self._paused:
            connection.pause()

    def _wake(self) -> None:
        if self._paused:
            return
        wake_ns = self.channel.wake_ns(self.clock.now())
        if wake_ns >= NEVER_NS:
            return
        # The loop's clock is the monotonic clock in seconds. A timer that is early enough is left alone: a tick
        # too many costs less than a timer set anew at every read.
        when_s = wake_ns / SECOND_NS
        if self._timer and not self._timer.cancelled() and self._timer.when() <= when_s:
            return
        if self._timer:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(when_s, loop.time()), self._tick)

    def _tick(self) -> None:
        loop, due, self._timer = asyncio.get_running_loop(), self._timer, None
        self._excused = due is not None and loop.time() - due.when() > LATE_S and not self._excused
        if self._excused:
            self._timer = loop.call_later(UNREAD_S, self._tick)
            return
        self.perform(self.channel.tick(self.clock.now()))
