"""An open connection against a real server, and against peers that cut the bytes as they like; and paused."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Opcode

from recorder.feeds import connection as connection_module
from recorder.feeds.feed import Frame

if TYPE_CHECKING:
    from tests.feeds.conftest import Tcp

BYTES_MAX = 1 << 20  # as Tcp.dialled has it
PATIENCE_S = 20.0
TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, CLOSE = Opcode.PING, Opcode.CLOSE


async def test_a_real_server_is_spoken_to_both_ways_with_compression(tcp: Tcp) -> None:
    async def handler(websocket: ServerConnection) -> None:
        asked = await websocket.recv()
        assert websocket.protocol.extensions
        await websocket.send(f"you said {asked!r}")
        await websocket.send(b"\x00binary")
        await websocket.send(["in ", "three ", "fragments"])
        await websocket.send("")
        await websocket.close(1001, "Going away")

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with tcp.dialled(f"ws://127.0.0.1:{port}/") as log:
            log.on_opened = lambda: log.connection.send("hällo")
            assert await log.ended() == ("closed", 1001, "Going away", False)
    assert log.frames == [
        Frame("you said 'hällo'".encode()),
        Frame(b"\x00binary", is_text=False),
        Frame(b"in three fragments"),
        Frame(b""),
    ]
    assert log.opened_ms is not None and 0 < log.opened_ms < PATIENCE_S * 1000


async def test_header_names_and_the_offer_are_on_the_wire_as_the_official_client_sends_them(tcp: Tcp) -> None:
    heads: list[bytes] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await tcp.greeted(reader, writer))

    headers = ("x-api-key", "KEY"), ("x-client-version", "python/finlight-client@2.4.0"), ("X-Odd-cAsE", "1")
    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}/raw?session=7", *headers) as log:
        await log.ended()
    lines = heads[0].split(b"\r\n")
    assert lines[0] == b"GET /raw?session=7 HTTP/1.1"
    assert b"Host: " + address.encode() in lines
    assert b"x-api-key: KEY" in lines
    assert b"x-client-version: python/finlight-client@2.4.0" in lines
    assert b"X-Odd-cAsE: 1" in lines
    assert b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits" in lines


async def test_ten_thousand_small_frames_in_one_write_come_in_few_batches_in_order(tcp: Tcp) -> None:
    payloads = [str(number).encode() for number in range(10_000)]
    stream = b"".join(tcp.frame(TEXT, payload) for payload in payloads)
    async with tcp.peer(tcp.sends(stream)) as address, tcp.dialled(f"ws://{address}") as log:
        await log.until(lambda: len(log.frames) == len(payloads))
    assert log.payloads == payloads
    assert len(log.batches) < 100
    moments = [moment.monotonic_ns for _, moment in log.batches]
    assert moments == sorted(set(moments))


async def test_frames_in_the_segment_of_the_handshake_come_after_opened(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer, tcp.frame(TEXT, b"at once") + tcp.close_frame(1000))
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", 1000, "", False)
    assert log.payloads == [b"at once"]


async def test_a_stream_that_comes_a_byte_at_a_time_is_whole(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        for byte in tcp.frame(TEXT, b"slow") + tcp.frame(TEXT, b"s" * 200) + tcp.close_frame(1012, "restart"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", 1012, "restart", False)
    assert log.payloads == [b"slow", b"s" * 200]


async def test_a_mebibyte_in_fragments_between_pings_is_joined_and_the_pings_are_answered(tcp: Tcp) -> None:
    message = bytes(range(256)) * 4096
    pieces = [message[at : at + 32_768] for at in range(0, len(message), 32_768)]
    stream = b""
    for number, piece in enumerate(pieces):
        stream += tcp.frame(PING, str(number).encode())
        stream += tcp.frame(CONT if number else BINARY, piece, fin=number == len(pieces) - 1)
    answers: list[tuple[Opcode, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(stream + tcp.close_frame(1000))
        pongs = sum(2 + 4 + len(str(number)) for number in range(len(pieces)))
        answers.extend(tcp.sent_by_us(await reader.readexactly(pongs)))

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", 1000, "", False)
        await log.until(lambda: answers)
    assert log.frames == [Frame(message, is_text=False)]
    assert answers == [(Opcode.PONG, str(number).encode()) for number in range(len(pieces))]


async def test_text_that_is_no_utf8_is_handed_over_as_it_came(tcp: Tcp) -> None:
    stream = tcp.frame(TEXT, b"\xff\xfe") + tcp.frame(TEXT, b"next")
    async with tcp.peer(tcp.sends(stream)) as address, tcp.dialled(f"ws://{address}") as log:
        await log.until(lambda: len(log.frames) == 2)
    assert log.frames == [Frame(b"\xff\xfe"), Frame(b"next")]


async def test_nothing_waits_for_nagle(tcp: Tcp) -> None:
    async with tcp.peer(tcp.sends(b"")) as address, tcp.dialled(f"ws://{address}") as log:
        await log.until(lambda: log.opened_ms)
        transport = log.connection._transport
        assert transport and transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_silence_is_broken_by_pings_and_no_pong_means_nothing(tcp: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PING_S", 0.02)
    pinged = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        received = b""
        while len(tcp.sent_by_us(received)) < 4:
            received += await reader.readexactly(6)  # an empty masked frame
        assert tcp.sent_by_us(received) == [(PING, b"")] * 4
        pinged.set()
        writer.write(tcp.frame(TEXT, b"still here"))
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        await pinged.wait()
        await log.until(lambda: log.frames)
        assert log.end is None


async def test_paused_reads_nothing_and_what_was_held_back_comes_after_with_the_close(tcp: Tcp) -> None:
    opened, sent = asyncio.Event(), asyncio.Event()
    payloads = [str(number).encode() * 100 for number in range(200)]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        await opened.wait()
        writer.write(
            b"".join(tcp.frame(TEXT, payload) for payload in payloads) + tcp.close_frame(1001, "closed while paused")
        )
        await writer.drain()
        sent.set()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        log.connection.pause()  # before it is open: holds from then on
        log.on_opened = opened.set
        await sent.wait()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not log.batches and log.end is None
        log.connection.resume()
        assert await log.ended() == ("closed", 1001, "closed while paused", False)
    assert log.payloads == payloads


async def test_paused_under_tls_loses_nothing_of_a_peer_that_closes_meanwhile(
    tcp: Tcp, certificate: tuple[Path, Path], server_tls: ssl.SSLContext
) -> None:
    opened, closed = asyncio.Event(), asyncio.Event()
    payloads = [str(number).encode() * 100 for number in range(1000)]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        await opened.wait()
        writer.write(b"".join(tcp.frame(TEXT, payload) for payload in payloads) + tcp.close_frame(1001))
        writer.close()
        closed.set()

    trusting = ssl.create_default_context(cafile=certificate[0])
    async with tcp.peer(handler, server_tls) as address:
        url = f"wss://localhost:{address.split(':')[1]}"
        async with tcp.dialled(url, tls=trusting) as log:
            log.connection.pause()
            log.on_opened = opened.set
            await closed.wait()
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert not log.batches and log.end is None
            log.connection.resume()
            assert await log.ended() == ("closed", 1001, "", False)
    assert log.payloads == payloads


async def test_pausing_within_a_batch_still_delivers_that_batch_and_no_more(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"a") + tcp.frame(TEXT, b"b"))
        await paused.wait()
        writer.write(tcp.frame(TEXT, b"c"))
        await reader.read()

    paused = asyncio.Event()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:

        def pause() -> None:
            log.connection.pause()
            paused.set()

        log.on_received = pause
        await paused.wait()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert log.payloads == [b"a", b"b"]
        log.on_received = lambda: None
        log.connection.resume()
        await log.until(lambda: log.payloads == [b"a", b"b", b"c"])


async def test_hanging_up_while_paused_waits_for_what_is_unread(tcp: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANG_UP_S", 0.02)
    answered = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        await reader.readexactly(8)
        writer.write(tcp.frame(TEXT, b"unread") + tcp.close_frame(1000))
        await writer.drain()
        answered.set()
        await reader.read()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        log.connection.pause()
        log.on_opened = lambda: log.connection.hang_up(1000, "")
        await answered.wait()
        await asyncio.sleep(0.1)  # several times HANG_UP_S
        assert log.end is None
        log.connection.resume()
        assert await log.ended() == ("closed", 1000, "", True)
    assert log.payloads == [b"unread"]


async def test_a_write_to_a_peer_that_is_gone_loses_nothing_that_is_unread(tcp: Tcp) -> None:
    opened, gone = asyncio.Event(), asyncio.Event()
    payloads = [str(number).encode() * 100 for number in range(200)]

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        await opened.wait()
        writer.write(b"".join(tcp.frame(TEXT, payload) for payload in payloads))
        await writer.drain()
        writer.transport.close()
        gone.set()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        log.connection.pause()
        log.on_opened = opened.set
        await gone.wait()
        async with asyncio.timeout(PATIENCE_S):
            while log.end is None:
                log.connection.send("anyone there?")
                await asyncio.sleep(0.001)
    assert log.end and log.end[:2] == ("closed", 1006)
    assert log.payloads == payloads
