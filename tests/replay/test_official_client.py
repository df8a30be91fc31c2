"""The official finlight-client, unmodified but for its URL, receives everything from the imitation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from finlight_client import ApiConfig
from finlight_client.models import GetArticlesWebSocketParams, GetRawArticlesWebSocketParams
from finlight_client.raw_websocket_client import RawWebSocketClient
from finlight_client.websocket_client import WebSocketClient

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World

pytestmark = pytest.mark.slow  # it waits half a second before every reconnect

CLIENTS = [(WebSocketClient, GetArticlesWebSocketParams), (RawWebSocketClient, GetRawArticlesWebSocketParams)]


class Reader:
    """The client, running, and the links it has handed out."""

    def __init__(self, client_class: Any, params: Any, url: str, **options: Any) -> None:
        config = ApiConfig(api_key="K", wss_url=url, base_url="http://127.0.0.1:9")
        self.links: list[str] = []
        self.closes: list[tuple[int, str]] = []
        self.client = client_class(config, on_close=lambda code, reason: self.closes.append((code, reason)), **options)
        self.arrived = asyncio.Event()
        self.task = asyncio.create_task(self.client.connect(params, self._article))

    def _article(self, article: Any) -> None:
        self.links.append(article.link)
        self.arrived.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await self.arrived.wait()
                self.arrived.clear()

    async def stop(self) -> None:
        self.client.stop()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def article(number: int) -> bytes:
    fields = {
        "link": f"https://x/{number}",
        "title": f"Story {number} “é”",
        "publishDate": "2026-05-26T15:48:28.123456789Z",
        "source": "www.reuters.com",
        "language": "en",
        "content": "x" * (50_000 if number == 7 else 100),
    }
    return orjson.dumps(fields)


@pytest.mark.parametrize(("client_class", "params_class"), CLIENTS)
async def test_every_article_arrives_in_order_over_a_close_and_a_cut(client_class: Any, params_class: Any) -> None:
    async with Upstreams(World(articles_per_s=0)) as upstreams:
        finlight = upstreams.finlight
        reader = Reader(client_class, params_class(), upstreams.finlight_url)

        async def subscribed(times: int) -> None:
            async with asyncio.timeout(20):
                await finlight.until(lambda: sum(entry.role == "reply" for entry in upstreams.ledger.entries) >= times)

        await subscribed(1)
        for number in range(40):
            finlight.publish(article(number))
        await reader.until(lambda: len(reader.links) >= 40)
        finlight.close_all(1001, "Going away")
        await subscribed(2)
        for number in range(40, 80):
            finlight.publish(article(number))
        await reader.until(lambda: len(reader.links) >= 80)
        finlight.cut()
        await subscribed(3)
        finlight.publish(article(80))
        await reader.until(lambda: "https://x/80" in reader.links)
        await reader.stop()
    assert list(dict.fromkeys(reader.links)) == [f"https://x/{number}" for number in range(81)]
    assert reader.closes[:2] == [(1001, "Going away"), (1006, "Connection closed")]


@pytest.mark.parametrize("path", ["", "/", "/?session=7"])
async def test_the_newest_article_comes_first_on_the_enhanced_stream(path: str) -> None:
    async with Upstreams(World(articles_per_s=0)) as upstreams:
        upstreams.finlight.publish(article(1))
        reader = Reader(WebSocketClient, GetArticlesWebSocketParams(query="story"), upstreams.finlight_url + path)
        await reader.until(lambda: reader.links == ["https://x/1"])
        assert reader.client.lease_id
        await reader.stop()


async def test_preempted_stops_the_client_and_a_raw_url_with_a_slash_works() -> None:
    async with Upstreams(World(articles_per_s=0), slots_max=1) as upstreams:
        first = Reader(WebSocketClient, GetArticlesWebSocketParams(), upstreams.finlight_url)
        async with asyncio.timeout(20):
            await upstreams.finlight.until(lambda: any(each.role == "reply" for each in upstreams.ledger.entries))
            second = Reader(
                RawWebSocketClient, GetRawArticlesWebSocketParams(), upstreams.finlight_url + "/", takeover=True
            )
            await first.task  # it gives up for good, without an error
            await upstreams.finlight.until(lambda: upstreams.ledger.entries[-1].channel == "raw")
        upstreams.finlight.publish(article(1))
        await second.until(lambda: second.links == ["https://x/1"])
        await second.stop()


async def test_the_worlds_articles_pass_the_clients_validation_at_speed() -> None:
    async with Upstreams(World(articles_per_s=300)) as upstreams:
        params = GetRawArticlesWebSocketParams(includeUpdates=True)
        reader = Reader(RawWebSocketClient, params, upstreams.finlight_url)
        await reader.until(lambda: len(reader.links) >= 300)
        await reader.stop()
        written = sum(
            entry.channel == "raw" and bool(entry.to) and entry.role == "data" for entry in upstreams.ledger.entries
        )
    assert 300 <= len(reader.links) <= written
