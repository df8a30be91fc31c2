"""The imitated REST API on real sockets; the official client is satisfied with it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import orjson
from finlight_client import ApiConfig, FinlightApi
from finlight_client.models import GetArticlesParams

from recorder.clock import Clock
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.rest_server import BODY_BYTES_MAX, RestServer


def echo() -> RestServer:
    return RestServer(
        lambda method, request, body, now: Answer(200, f"{method} {request.path} ".encode() + body), Clock()
    )


async def talk(server: RestServer, *pieces: bytes) -> bytes:
    """What comes back for these bytes, up to the end of the connection."""
    reader, writer = await asyncio.open_connection(server.address, server.port)
    answer = b""
    with suppress(ConnectionError):  # who is left has perhaps not been read to the end
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(20):
            answer = await reader.read()
    writer.close()
    return answer


async def test_the_official_client_gets_articles() -> None:
    async with Upstreams(World(articles_per_s=0)) as upstreams:
        for number in range(3):
            stamp = f"2026-05-26T15:48:0{number}.000Z"
            facts = {"link": f"https://x/{number}", "title": "t", "source": "x", "language": "en"}
            upstreams.finlight.publish(orjson.dumps(facts | {"publishDate": stamp, "createdAt": stamp}))
        client = FinlightApi(ApiConfig(api_key="K", base_url=upstreams.finlight_rest_url))
        params = GetArticlesParams(query="t", orderBy="createdAt", order="ASC", pageSize=2)
        found = await asyncio.to_thread(client.articles.fetch_articles, params)
        assert [each.link for each in found.articles] == ["https://x/0", "https://x/1"]


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with echo() as server:
        question = b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi"
        last = b"GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
        answer = await talk(server, question, last)
    assert answer.count(b"200 OK") == 2
    assert b"POST /a hi" in answer and answer.endswith(b"GET /b ")


async def test_faults_are_used_up_one_by_one() -> None:
    question = b"GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    async with echo() as server:
        server.faults.refuse(503)
        server.faults.truncate()
        server.faults.ignore()
        answers = [await talk(server, question) for _ in range(4)]
    assert b"503" in answers[0]
    assert answers[1].endswith(b"\r\n\r\nGET")
    assert answers[2] == b""
    assert answers[3].endswith(b"GET /b ")


async def test_clients_that_talk_no_http_or_without_end_are_left() -> None:
    async with echo() as server:
        assert await talk(server, b"\x00\xff" * 40_000) == b""
        size = BODY_BYTES_MAX + 1
        assert (
            await talk(server, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size, b"x" * size) == b""
        )
        assert await talk(server, b"GET /b HTTP/1.1\r\n") == b""
        assert b"200 OK" in await talk(server, b"GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
