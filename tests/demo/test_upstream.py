"""Every fault to order, as a client meets it."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World

KEY = {"x-api-key": "k"}
WAIT_S = 10


def quiet(**options: Any) -> Upstreams:
    return Upstreams(World(articles_per_s=0), **{"refresh_s": 0.05, **options})


def news(upstreams: Upstreams, path: str = "") -> connect:
    return connect(upstreams.finlight_url + path, additional_headers=KEY)


def endpoint(upstreams: Upstreams, path: str) -> connect:
    return connect(upstreams.finance_query_url + path)


async def receive(client: ClientConnection) -> str:
    async with asyncio.timeout(WAIT_S):
        text = await client.recv()
    assert isinstance(text, str)
    return text


async def subscribed(client: ClientConnection) -> ClientConnection:
    await client.send("{}")
    assert "admit" in await receive(client)
    return client


async def end_of(client: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                await client.recv()
            except ConnectionClosed:
                return client.close_code, client.close_reason


# --- ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1009, 1011, 1012, 1013, 4001, 4999])
async def test_all_connections_can_be_closed_with_any_code(code: int) -> None:
    async with quiet() as upstreams, news(upstreams) as one, news(upstreams, "/raw") as two:
        upstreams.finlight.close_all(code, "because")
        assert [await end_of(one), await end_of(two)] == [(code, "because")] * 2


async def test_one_connection_can_be_closed_and_the_other_goes_on() -> None:
    async with quiet() as upstreams, news(upstreams) as one, news(upstreams) as two:
        await subscribed(two)
        upstreams.finlight.close(upstreams.finlight.connections[0], 1001)
        assert (await end_of(one))[0] == 1001
        upstreams.finlight.publish(b'{"n":1}')
        assert '"n":1' in await receive(two)


@pytest.mark.parametrize("by", ["cut", "close_all"])
async def test_a_cut_is_a_1006_after_all_that_was_sent(by: str) -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        upstreams.finlight.publish(b'{"n":1}')
        if by == "cut":
            upstreams.finlight.cut()
        else:
            upstreams.finlight.close_all(1006)
        assert '"n":1' in await receive(client)
        assert (await end_of(client))[0] == 1006
        assert upstreams.ledger.connections[1].code == 1006


# --- handshakes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_handshakes_are_refused_as_often_as_ordered(status: int) -> None:
    async with quiet() as upstreams:
        upstreams.finlight.refuse(status, times=2)
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused:
                await news(upstreams)
            assert refused.value.response.status_code == status
        async with news(upstreams) as client:
            await subscribed(client)
        assert upstreams.finlight.handshakes == 3
        assert upstreams.finance_query.handshakes == 0


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (1006, 1006)])
async def test_connections_can_be_accepted_and_hung_up_at_once(code: int, seen: int) -> None:
    async with quiet() as upstreams:
        upstreams.finance_query.hang_up(times=2, code=code, reason="")
        for _ in range(2):
            async with endpoint(upstreams, "/hours") as client:
                assert (await end_of(client))[0] == seen
        async with endpoint(upstreams, "/hours") as client:
            assert "status" in await receive(client)


async def test_a_connection_can_be_hung_up_after_some_messages() -> None:
    async with quiet() as upstreams:
        upstreams.finance_query.hang_up(after_messages=3, code=1012, reason="")
        async with endpoint(upstreams, "/hours") as client:
            for _ in range(3):
                assert "status" in await receive(client)
            assert (await end_of(client))[0] == 1012


# --- silence --------------------------------------------------------------------------------------------------


async def test_a_mute_upstream_still_answers_pings_and_keeps_the_ledger() -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        upstreams.finlight.mute()
        upstreams.finlight.publish(b'{"n":1}')
        await client.send('{"action":"ping","t":1}')
        assert await receive(client) == '{"action":"pong","t":1}'
        assert upstreams.ledger.entries[-3].role == "data" and upstreams.ledger.entries[-3].to == ()
        upstreams.finlight.unmute()
        upstreams.finlight.publish(b'{"n":2}')
        assert '"n":2' in await receive(client)


async def test_one_connection_can_be_muted() -> None:
    async with quiet() as upstreams, news(upstreams) as one, news(upstreams) as two:
        await subscribed(one)
        await subscribed(two)
        upstreams.finlight.mute(connection=upstreams.finlight.connections[0])
        for number in (1, 2):
            upstreams.finlight.publish(b'{"n":%d}' % number)
            assert f'"n":{number}' in await receive(two)
        upstreams.finlight.unmute()
        upstreams.finlight.publish(b'{"n":3}')
        assert '"n":3' in await receive(one)


async def test_no_ping_of_any_kind_is_answered_when_so_ordered() -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        upstreams.finlight.answer_pings(False)
        await client.send('{"action":"ping","t":1}')
        pong = asyncio.ensure_future(await client.ping())
        await client.send("{}")
        assert "admit" in await receive(client)
        assert not pong.done()
        upstreams.finlight.heal()
        await client.send('{"action":"ping","t":2}')
        assert await receive(client) == '{"action":"pong","t":2}'


async def test_a_dead_channel_gives_whoever_joins_one_frame_until_all_have_left() -> None:
    async with quiet() as upstreams, endpoint(upstreams, "/market") as first:
        for _ in range(3):
            assert "actives" in await receive(first)
        upstreams.finance_query.kill_channel("market")
        async with endpoint(upstreams, "/market") as second, endpoint(upstreams, "/hours") as witness:
            assert "actives" in await receive(second)
            for _ in range(5):
                assert "status" in await receive(witness)  # five refreshes later
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(second.recv(), 0.01)
        await first.close()
        await upstreams.finance_query.until(lambda: not upstreams.finance_query.channels)
        async with endpoint(upstreams, "/market") as third:
            for _ in range(3):
                assert "actives" in await receive(third)


# --- words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "arguments", "said"),
    [
        ("kick", {"retry_after_ms": 3000}, {"action": "admin_kick", "retryAfter": 3000}),
        ("error", {"text": "Rate limit exceeded"}, {"action": "error", "data": "Rate limit exceeded"}),
    ],
)
async def test_the_service_can_say_its_unpleasant_things(order: str, arguments: Any, said: object) -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        getattr(upstreams.finlight, order)(**arguments)
        assert orjson.loads(await receive(client)) == said


async def test_preempted_is_said_and_then_closed() -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        upstreams.finlight.preempt()
        assert orjson.loads(await receive(client)) == {
            "action": "preempted",
            "reason": "takeover",
            "newLeaseId": "other",
        }
        assert (await end_of(client))[0] == 1000


async def test_odd_frames_arrive_as_ordered_and_stand_in_the_ledger() -> None:
    async with quiet() as upstreams, news(upstreams) as client:
        await subscribed(client)
        upstreams.finlight.send("not JSON at all")
        assert await receive(client) == "not JSON at all"
        upstreams.finlight.send('{"action":"sendArticle","data":{}}', binary=True)
        async with asyncio.timeout(WAIT_S):
            assert await client.recv() == b'{"action":"sendArticle","data":{}}'
        upstreams.finlight.gateway_error()
        assert list(orjson.loads(await receive(client))) == ["message", "connectionId", "requestId"]
        assert [entry.role for entry in upstreams.ledger.entries[-3:]] == ["odd", "odd", "reply"]


async def test_a_message_can_be_larger_than_a_client_takes() -> None:
    async with (
        quiet() as upstreams,
        connect(upstreams.finlight_url, additional_headers=KEY, max_size=100_000) as client,
    ):
        await subscribed(client)
        upstreams.finlight.oversize(200_000)
        await end_of(client)
        await upstreams.finlight.until(lambda: not upstreams.finlight.connections)
        assert upstreams.ledger.connections[1].code == 1009  # the client's


async def test_a_frame_of_another_endpoints_shape_can_be_sent() -> None:
    async with quiet() as upstreams, endpoint(upstreams, "/hours") as client:
        assert "status" in await receive(client)
        upstreams.finance_query.send("[]")
        async with asyncio.timeout(WAIT_S):
            while await client.recv() != "[]":
                pass
