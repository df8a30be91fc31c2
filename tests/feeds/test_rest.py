"""Asking over HTTP, on real sockets: one answer, whole, or a sentence."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from recorder.clock import Clock
from recorder.feeds.finlight_rest import Post
from recorder.feeds.rest import RestFailed, post
from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.rest_server import RestServer

KEY = "sk_this-must-not-be-seen"


def request(url: str) -> Post:
    return Post(f"{url}/v2/articles", (("X-API-KEY", KEY), ("content-type", "application/json")), b'{"page":1}')


def serving(answer: Answer) -> RestServer:
    return RestServer(lambda method, asked, body, now: answer, Clock())


async def test_a_question_arrives_whole_and_so_does_the_answer() -> None:
    asked: list[Any] = []

    def answer(method: str, handshake: Any, body: bytes, now: object) -> Answer:
        asked.append((method, handshake.path, dict(handshake.headers), body))
        return Answer(200, b"x" * 3_000_000)

    async with RestServer(answer, Clock()) as server:
        status, headers, body = await post(request(server.url))
    assert (status, len(body), headers["content-length"]) == (200, 3_000_000, "3000000")
    ((method, path, sent, content),) = asked
    assert (method, path, content) == ("POST", "/v2/articles", b'{"page":1}')
    assert sent["X-API-KEY"] == KEY
    assert sent["host"] == server.url.removeprefix("http://")


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    async with serving(Answer(200)) as other, serving(Answer(302, other.url.encode())) as server:
        status, _, _ = await post(request(server.url))
        assert status == 302
        assert not other.requests


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_a_refusal_is_an_answer(status: int) -> None:
    async with serving(Answer(status, b'{"message":"no"}')) as server:
        got, headers, body = await post(request(server.url))
    assert (got, headers["content-type"], body) == (status, "application/json", b'{"message":"no"}')


async def test_half_an_answer_is_none() -> None:
    async with serving(Answer(200, b"x" * 1000)) as server:
        server.faults.truncate()
        with pytest.raises(RestFailed, match="proper HTTP"):
            await post(request(server.url))


async def test_a_server_that_never_answers_is_left() -> None:
    async with serving(Answer(200)) as server:
        server.faults.ignore()
        with pytest.raises(RestFailed, match=r"No whole answer from 127\.0\.0\.1:\d+ within 0\.2 s"):
            await post(request(server.url), timeout_s=0.2)


async def test_an_answer_without_end_is_left() -> None:
    async with serving(Answer(200, b"x" * 100_000)) as server:
        with pytest.raises(RestFailed, match="more than 50000 bytes"):
            await post(request(server.url), answer_bytes_max=50_000)


async def test_a_server_that_speaks_no_http_is_left() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n" * 10_000)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RestFailed, match="proper HTTP") as failure:
            await post(request(f"http://127.0.0.1:{port}"))
    assert KEY not in str(failure.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "http://" + "a" * 70 + ".com"])
async def test_nobody_there_is_a_sentence(url: str) -> None:
    with pytest.raises(RestFailed, match=r"No (connection to|address for) .* Check"):
        await post(request(url))


async def test_tls_names_the_host_and_trusts_whom_it_should(
    certificate: tuple[Path, Path], server_tls: ssl.SSLContext
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b'{"page":1}')
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n")
        await writer.drain()

    async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=server_tls) as server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        answer = await post(request(url), tls=lambda: ssl.create_default_context(cafile=certificate[0]))
        assert answer.body == b"yes"
        with pytest.raises(RestFailed, match=r"certificate of localhost:\d+ is not valid"):
            await post(request(url))
