"""World, imitation, recorder, replay, client: what comes out is what went in, byte for byte and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from finlight_client import ApiConfig
from finlight_client.models import GetArticlesWebSocketParams, GetRawArticlesWebSocketParams
from finlight_client.raw_websocket_client import RawWebSocketClient
from finlight_client.websocket_client import WebSocketClient
from websockets.asyncio.client import ClientConnection, connect

from recorder.clock import Clock
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.message import Mark, Message
from recorder.recording import Recording
from recorder.replay.native import Native
from recorder.replay.port.server import Place, Server
from recorder.replay.relay.imitated_finance_query import ImitatedFinanceQuery
from recorder.replay.relay.imitated_finlight import ImitatedFinlight
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.replay.upstreams.ledger import digest
from recorder.settings import Replay, Settings

pytestmark = pytest.mark.slow  # real daemons, and a client that waits half a second before every reconnect

PATIENCE_S = 60
KEY = {"x-api-key": "k"}


def settings(data: Path, finlight_url: str, finance_query_url: str, *names: str) -> Settings:
    news = {"url": finlight_url, "include_updates": True, "overlap_s": 1}
    finance = {"url": finance_query_url, "overlap_s": 1}
    feeds: dict[str, dict[str, Any]] = {
        "news": {"kind": "finlight", **news},
        "raw": {"kind": "finlight.raw", **news},
        "quotes": {"kind": "finance_query.quotes", "symbols": ["AAPL", "MSFT", "NVDA"], **finance},
        "profiles": {"kind": "finance_query.profile", "symbols": ["AAPL", "^GSPC"], **finance},
        "market": {"kind": "finance_query.market", **finance},
        "hours": {"kind": "finance_query.hours", **finance},
    }
    chosen = {name: feed for name, feed in feeds.items() if not names or name in names}
    return Settings.model_validate({"data": data, "seal": {"interval_s": 0.5}, "feeds": chosen})


@asynccontextmanager
async def recording(wanted: Settings) -> AsyncIterator[Daemon]:
    daemon = Daemon(wanted, {"news": "key", "raw": "key"})
    running = asyncio.create_task(daemon.run())
    try:
        yield daemon
    finally:
        daemon.stop()
        await running


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - a daemon announces nothing
            await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of every kind of feed, partly sealed, at 200 articles and 10 broadcasts a second."""
    data = tmp_path_factory.mktemp("recorded")

    async def record() -> None:
        async with Upstreams(World(7, articles_per_s=200), refresh_s=0.1) as upstreams:
            wanted = settings(data, upstreams.finlight_url, upstreams.finance_query_url)
            async with recording(wanted) as daemon:
                await until(lambda: daemon.tallies.messages[daemon.roster.keepers[0].channel.subscription.stream] > 400)
                await until(lambda: len(daemon.tallies.messages) > 7 and all(count > 15 for count in kinds(daemon)))
        published = {entry.digest for entry in upstreams.ledger.entries}
        assert {digest(message.payload) for message in Recording(data).messages()} <= published

    asyncio.run(record())
    return data


def kinds(daemon: Daemon) -> list[int]:
    """Messages of each stream but the recorder's own."""
    return [count for stream, count in daemon.tallies.messages.items() if stream.feed != "recorder"]


def of(data: Path, feed: str, channel: str = "") -> list[Message]:
    with Recording(data) as opened:
        return [message for message in opened.messages(feeds=feed) if message.stream.channel == channel]


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[Server]:
    sessions = Sessions(Timeline(data), Clock(), Replay())
    places: dict[str, Place] = {
        "/replay": Native(sessions),
        "/finlight": ImitatedFinlight(sessions),
        "": ImitatedFinanceQuery(sessions),
    }
    async with Server(places) as server, asyncio.timeout(PATIENCE_S):
        yield server


async def play(server: Server, url: str, first: str | None, count: int) -> list[bytes]:
    async with connect(server.url + url, additional_headers=KEY, compression=None, max_queue=None) as client:
        if first is not None:
            await client.send(first)
        return [await client.recv(decode=False) for _ in range(count)]


async def test_each_endpoint_plays_back_the_bytes_that_its_upstream_sent(recorded: Path) -> None:
    asked: list[tuple[str, str | None, str, str]] = [
        ("/finlight", '{"includeUpdates":true}', "news", ""),
        ("/finlight/raw", '{"includeUpdates":true}', "raw", ""),
        ("/quotes", "NVDA,AAPL,MSFT", "quotes", ""),
        ("/profile/aapl", None, "profiles", "AAPL"),
        ("/profile/%5EGSPC", None, "profiles", "^GSPC"),
        ("/market", None, "market", ""),
        ("/hours", None, "hours", ""),
    ]
    async with serving(recorded) as server:
        for url, first, feed, channel in asked:
            expected = [message.payload for message in of(recorded, feed, channel)]
            admit = first is not None and first.startswith("{")
            got = await play(server, f"{url}?from=start&speed=max", first, len(expected) + admit)
            assert got[admit:] == expected, url
            assert len(expected) > 10


async def test_one_session_plays_to_clients_of_both_upstreams_and_a_native_one_holds_them_all(recorded: Path) -> None:
    async def has_no_more(client: ClientConnection) -> bool:
        """Whether all that was sent before the answer to a ping has been taken."""
        await (await client.ping())
        try:
            async with asyncio.timeout(0):
                await client.recv()
        except TimeoutError:
            return True
        return False

    async def asks(**operation: Any) -> dict[str, Any]:
        await native.send(orjson.dumps({"request_id": 1, **operation}).decode())
        while True:
            told = orjson.loads(await native.recv())
            if told.get("state", {}).get("request_id") == 1:
                state: dict[str, Any] = told["state"]
                return state

    options: dict[str, Any] = {"compression": None, "max_queue": None}
    async with (
        serving(recorded) as server,
        connect(f"{server.url}/session/s/replay?from=start&paused=1", **options) as native,
        connect(f"{server.url}/session/s/finlight", additional_headers=KEY, **options) as news,
        connect(f"{server.url}/session/s/quotes", **options) as quotes,
    ):
        await news.send('{"includeUpdates":true}')
        assert b"admit" in await news.recv(decode=False)
        await quotes.send("AAPL,MSFT,NVDA")
        await asks(op="resume")
        first = [await quotes.recv(decode=False) for _ in range(5)]
        position = (await asks(op="pause"))["position"]
        for client, taken, feed in ((quotes, first, "quotes"), (news, [], "news")):
            expected = [m.payload for m in of(recorded, feed) if m.position <= position]
            assert taken + [await client.recv(decode=False) for _ in expected[len(taken) :]] == expected
            assert await has_no_more(client)
        assert (await asks(op="state"))["position"] == position
        await asks(op="speed", speed="max")
        await asks(op="resume")
        behind = [m.payload for m in of(recorded, "news") if m.position > position]
        assert [await news.recv(decode=False) for _ in behind] == behind


async def test_a_recorder_that_records_a_replay_has_the_same_articles_and_frames(
    recorded: Path, tmp_path: Path
) -> None:
    names = ("news", "raw", "hours")
    async with (
        serving(recorded) as server,
        connect(f"{server.url}/session/one/replay?from=start&paused=1", max_queue=None) as native,
    ):
        news, hours = server.places["/finlight"], server.places[""]
        assert isinstance(news, ImitatedFinlight) and isinstance(hours, ImitatedFinanceQuery)
        base = server.url + "/session/one"
        async with recording(settings(tmp_path / "again", base + "/finlight", base, *names)) as daemon:
            await until(lambda: [relay.session is not None for relay in news.relays + hours.relays] == [True] * 3)
            await native.send('{"op":"speed","speed":20}')
            await native.send('{"op":"resume"}')
            counts = {name: len(of(recorded, name)) for name in names}

            def has_all() -> bool:
                by_feed = {
                    stream.feed: count for stream, count in daemon.tallies.messages.items() if stream.feed in names
                }
                return all(by_feed.get(name, 0) >= counts[name] for name in names)

            await until(has_all)
    for name in names:
        frames = [m.payload for m in of(recorded, name)]
        assert [m.payload for m in of(tmp_path / "again", name)] == frames
        assert all(Mark.ODD not in m.mark for m in of(tmp_path / "again", name))


async def test_without_a_word_clients_hear_what_is_recorded_at_this_moment_and_only_once_it_is_durable(
    tmp_path: Path,
) -> None:
    async with Upstreams(World(8, articles_per_s=100), refresh_s=0.1) as upstreams:
        wanted = settings(tmp_path, upstreams.finlight_url, upstreams.finance_query_url, "news", "hours")
        async with recording(wanted) as daemon:
            await until(lambda: len(daemon.tallies.messages) > 2 and all(count > 5 for count in kinds(daemon)))
            await daemon.journal.wait_durable(sum(daemon.tallies.messages.values()))
            async with serving(tmp_path) as server:
                hours, news = await asyncio.gather(
                    play(server, "/hours", None, 20), play(server, "/finlight", '{"includeUpdates":true}', 150)
                )
                durable = daemon.journal.durable
    for got, feed in ((hours, "hours"), (news[1:], "news")):
        recorded = {m.payload: m.position for m in of(tmp_path, feed)}
        everything = list(recorded)
        first = everything.index(got[0])
        assert got == everything[first : first + len(got)], feed  # the newest, and what came behind it, each once
        assert recorded[got[-1]] <= durable


# --- the official client --------------------------------------------------------------------------------------

CLIENTS = [
    (WebSocketClient, GetArticlesWebSocketParams, "/finlight", "news"),
    (RawWebSocketClient, GetRawArticlesWebSocketParams, "/finlight", "raw"),
]


class Reader:
    """The official client, running, and the links it has handed out."""

    def __init__(self, client_class: Any, params: Any, url: str, **options: Any) -> None:
        config = ApiConfig(api_key="K", wss_url=url, base_url="http://127.0.0.1:9")
        self.links: list[str] = []
        self.closes: list[int] = []
        self.client = client_class(config, on_close=lambda code, _: self.closes.append(code), **options)
        self.task = asyncio.create_task(self.client.connect(params, lambda article: self.links.append(article.link)))

    async def stop(self) -> None:
        self.client.stop()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def links(data: Path, feed: str) -> list[str]:
    """In order, each once: updates are swallowed by the client's own memory of links."""
    return list(dict.fromkeys(orjson.loads(message.payload)["data"]["link"] for message in of(data, feed)))


@pytest.mark.parametrize(("client_class", "params_class", "url", "feed"), CLIENTS)
async def test_the_official_client_receives_everything_unmodified_but_for_its_url(
    recorded: Path, client_class: Any, params_class: Any, url: str, feed: str
) -> None:
    async with serving(recorded) as server:
        reader = Reader(client_class, params_class(includeUpdates=True), server.url + url + "?from=start&speed=max")
        expected = links(recorded, feed)
        await until(lambda: len(dict.fromkeys(reader.links)) >= len(expected))
        await reader.stop()
    assert list(dict.fromkeys(reader.links)) == expected


@pytest.mark.parametrize(("client_class", "params_class", "url", "feed"), CLIENTS)
async def test_the_official_client_misses_nothing_over_its_own_rotations(
    recorded: Path, client_class: Any, params_class: Any, url: str, feed: str
) -> None:
    async with (
        serving(recorded) as server,
        connect(f"{server.url}/session/slow/replay?from=start&paused=1", max_queue=None) as native,
    ):
        base = f"{server.url}/session/slow{url}"
        reader = Reader(client_class, params_class(includeUpdates=True), base, connection_lifetime=0.3)
        place = server.places["/finlight"]
        assert isinstance(place, ImitatedFinlight)
        await until(lambda: bool(place.relays and place.relays[0].session))
        await native.send('{"op":"resume"}')
        expected = links(recorded, feed)
        await until(lambda: len(dict.fromkeys(reader.links)) >= len(expected))
        await reader.stop()
    assert list(dict.fromkeys(reader.links)) == expected
    assert reader.closes.count(4000) >= 2
