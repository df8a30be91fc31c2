"""A keeper with a real channel and real sockets to a small real server."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from recorder import lifecycle
from recorder.clock import Clock, Moment
from recorder.feeds.channel import Channel
from recorder.feeds.connection import Connection
from recorder.feeds.feed import Action, Request
from recorder.feeds.finlight import FinlightConversation, FinlightSubscription
from recorder.feeds.keeper import Ear, Keeper
from recorder.feeds.redial import Redial
from recorder.message import Kind, Mark, Stream
from recorder.settings import Finlight, Limits
from recorder.settings import Redial as RedialSettings

ADMIT = '{"action":"admit"}'


def article(number: int) -> str:
    return f'{{"action":"sendArticle","data":{{"link":"https://news/{number}"}}}}'


class Book:
    """Takes what would go to the journal."""

    def __init__(self) -> None:
        self.messages: list[tuple[Kind, bytes, Moment]] = []
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def append(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> int:
        self.messages += [(kind, payload, moment) for payload in payloads]
        task = asyncio.ensure_future(self._tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return len(self.messages)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)

    @property
    def articles(self) -> list[str]:
        return [payload.decode() for kind, payload, _ in self.messages if kind is Kind.DATA]

    @property
    def events(self) -> list[str]:
        return [str(lifecycle.read(payload)["event"]) for kind, payload, _ in self.messages if kind is Kind.LIFECYCLE]


class Serve(Protocol):
    async def __call__(self, handler: Callable[[ServerConnection], Awaitable[None]], **options: float) -> Keeper: ...


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
async def against(book: Book) -> AsyncIterator[Serve]:
    servers = []
    keepers = []

    async def start(handler: Callable[[ServerConnection], Awaitable[None]], **options: float) -> Keeper:
        server = await serve(handler, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        feed = Finlight.model_validate({"kind": "finlight", "url": f"ws://127.0.0.1:{port}", **options})
        redial = RedialSettings(first_s=0.05, max_s=0.1)
        clock = Clock()
        channel = Channel(
            FinlightSubscription("news", feed, "key"), lambda: Redial(redial), None, itertools.count(1).__next__, 1.0
        )

        def connect(request: Request, ear: Ear) -> Connection:
            return Connection(request, ear, clock, redial, Limits())

        keeper = Keeper(channel, clock, book.append, connect)
        keepers.append(keeper)
        keeper.start(clock.now().utc_ns, "start")
        return keeper

    yield start
    for keeper in keepers:
        if not keeper.channel.stopping:
            await keeper.stop("stopped", 1.0)
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_what_an_upstream_sends_is_written_in_order(book: Book, against: Serve) -> None:
    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        for number in range(100):
            await socket.send(article(number))
        await socket.wait_closed()

    await against(upstream)
    await book.until(lambda: len(book.articles) == 100)
    assert book.articles == [article(number) for number in range(100)]
    moments = [moment.utc_ns for _, _, moment in book.messages]
    assert moments == sorted(moments)


async def test_a_closed_connection_is_dialled_again(book: Book, against: Serve) -> None:
    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        await socket.close(1001, "Going away")

    await against(upstream)
    await book.until(lambda: book.events.count("connection.closed") >= 3)
    assert book.events.count("gap.opened") >= 2


async def test_stopping_keeps_what_comes_before_the_upstream_answers_the_close(book: Book, against: Serve) -> None:
    told = asyncio.Event()

    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        await told.wait()
        await socket.send(article(1))
        await socket.wait_closed()

    keeper = await against(upstream)
    await book.until(lambda: "connection.proven" in book.events)
    told.set()
    await book.until(lambda: len(book.articles) == 1)
    await keeper.stop("stopped", 5.0)
    assert keeper.channel.idle
    assert book.events[-1] == "connection.closed"


async def test_stopping_does_not_wait_for_an_upstream_that_never_answers(book: Book, against: Serve) -> None:
    never = asyncio.Event()

    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        socket.transport.pause_reading()
        await never.wait()

    keeper = await against(upstream)
    await book.until(lambda: "connection.proven" in book.events)
    async with asyncio.timeout(20):
        await keeper.stop("stopped", 0.05)
    assert keeper.channel.idle
    never.set()


async def test_while_paused_nothing_is_read_and_afterwards_nothing_is_missing(book: Book, against: Serve) -> None:
    go, sent = asyncio.Event(), asyncio.Event()

    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        await go.wait()
        for number in range(10):
            await socket.send(article(number))
        sent.set()
        await socket.wait_closed()

    keeper = await against(upstream)
    await book.until(lambda: "connection.proven" in book.events)
    keeper.pause()
    go.set()
    await sent.wait()
    await asyncio.sleep(0)
    assert book.articles == []
    keeper.resume()
    await book.until(lambda: len(book.articles) == 10)


async def test_what_stood_still_itself_takes_no_silence_for_the_upstreams(book: Book, against: Serve) -> None:
    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        with suppress(ConnectionClosed):
            for number in itertools.count():
                await socket.send(article(number))
                await asyncio.sleep(0.02)

    await against(upstream, ping_s=1.5, pong_timeout_s=2.0)
    await book.until(lambda: len(book.articles) > 3)
    before = len(book.articles)
    time.sleep(3)  # noqa: ASYNC251 - the point of it; the upstream is on this loop, so nothing waits in the socket either
    await book.until(lambda: len(book.articles) > before + 50)
    assert "connection.closed" not in book.events


async def test_an_upstream_that_is_silent_beyond_our_own_standing_still_is_hung_up(book: Book, against: Serve) -> None:
    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        await socket.wait_closed()

    await against(upstream, ping_s=1.0, pong_timeout_s=1.5)
    await book.until(lambda: "connection.proven" in book.events)
    time.sleep(3)  # noqa: ASYNC251
    await book.until(lambda: "connection.closed" in book.events)


async def test_other_wishes_get_a_connection_of_their_own_before_the_old_one_goes(book: Book, against: Serve) -> None:
    asked: list[str] = []

    async def upstream(socket: ServerConnection) -> None:
        asked.append(str(await socket.recv()))
        await socket.send(ADMIT)
        await socket.wait_closed()

    keeper = await against(upstream)
    await book.until(lambda: "connection.proven" in book.events)
    changed = Finlight(kind="finlight", url=url(keeper), tickers=["NVDA"])
    keeper.change(FinlightSubscription("news", changed, "key"), None, 1.0)
    await book.until(lambda: "rotation.done" in book.events)
    assert "NVDA" not in asked[0]
    assert "NVDA" in asked[1]
    assert book.events.count("gap.opened") == 1, "the one before the first proof of life"


class Faulty(FinlightSubscription):
    """Its conversations are due at once and fail when it is their turn."""

    def connect(self, now: Moment, *, takeover: bool) -> FinlightConversation:
        request = super().connect(now, takeover=takeover).request

        class Conversation(FinlightConversation):
            wake_ns = now.monotonic_ns

            def tick(self, now: Moment) -> list[Action]:
                raise ValueError("a mistake of ours")

        return Conversation(self._feed, request, "nonce")


async def test_a_channel_that_nothing_will_wake_any_more_is_overdue(book: Book, against: Serve) -> None:
    async def upstream(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ADMIT)
        await socket.wait_closed()

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    keeper = await against(upstream)
    await book.until(lambda: "connection.proven" in book.events)
    assert keeper.overdue_ns() == 0
    keeper.change(Faulty("news", Finlight(kind="finlight", url=url(keeper)), "key"), None, 1.0)
    async with asyncio.timeout(20):
        while not keeper.overdue_ns():  # noqa: ASYNC110 - there is no event for what does not happen
            await asyncio.sleep(0.01)
    keeper.pause()
    assert keeper.overdue_ns() == 0, "while nothing is read no watchdog waits"


def url(keeper: Keeper) -> str:
    return keeper.channel.subscription.connect(keeper.clock.now(), takeover=False).request.url
