"""Real sockets on loopback; the imitations are as small as they can be."""

from __future__ import annotations

import asyncio
import urllib.request
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder.clock import Clock
from recorder.replay.port.server import Server
from recorder.replay.upstreams.as_finance_query import Fetch, FinanceQuery
from recorder.replay.upstreams.as_finlight import Article, Finlight, Recent
from recorder.replay.upstreams.faults import Faults
from recorder.replay.upstreams.host import Host
from recorder.replay.upstreams.imitation import Send
from recorder.replay.upstreams.ledger import Ledger

KEY = {"x-api-key": "k"}


class Hours:
    def fetch(self, wanted: Fetch, now: object) -> bytes:
        return f'{{"endpoint":"{wanted.endpoint}"}}'.encode()


def finance_query(**options: Any) -> Host:
    return Host(FinanceQuery(Hours(), refresh_s=60), clock=Clock(), ledger=Ledger(), **options)


def finlight(**options: Any) -> Host:
    return Host(Finlight(Recent()), clock=Clock(), ledger=Ledger(), **options)


def publish(host: Host, article: bytes) -> None:
    assert isinstance(host.imitation, Finlight)
    host.run(host.imitation.publish(Article.of(article), host.clock.now()))


def ledger(host: Host) -> Ledger:
    assert host.ledger is not None
    return host.ledger


async def test_one_port_serves_several_imitations_below_their_prefixes() -> None:
    async with Server({"/finlight": finlight(), "": finance_query()}) as server, asyncio.timeout(10):
        async with connect(server.url + "/hours") as hours:
            assert await hours.recv() == '{"endpoint":"hours"}'
        for path in ("/finlight", "/finlight/", "/finlight/raw", "/finlight//raw"):
            async with connect(server.url + path, additional_headers=KEY) as news:
                await news.send("{}")
                assert "admit" in str(await news.recv())
        with pytest.raises(InvalidStatus):
            await connect(server.url + "/finlightly", additional_headers=KEY)


async def test_a_path_below_no_prefix_is_not_found() -> None:
    async with Server({"/finlight": finlight()}) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + "/hours")
        assert refused.value.response.status_code == 404


async def test_a_plain_get_gets_an_http_answer() -> None:
    async with Server({"": finance_query()}) as server:
        url = server.url.replace("ws:", "http:") + "/hours"
        body = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read())
    assert body == b'{"endpoint":"hours"}'


async def test_protocol_pings_are_answered_until_ordered_otherwise() -> None:
    host = finlight(faults=Faults())
    async with Server({"": host}) as server, connect(server.url, additional_headers=KEY) as client:
        async with asyncio.timeout(10):
            await (await client.ping())
        host.faults.answers_pings = False
        unanswered = asyncio.ensure_future(await client.ping())
        await client.send("{}")
        async with asyncio.timeout(10):
            assert "admit" in str(await client.recv())  # read after the ping, so the ping was read as well
        assert not unanswered.done()


async def test_long_messages_arrive_in_fragments() -> None:
    host = finlight()
    async with Server({"": host}) as server, connect(server.url, additional_headers=KEY) as client, asyncio.timeout(10):
        await client.send("{}")
        await client.recv()
        body = b'{"content":"' + "é".encode() * 50_000 + b'"}'
        publish(host, body)
        pieces = [piece async for piece in client.recv_streaming(decode=False)]
        assert [len(piece) > 32 << 10 for piece in pieces] == [False] * 4
        assert b"".join(pieces) == Article.of(body).frame


async def test_compressed_messages_arrive_unchanged() -> None:
    host = finlight()
    async with (
        Server({"": host}, compression=True) as server,
        connect(server.url, additional_headers=KEY) as squeezed,
        connect(server.url, additional_headers=KEY, compression=None) as plain,
        asyncio.timeout(10),
    ):
        assert squeezed.protocol.extensions and not plain.protocol.extensions
        for client in (squeezed, plain):
            await client.send("{}")
            await client.recv()
        for number in range(3):
            body = b'{"n":%d,"content":"%s"}' % (number, b"again and " * 9_000)
            publish(host, body)
            assert await squeezed.recv(decode=False) == await plain.recv(decode=False) == Article.of(body).frame


async def test_what_one_turn_gives_a_connection_leaves_in_one_write() -> None:
    host = finlight()
    async with Server({"": host}) as server, connect(server.url, additional_headers=KEY) as client, asyncio.timeout(10):
        await client.send("{}")
        await client.recv()
        (socket,) = host.sockets.values()
        writes: list[int] = []
        write = socket.transport.write

        def counted(data: Any) -> None:
            writes.append(len(data))
            write(data)

        socket.transport.write = counted  # type: ignore[method-assign]
        for number in range(100):
            publish(host, b'{"n":%d}' % number)
        for number in range(100):
            assert f'"n":{number}}}' in str(await client.recv())
        assert len(writes) == 1


async def test_a_client_that_does_not_read_is_cut_and_disturbs_nobody() -> None:
    host = finlight(backlog_bytes_max=1 << 20)
    async with Server({"": host}) as server, connect(server.url, additional_headers=KEY) as reader:
        await reader.send("{}")
        await reader.recv()
        sleeper = await connect(server.url, additional_headers=KEY, max_queue=1, ping_interval=None)
        await sleeper.send("{}")
        await sleeper.recv()
        body, published = b'{"pad":"' + b"x" * 30_000 + b'"}', 0
        async with asyncio.timeout(30):
            while len(host.sockets) == 2:
                publish(host, body)
                published += 1
                assert len(await reader.recv(decode=False)) > 30_000
            publish(host, b'{"last":1}')
            assert "last" in str(await reader.recv())
        assert ledger(host).connections[2].code == 1006
        assert published * 30_000 > 1 << 20  # it had its chance
        assert ledger(host).entries[-2].to == (1,)
        sleeper.transport.abort()


async def test_an_ignored_handshake_is_never_answered_and_does_not_hold_up_the_end() -> None:
    host = finlight()
    host.faults.ignore()
    async with Server({"": host}) as server:
        waiting = asyncio.create_task(asyncio.wait_for(connect(server.url, additional_headers=KEY), 30))
        await host.until(lambda: bool(ledger(host).knocks))
        async with connect(server.url, additional_headers=KEY):
            assert [knock.status for knock in ledger(host).knocks] == [0, 101]
        assert not waiting.done()
    with pytest.raises(Exception):  # noqa: B017 - whatever a client makes of TCP that ends in mid-handshake
        await waiting


async def test_a_client_that_leaves_in_mid_handshake_frees_its_slot() -> None:
    host = Host(Finlight(Recent(), slots_max=1), clock=Clock(), ledger=Ledger())
    async with Server({"": host}) as server, asyncio.timeout(10):
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            knocks = len(ledger(host).knocks)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nx-api-key: k\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await host.until(lambda before=knocks: len(ledger(host).knocks) > before)  # type: ignore[misc]
            writer.transport.abort()
            await host.until(lambda: not host.sockets)
        async with connect(server.url, additional_headers=KEY):
            assert len(host.sockets) == 1


@pytest.mark.parametrize(
    ("host", "path", "end"), [(finlight, "/", (1001, "Going away")), (finance_query, "/quotes", (1012, ""))]
)
async def test_a_stop_closes_idle_clients_with_the_upstreams_own_code(host: Any, path: str, end: object) -> None:
    async with Server({"": host()}) as server:
        client = await connect(server.url + path, additional_headers=KEY)
        waiting = asyncio.create_task(client.recv())
    with pytest.raises(ConnectionClosed):
        await waiting
    assert (client.close_code, client.close_reason) == end


@pytest.mark.slow
async def test_a_stop_waits_only_seconds_for_a_client_that_does_not_answer() -> None:
    async with asyncio.timeout(10):
        async with Server({"": finance_query()}) as server:
            client = await connect(server.url + "/hours", ping_interval=None)
            client.transport.pause_reading()
    client.transport.abort()


async def test_the_ledger_says_on_which_connections_a_message_was_written() -> None:
    host = finlight()
    async with (
        Server({"": host}) as server,
        asyncio.timeout(10),
        connect(server.url, additional_headers=KEY) as one,
        connect(server.url + "/raw", additional_headers=KEY),
        connect(server.url, additional_headers=KEY) as three,
    ):
        for client in (one, three):
            await client.send("{}")
            await client.recv()
        publish(host, b"{}")
    written = {(entry.channel, entry.to) for entry in ledger(host).entries if entry.role == "data"}
    assert written == {("enhanced", (1, 3)), ("raw", ())}


async def test_a_message_for_a_connection_that_is_gone_counts_as_not_delivered() -> None:
    host = finlight()
    async with Server({"": host}) as server:
        async with connect(server.url, additional_headers=KEY):
            pass
        await host.until(lambda: not host.sockets)
        host.run([Send((1,), b"x", "enhanced")])
        assert ledger(host).entries[-1].to == ()


async def test_the_server_pings_at_the_imitations_own_pace_and_cuts_nobody_who_answers() -> None:
    host = finance_query()
    host.imitation.ping_interval_s = 0.01
    async with Server({"": host}) as server, connect(server.url + "/quotes") as client, asyncio.timeout(10):
        (socket,) = host.sockets.values()
        while not socket.latency:  # noqa: ASYNC110 - set by the first pong, which nobody announces
            await asyncio.sleep(0)
        await client.send("AAPL")
        assert await client.recv() == '{"endpoint":"quotes"}'
