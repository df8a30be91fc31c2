from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from recorder.clock import Clock
from recorder.drill.proxy import LOOPBACK, Proxy

PATIENCE_S = 20


@dataclass
class Upstream:
    """Sends back what it gets, and remembers how each connection ended."""

    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            self.ends.append("closed")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    server = await asyncio.start_server(made.serve, LOOPBACK, 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for writer in made.writers:
        writer.transport.abort()


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[Proxy]:
    async with Proxy(upstream.port, Clock()) as made:
        yield made


@contextlib.asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is known to go all the way."""
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    writer.write(b"hello")
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readexactly(5) == b"hello"
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - any condition, also of what has no event
            await asyncio.sleep(0.005)


async def test_a_healthy_proxy_brings_every_byte_and_the_end(upstream: Upstream, proxy: Proxy) -> None:
    sent = os.urandom(3 << 20)
    async with connected(proxy) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readexactly(len(sent)) == sent
        writer.write_eof()
        assert await reader.read() == b""
    await until(lambda: upstream.ends == ["closed"])
    assert len(proxy.taken_ns) == 1


async def test_reset_is_an_rst_to_both_sides(upstream: Upstream, proxy: Proxy) -> None:
    async with connected(proxy) as (reader, _):
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), PATIENCE_S)
    await until(lambda: upstream.ends == ["reset"])
    async with connected(proxy):
        pass  # and the next one is well


async def test_half_close_ends_one_direction_only(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.half_close()
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        writer.write(b"still")
        await writer.drain()


async def test_a_lost_connection_stays_lost_and_neither_side_hears_of_the_other(
    upstream: Upstream, proxy: Proxy
) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.vanish()
        async with contextlib.AsyncExitStack() as stack:
            late, later = await asyncio.open_connection(LOOPBACK, proxy.port)  # taken, and lost at once
            stack.callback(later.transport.abort)
            await until(lambda: len(proxy.taken_ns) == 2)
            later.write(b"anybody?")
            writer.write(b"anybody?")
            upstream.writers[0].write(b"anybody?")
            proxy.heal()
            async with connected(proxy):  # to the upstream and back, later than all of the above
                pass
            for quiet in (reader, late):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(quiet.read(1), 0.05)
            writer.transport.abort()
    async with connected(proxy):
        pass
    assert upstream.ends.count("closed") + upstream.ends.count("reset") <= 2, "the lost one is still open up there"
    assert not upstream.writers[0].is_closing()


async def test_a_syn_that_nobody_answers_is_answered_once_healed(proxy: Proxy) -> None:
    proxy.vanish(answering=False)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.open_connection(LOOPBACK, proxy.port), 0.3)
    assert not proxy.taken_ns
    proxy.heal()
    async with connected(proxy):
        assert len(proxy.taken_ns) == 1


async def test_refused_is_the_kernels_refusal_and_the_port_stays_the_same(proxy: Proxy) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
    proxy.heal()
    assert proxy.port == port
    async with connected(proxy):
        pass


async def test_fragments_and_one_late_piece_have_the_same_bytes(proxy: Proxy) -> None:
    text = bytes(range(256))
    async with connected(proxy) as (reader, writer):
        proxy.fragment(3)
        writer.write(text)
        pieces: list[bytes] = []
        while sum(len(piece) for piece in pieces) < len(text):
            pieces.append(await asyncio.wait_for(reader.read(1 << 16), PATIENCE_S))
        assert b"".join(pieces) == text
        assert len(pieces) > 10
        proxy.heal()
        proxy.coalesce(0.3)
        for at in range(0, 256, 32):
            writer.write(text[at : at + 32])
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(reader.read(1 << 16), PATIENCE_S) == text


async def test_a_trickle_holds_the_rest_back_and_loses_none_of_it(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.throttle(1000)
        writer.write(bytes(100_000))
        first = await asyncio.wait_for(reader.read(1 << 20), PATIENCE_S)
        assert len(first) <= 1000
        proxy.heal()
        async with asyncio.timeout(PATIENCE_S):
            await reader.readexactly(100_000 - len(first))


async def test_nothing_of_a_proxy_is_left_on_its_port(upstream: Upstream) -> None:
    async with Proxy(upstream.port, Clock()) as proxy, connected(proxy):
        port = proxy.port
    with socket.socket() as probe:
        assert probe.connect_ex((LOOPBACK, port)) == errno.ECONNREFUSED
