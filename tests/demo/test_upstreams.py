"""Both upstreams for real, over loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.replay.upstreams.ledger import Ledger, LedgerFull, digest

KEY = {"x-api-key": "k"}


def quiet(**options: Any) -> Upstreams:
    """Upstreams where nothing is published but by hand, and broadcasts come fast."""
    return Upstreams(World(articles_per_s=0), **{"refresh_s": 0.05, **options})


def article(number: int, **fields: Any) -> bytes:
    return orjson.dumps({"link": f"https://x/{number}", "title": "t", "source": "x", "language": "en", **fields})


async def told(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(10):
        message = orjson.loads(await socket.recv())
    assert isinstance(message, dict)
    return message


async def subscribed(socket: ClientConnection, **fields: Any) -> ClientConnection:
    await socket.send(orjson.dumps(fields).decode())
    assert (await told(socket))["action"] == "admit"
    return socket


async def end_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(10):
        while True:
            try:
                await socket.recv()
            except ConnectionClosed:
                return socket.close_code, socket.close_reason


async def test_what_is_published_arrives_unchanged_and_stands_in_the_ledger() -> None:
    async with quiet() as upstreams:
        async with connect(upstreams.finlight_url, additional_headers=KEY) as socket:
            await subscribed(socket)
            body = b'{"link" : "https://x/1","confidence":0.50,"title":"caf\xc3\xa9"}'
            upstreams.finlight.publish(body)
            async with asyncio.timeout(10):
                text = await socket.recv()
        assert text == '{"action":"sendArticle","data":' + body.decode() + "}"
        entry = next(each for each in upstreams.ledger.entries if each.role == "data" and each.channel == "enhanced")
        assert (entry.digest, len(entry.to)) == (digest(str(text).encode()), 1)


async def test_an_article_for_nobody_is_in_the_ledger_without_deliveries() -> None:
    async with quiet() as upstreams:
        upstreams.finlight.publish(article(1))
        assert [(entry.channel, entry.to) for entry in upstreams.ledger.entries] == [("enhanced", ()), ("raw", ())]


async def test_quotes_come_at_once_doubled_and_then_at_the_pace_set() -> None:
    async with quiet() as upstreams, connect(upstreams.finance_query_url + "/quotes") as socket:
        await socket.send("msft,AAPL,NOSUCH")
        async with asyncio.timeout(10):
            frames = [orjson.loads(await socket.recv()) for _ in range(4)]
        assert all({row["symbol"] for row in frame} == {"AAPL", "MSFT"} for frame in frames)
        first, second, third = upstreams.ledger.entries[:3]
        assert [first.role, second.role, third.role] == ["initial", "data", "data"]
        assert second.utc_ns - first.utc_ns < third.utc_ns - second.utc_ns


@pytest.mark.parametrize("path", ["/quotes/", "/v1/quotes", "/profile", "/markets", "/"])
async def test_other_paths_are_refused_with_an_empty_403(path: str) -> None:
    async with quiet() as upstreams:
        with pytest.raises(InvalidStatus) as refused:
            await connect(upstreams.finance_query_url + path)
        response = refused.value.response
        assert (response.status_code, response.headers["Content-Length"]) == (403, "0")


async def test_the_connection_limit_closes_with_going_away() -> None:
    async with quiet(finlight_limit_s=0.1) as upstreams:
        async with connect(upstreams.finlight_url, additional_headers=KEY) as socket:
            assert await end_of(socket) == (1001, "Going away")
        await upstreams.finlight.until(lambda: not upstreams.finlight.connections)
        row = upstreams.ledger.connections[1]
        assert (row.code, row.reason) == (1001, "Going away")
        assert row.closed_ns > row.opened_ns


async def test_the_worlds_articles_flow_to_both_streams_as_the_ledger_says() -> None:
    async with (
        Upstreams(World(articles_per_s=500)) as upstreams,
        connect(upstreams.finlight_url, additional_headers=KEY, max_queue=None) as enhanced,
        connect(upstreams.finlight_url + "/raw", additional_headers=KEY, max_queue=None) as raw,
    ):
        await enhanced.send('{"includeUpdates":true}')
        await raw.send('{"includeUpdates":true}')
        frames: dict[str, list[str]] = {"enhanced": [], "raw": []}
        async with asyncio.timeout(30):
            for name, socket in (("enhanced", enhanced), ("raw", raw)):
                while len(frames[name]) < 200:
                    text = str(await socket.recv())
                    if "sendArticle" in text:
                        frames[name].append(digest(text.encode()))
        for name, number in (("enhanced", 1), ("raw", 2)):
            written = [
                entry.digest
                for entry in upstreams.ledger.entries
                if number in entry.to and entry.role in ("data", "initial")
            ]
            assert frames[name] == written[:200]


async def test_a_schedule_is_followed() -> None:
    schedule = [
        {"at_s": 0.05, "op": "close_all", "upstream": "finance_query", "code": 1012, "reason": "restart"},
        {"at_s": 0.0, "op": "refuse", "status": 503},
    ]
    async with quiet(schedule=schedule) as upstreams:
        with pytest.raises(InvalidStatus):
            while True:
                async with connect(upstreams.finlight_url, additional_headers=KEY):
                    pass
        async with asyncio.timeout(10):
            while True:
                async with connect(upstreams.finance_query_url + "/hours") as socket:
                    if await end_of(socket) == (1012, "restart"):
                        break


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"op": "nonsense"},
        {"op": "close_all", "upstream": "nobody"},
        {"op": "kick", "upstream": "finance_query", "retry_after_ms": 1},
        {"op": "kick"},
        {"op": "close_all", "colour": "red"},
        {"op": "kill_channel", "upstream": "finance_query", "name": "market"},
        {"op": "until"},
    ],
)
async def test_an_order_that_cannot_be_followed_says_so(order: dict[str, Any]) -> None:
    async with quiet() as upstreams:
        with pytest.raises(ValueError, match="order"):
            upstreams.order(order)


async def test_a_full_ledger_fails_the_run() -> None:
    with pytest.raises(LedgerFull):
        async with quiet(ledger=Ledger(entries_max=3)) as upstreams:
            upstreams.finlight.publish(article(1))
            upstreams.finlight.publish(article(2))


async def test_when_the_upstreams_stop_their_clients_are_told() -> None:
    async with quiet() as upstreams:
        clients = [await connect(upstreams.finance_query_url + "/quotes")]
        clients.append(await connect(upstreams.finlight_url, additional_headers=KEY))
        ends = [asyncio.create_task(end_of(client)) for client in clients]
        await asyncio.sleep(0)
    assert await asyncio.gather(*ends) == [(1012, ""), (1001, "Going away")]
