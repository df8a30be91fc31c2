"""Dialling: what opens, what is refused, what fails and what it says. Loopback, real sockets and TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.frames import Opcode

if TYPE_CHECKING:
    from tests.feeds.conftest import Tcp

BYTES_MAX = 1 << 20  # as Tcp.dialled has it
PATIENCE_S = 20.0
TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, CLOSE = Opcode.PING, Opcode.CLOSE


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
            b"Content-Length: 4\r\n\r\nslow",
            (429, {"retry-after": "7", "set-cookie": "a, b", "content-length": "4"}, b"slow"),
        ),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", (403, {"content-length": "0"}, b"")),
        (
            b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            (302, {"location": "ws://127.0.0.1:1/", "content-length": "0"}, b""),
        ),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000, None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", (200, {"content-length": "2"}, b"hi")),
    ],
)
async def test_an_http_answer_is_a_refusal_with_its_headers_and_a_bounded_body(
    tcp: Tcp, answer: bytes, expected: tuple[object, ...] | None
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        end = await log.ended()
    assert end == ("refused", *(expected or (500, {"content-length": "50000"}, b"x" * (16 << 10))))


@pytest.mark.parametrize("hold_open", [False, True])
async def test_a_refusal_without_a_length_is_known_at_eof_or_at_the_latest_at_the_time_out(
    tcp: Tcp, hold_open: bool
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n\r\nwrong key")
        if hold_open:
            await reader.read()

    timeout_s = 0.2 if hold_open else PATIENCE_S
    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}", timeout_s=timeout_s) as log:
        assert await log.ended() == ("refused", 401, {}, b"wrong key")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "connection closed while reading HTTP status line"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n", "connection closed while reading HTTP headers"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "invalid HTTP status line"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "Sec-WebSocket-Accept",
        ),
        (b"\x00" * 100_000, "expected no more than"),
    ],
)
async def test_an_answer_that_opens_nothing_fails_with_its_reason(tcp: Tcp, answer: bytes, why: str) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        await log.ended()
    assert why in log.error and address in log.error


async def test_a_server_that_never_answers_fails_at_the_time_out(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}", timeout_s=0.1) as log:
        await log.ended()
    assert "did not answer the WebSocket handshake within 0.1 s" in log.error


async def test_a_closed_port_and_an_unknown_name_fail_with_what_to_check(
    tcp: Tcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with tcp.dialled(f"ws://127.0.0.1:{port}") as log:
        await log.ended()
    assert log.error.startswith(f"No connection to 127.0.0.1:{port}: Connection refused. Check")

    async def no_address(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_address)
    async with tcp.dialled("ws://upstream.invalid") as log:
        await log.ended()
    assert log.error.startswith("No address for upstream.invalid:80: Name or service not known. Check")


async def test_dns_that_hangs_fails_at_the_time_out(tcp: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    async with tcp.dialled("ws://upstream.invalid", timeout_s=0.1) as log:
        await log.ended()
    assert log.error.startswith("No connection to upstream.invalid:80 within 0.1 s.")


async def test_a_secret_is_in_no_log_and_no_error(tcp: Tcp, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with tcp.peer(tcp.sends(tcp.close_frame(1000))) as address:
        async with tcp.dialled(f"ws://{address}", ("x-api-key", "SECRET")) as log:
            await log.ended()
        async with tcp.dialled(f"ws://{address}", ("x-api-key", "SECRET\n")) as log:
            await log.ended()
    assert "x-api-key" in log.error and "SECRET" not in log.error
    assert "SECRET" not in caplog.text and "SECRET" not in repr(log.connection)


async def test_tls_with_a_known_ca_opens_names_the_host_and_carries_everything(
    tcp: Tcp, certificate: tuple[Path, Path], server_tls: ssl.SSLContext
) -> None:
    names: list[str | None] = []
    server_tls.sni_callback = lambda _socket, name, _context: names.append(name)
    payloads = [b"m" * size for size in (0, 1, 40_000, 300_000)] * 3
    stream = b"".join(tcp.frame(TEXT, payload) for payload in payloads) + tcp.close_frame(1001, "bye")
    async with tcp.peer(tcp.sends(stream), server_tls) as address:
        url = f"wss://localhost:{address.split(':')[1]}"
        async with tcp.dialled(url, tls=ssl.create_default_context(cafile=certificate[0])) as log:
            assert await log.ended() == ("closed", 1001, "bye", False)
    assert log.payloads == payloads
    assert names == ["localhost"]


async def test_a_certificate_nobody_vouches_for_fails_and_says_so(tcp: Tcp, server_tls: ssl.SSLContext) -> None:
    async with tcp.peer(tcp.sends(b""), server_tls) as address, tcp.dialled(f"wss://{address}") as log:
        await log.ended()
    assert "certificate" in log.error and "self-signed" in log.error


async def test_a_certificate_of_another_name_fails_and_says_so(
    tcp: Tcp, certificate: tuple[Path, Path], server_tls: ssl.SSLContext
) -> None:
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with tcp.peer(tcp.sends(b""), server_tls) as address, tcp.dialled(f"wss://{address}", tls=trusting) as log:
        await log.ended()
    assert "certificate" in log.error and "127.0.0.1" in log.error


async def test_tls_to_a_server_without_tls_fails(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with tcp.peer(handler) as address, tcp.dialled(f"wss://{address}") as log:
        await log.ended()
    assert log.error.startswith(f"TLS with {address} failed") and "ws or wss" in log.error


async def test_tls_cut_off_without_a_close_frame_is_1006_and_keeps_what_came(
    tcp: Tcp, certificate: tuple[Path, Path], server_tls: ssl.SSLContext
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"before the cut"))
        await writer.drain()
        writer.transport.abort()

    async with tcp.peer(handler, server_tls) as address:
        url = f"wss://localhost:{address.split(':')[1]}"
        async with tcp.dialled(url, tls=ssl.create_default_context(cafile=certificate[0])) as log:
            end = await log.ended()
    assert end[:2] == ("closed", 1006) and end[2] and end[3] is False
    assert log.payloads == [b"before the cut"]
