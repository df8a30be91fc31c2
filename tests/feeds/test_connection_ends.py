"""However a connection ends, it is told once, with its true code, and no message before the end is lost."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame as WireFrame
from websockets.frames import Opcode

from recorder.feeds import connection as connection_module

if TYPE_CHECKING:
    from tests.feeds.conftest import Tcp

BYTES_MAX = 1 << 20  # as Tcp.dialled has it
PATIENCE_S = 20.0
TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, CLOSE = Opcode.PING, Opcode.CLOSE


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 4000, 4999])
async def test_the_servers_code_and_reason_are_told_and_echoed(tcp: Tcp, code: int) -> None:
    echoes: list[tuple[Opcode, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"last") + tcp.close_frame(code, "why not"))
        echoes.extend(tcp.sent_by_us(await reader.readexactly(6 + 2 + 7)))

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", code, "why not", False)
        await log.until(lambda: echoes)
    assert log.payloads == [b"last"]
    assert echoes == [(CLOSE, struct.pack("!H", code) + b"why not")]


async def test_a_close_frame_without_a_code_is_1005(tcp: Tcp) -> None:
    async with tcp.peer(tcp.sends(tcp.frame(CLOSE))) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", 1005, "", False)


async def test_a_close_frame_cut_at_any_byte_is_1006_unless_it_is_whole(tcp: Tcp) -> None:
    whole = tcp.close_frame(1001, "bye")
    for cut in range(len(whole) + 1):

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int = cut) -> None:
            await tcp.greeted(reader, writer)
            writer.write(tcp.frame(TEXT, b"kept") + whole[:cut])

        async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
            end = await log.ended()
        assert log.payloads == [b"kept"]
        if cut == len(whole):
            assert end == ("closed", 1001, "bye", False)
        else:
            assert end == ("closed", 1006, "the peer ended TCP without a close frame", False)


async def test_half_a_close_of_tcp_is_an_end(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"kept"))
        writer.write_eof()
        assert await reader.read() == b""

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert (await log.ended())[:2] == ("closed", 1006)
    assert log.payloads == [b"kept"]


async def test_a_reset_is_1006_with_its_cause_and_keeps_what_came(tcp: Tcp) -> None:
    received = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"kept"))
        await received.wait()
        linger_none = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
        writer.transport.abort()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        log.on_received = received.set
        end = await log.ended()
    assert end[:2] == ("closed", 1006) and "reset" in str(end[2]) and end[3] is False
    assert log.payloads == [b"kept"]


@pytest.mark.parametrize(
    ("violation", "code"),
    [
        (WireFrame(TEXT, b"masked").serialize(mask=True), 1002),
        (b"\x83\x00", 1002),
        (b"\xc1\x02\xff\xff", 1002),
        (b"\x82\x7f" + struct.pack("!Q", BYTES_MAX + 1), 1009),
    ],
    ids=["masked", "unknown opcode", "reserved bit", "too long"],
)
async def test_a_violation_is_closed_by_us_told_to_both_sides_and_costs_no_neighbour(
    tcp: Tcp, violation: bytes, code: int
) -> None:
    told: list[tuple[Opcode, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.frame(TEXT, b"neighbour") + violation)
        first = await reader.readexactly(2)
        told.extend(tcp.sent_by_us(first + await reader.readexactly(4 + (first[1] & 0x7F))))

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        end = await log.ended()
        await log.until(lambda: told)
    assert end[:2] == ("closed", code) and end[3] is True
    if code == 1009:
        assert end[2] == f"frame with {BYTES_MAX + 1} bytes exceeds limit of {BYTES_MAX} bytes"
    assert log.payloads == [b"neighbour"]
    assert told[0][0] is CLOSE and told[0][1][:2] == struct.pack("!H", code)


async def test_a_decompression_bomb_is_1009(tcp: Tcp) -> None:
    async def handler(websocket: ServerConnection) -> None:
        await websocket.send(b"0" * (BYTES_MAX + 1))
        await websocket.wait_closed()
        assert websocket.close_code == 1009

    async with serve(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with tcp.dialled(f"ws://127.0.0.1:{port}") as log:
            end = await log.ended()
    assert end[:2] == ("closed", 1009) and end[3] is True and not log.batches


async def test_hanging_up_delivers_what_comes_before_the_peers_close(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        assert tcp.sent_by_us(await reader.readexactly(26)) == [
            (CLOSE, struct.pack("!H", 4000) + b"Proactive rotation")
        ]
        writer.write(tcp.frame(TEXT, b"on its way"))
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(tcp.frame(TEXT, b"the last") + tcp.close_frame(4000))

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        log.on_opened = lambda: log.connection.hang_up(4000, "Proactive rotation")
        assert await log.ended() == ("closed", 4000, "Proactive rotation", True)
    assert log.payloads == [b"on its way", b"the last"]


async def test_a_peer_that_does_not_answer_a_close_is_cut(tcp: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANG_UP_S", 0.05)
    async with tcp.peer(tcp.sends(b"")) as address, tcp.dialled(f"ws://{address}") as log:
        log.on_opened = lambda: log.connection.hang_up(1000, "")
        end = await log.ended()
    assert end == ("closed", 1006, "cut by us: no close frame in answer to ours within 0.05 s", True)


async def test_a_peer_that_keeps_tcp_after_its_close_is_left(tcp: Tcp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "HANG_UP_S", 0.05)
    left = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        writer.write(tcp.close_frame(1001))
        await reader.read()
        left.set()

    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        assert await log.ended() == ("closed", 1001, "", False)
        await left.wait()


async def test_abort_ends_it_whatever_its_state(tcp: Tcp) -> None:
    async def never_greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        asked.set()
        await reader.read()

    asked = asyncio.Event()
    async with tcp.peer(never_greets) as address:
        async with tcp.dialled(f"ws://{address}") as log:
            log.connection.abort()  # before its task has even begun
            await log.ended()
        assert "given up before it was open" in log.error
        async with tcp.dialled(f"ws://{address}") as log:
            await asked.wait()
            log.connection.hang_up(1000, "")
            await log.ended()
        assert "given up before it was open" in log.error
    async with tcp.peer(tcp.sends(b"")) as address, tcp.dialled(f"ws://{address}") as log:
        log.on_opened = log.connection.abort
        assert await log.ended() == ("closed", 1006, "cut by us", True)


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded(tcp: Tcp) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp.greeted(reader, writer)
        await done.wait()

    done = asyncio.Event()
    async with tcp.peer(handler) as address, tcp.dialled(f"ws://{address}") as log:
        await log.until(lambda: log.opened_ms)
        for _ in range(1000):
            log.connection.send("x" * 65_536)
        end = await log.ended()
        done.set()
    assert end[:2] == ("closed", 1006) and "did not take" in str(end[2]) and end[3] is True
