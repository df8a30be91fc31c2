"""Clients that mean ill or are out of luck: the server survives and counts them, and nobody beside them notices."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import random
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request

from recorder.clock import MS_NS, SECOND_NS, Clock, Moment
from recorder.errors import RequestInvalid
from recorder.journal.group import GroupBuilder
from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay import answers, facts
from recorder.replay.moments import iso
from recorder.replay.native import Native
from recorder.replay.port.gate import Gate
from recorder.replay.port.pages import pages
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.replay.wire import parse_query
from recorder.settings import Replay

START_NS = 1_769_860_800 * SECOND_NS
LAST, BULK = 400, 200
TOKEN = "0123456789abcdef"
LIMITS = Replay(
    handshake_timeout_s=1.0, idle_s=1.0, grace_s=1.0, messages_per_s_max=50, listener_buffer_bytes_max=1 << 16
)
LANES = 16  # connections at a time that are waited for rather than hurried
NONSENSE = settings(
    deadline=None, max_examples=4_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def message(position: int, size: int = 0) -> Message:
    """One each 2 ms, news at every third position."""
    stream = Stream("news", "finlight") if position % 3 == 0 else Stream("quotes", "finance_query.quotes")
    payload = b'{"n":%d,"x":"%s"}' % (position, b"x" * size)
    return Message(position, stream, Kind.DATA, Mark.NONE, START_NS + position * 2 * MS_NS, position, 1, payload)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Behind LAST more than all the kernel's buffers and ours hold."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    folder.mkdir()
    with closing(Store.open(folder)) as store:
        for first in range(1, LAST + BULK + 1, 20):
            builder = GroupBuilder(first)
            for position in range(first, first + 20):
                m = message(position, 0 if position <= LAST else 200_000)
                builder.add(m.stream, m.kind, m.connection, [m.payload], m.mark, Moment(m.received_ns, m.monotonic_ns))
            store.append(builder.pack(), first, first + 19, *builder.received_ns)
    return folder


# --- without a socket ---------------------------------------------------------------------------------------------

# Half of what is tried is nearly right, which gets further than noise.
POINTS = st.one_of(
    st.integers(-5, LAST + 5).map("@{}".format),
    st.integers(START_NS - SECOND_NS, START_NS + 2 * SECOND_NS).map(str),
    st.integers(START_NS - SECOND_NS, START_NS + 2 * SECOND_NS).map(iso),
    st.sampled_from(["start", "live", "2026-01-31", "2026-01-31T12:00:00 01:00", "@", "1e9", ""]),
)
RIGHT: dict[str, st.SearchStrategy[str]] = {
    "from": POINTS,
    "to": POINTS,
    "feeds": st.lists(st.sampled_from(["news", "quotes", "nwes", ""]), max_size=3).map(",".join),
    "kinds": st.lists(st.sampled_from(["data", "reply", "lifecycle", "all"]), max_size=3).map(",".join),
    "symbols": st.text("AB^=.,-", max_size=8),
    "speed": st.one_of(st.floats().map(str), st.sampled_from(["max", "1", "0", "1e6"])),
    "max_idle": st.from_regex(r"-?[0-9]{1,13}(\.[0-9]{1,10})?(ms|s|m|h|d)?", fullmatch=True),
    "loop": st.sampled_from(["true", "1", "yes"]),
    "paused": st.sampled_from(["false", "0", "TRUE"]),
    "format": st.sampled_from(["json", "arrow", "xml"]),
    "session": st.text(max_size=70),
    "on_gap": st.sampled_from(["mark", "skip", "stop", ""]),
}
WRONG = st.one_of(
    st.text(max_size=40), st.sampled_from(["nan", "-0", "9" * 400, "²", "\ud800", "\0", "%00", "@" + "9" * 30])
)
QUERIES = st.lists(
    st.sampled_from([*RIGHT, "token", "frmo"]).flatmap(
        lambda name: st.tuples(st.just(name), RIGHT.get(name, WRONG) | WRONG)
    ),
    max_size=6,
).map(dict)


@pytest.mark.slow
def test_any_query_is_a_plan_or_a_refusal_that_can_be_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sessions = Sessions(Timeline(data), Clock(), Replay())
    tried = planned = 0

    @NONSENSE
    @given(QUERIES)
    @example({"from": "@" + str((1 << 63) - 1), "to": "9" * 19})
    @example({"from": "0", "to": "1"})
    @example({"feeds": ",".join(map(str, range(2000)))})
    def one(query: dict[str, str]) -> None:
        nonlocal tried, planned
        tried += 1
        try:
            plan = sessions._plan(parse_query(query))
        except RequestInvalid as refused:
            assert orjson.loads(answers.error_text(refused))["error"]["possible"]
        else:
            planned += 1
            assert 1 <= plan.start.position <= LAST + BULK + 1

    one()
    with capsys.disabled():
        print(f" [{tried} queries, {planned} of them playable]", end="")
    assert tried >= 4_000
    assert planned >= 400


@pytest.mark.slow
def test_any_request_line_is_a_handshake_or_a_sentence(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tried = 0

    @NONSENSE
    @given(
        st.one_of(
            st.text(st.characters(max_codepoint=255), max_size=80),
            st.from_regex(r"/{0,3}(session/?[a-z%0-9/\[\]]*)?(/replay)?(\?[a-z=&%0-9;+\[\]@:]*)?", fullmatch=True),
        )
    )
    @example("/replay?" + "a=b&" * 5000)
    @example("/session/" + "%" * 5000)
    @example("//[/replay")
    @example("http://[::1/replay")
    @example("/session/%ff%fe/replay")
    def one(path: str) -> None:
        nonlocal tried
        tried += 1
        server = Server({})
        with contextlib.suppress(ValueError):  # answered with 400
            handshake = server._handshake(_Nobody(), Request(path, Headers([("Upgrade", "websocket")])))  # type: ignore[arg-type]
            Gate(TOKEN, ["https://example.com"])(handshake)

    one()
    with capsys.disabled():
        print(f" [{tried} request lines]", end="")
    assert tried >= 4_000


class _Nobody:
    remote_address = None


@pytest.mark.slow
async def test_whatever_was_asked_before_it_plays_what_it_is_asked_for_then(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 connections with up to 30 operations at once, and then: seek to the start, resume, at full speed."""
    dice = random.Random(7)
    sessions = Sessions(Timeline(data), Clock(), Replay(messages_per_s_max=100_000))
    lanes = asyncio.Semaphore(LANES)
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(110):

        async def one(some: list[dict[str, Any]]) -> bool:
            async with lanes:
                return await _plays_all_then(server, some)

        tried = [_some_operations(dice) for _ in range(200)]
        whole = await asyncio.gather(*map(one, tried))
        await until(lambda: not sessions.all)
    with capsys.disabled():
        print(f" [{sum(map(len, tried))} operations]", end="")
    assert sum(map(len, tried)) >= 2_000
    assert sum(whole) >= 100


async def _plays_all_then(server: Server, some: list[dict[str, Any]]) -> bool:
    """Whether it still played behind those operations: then it played everything."""
    last = ({"op": "pause"}, {"op": "seek", "to": "start"}, {"op": "speed", "speed": "max"})
    async with connect(f"{server.url}/replay?paused=true&to=@{LAST + 1}", compression=None) as client:
        for each in (*some, *last):
            await client.send(json.dumps(each))
        await client.send('{"op":"resume","request_id":"the last"}')
        positions: list[int] | None = None
        with contextlib.suppress(ConnectionClosed):
            while True:
                told = orjson.loads(await client.recv())
                if told.get("state", {}).get("request_id") == "the last":
                    positions = []
                elif "position" in told and positions is not None:
                    positions.append(told["position"])
    assert positions in (None, list(range(1, LAST + 1))), some
    return positions is not None


def _some_operations(dice: random.Random) -> list[dict[str, Any]]:
    kinds: list[Callable[[], dict[str, Any]]] = [
        lambda: {"op": dice.choice(["pause", "resume", "state", "step"])},
        lambda: {"op": "step", "messages": dice.randrange(1, 50)},
        lambda: {"op": "step", "duration": round(dice.random() / 5, 3)},
        lambda: {"op": "speed", "speed": dice.choice([0.01, 1, 50, 1000, 1e6, "max"])},
        lambda: {"op": "seek", "to": f"@{dice.randrange(1, LAST)}"},
        lambda: {"op": "seek", "by": round(4 * dice.random() - 2, 3)},
        lambda: {"op": "seek", "to": dice.choice(["start", "@0", "@999999", "x", 5, None])},
    ]
    return [dice.choice(kinds)() for _ in range(dice.randrange(30))]


# --- a siege ------------------------------------------------------------------------------------------------------

Act = Callable[[Server], Awaitable[None]]


@dataclass(frozen=True)
class Standing:
    """What a process holds."""

    descriptors: int
    tasks: int

    @classmethod
    def now(cls) -> Standing:
        gc.collect()
        return cls(len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks()))


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody is told when these things happen inside
        await asyncio.sleep(0.01)


async def well_behaved(server: Server) -> str:
    """Listens at the recorded pace; the digest of what it was sent, which it checks."""
    async with connect(f"{server.url}/replay?token={TOKEN}&to=@{LAST + 1}", compression=None) as client:
        texts = [str(text) async for text in client]
    assert [orjson.loads(text)["position"] for text in texts if text.startswith('{"position"')] == [*range(1, LAST + 1)]
    digest: str = orjson.loads(texts[-1])["end"]["digest"]
    return digest


async def siege(data: Path, *acts: Act, limits: Replay = LIMITS) -> dict[str, Any]:
    """All of them at once, with a well-behaved listener beside them all the time. Returns what `/status` says then."""
    sessions = Sessions(Timeline(data), Clock(), limits)
    server = Server(
        {"/replay": Native(sessions)},
        gate=Gate(TOKEN, ["https://charts.example.com"]),
        clients_max=limits.listeners_max,
        message_bytes_max=limits.message_bytes_max,
        handshake_timeout_s=limits.handshake_timeout_s,
    )
    server.add(pages(lambda: facts.of(sessions, server)))
    async with server, asyncio.timeout(100):
        digests = {await well_behaved(server)}
        before = Standing.now()
        acting = asyncio.gather(*(act(server) for act in acts))
        while not acting.done():
            digests.add(await well_behaved(server))
        await acting
        await until(lambda: not sessions.all and not server.clients)
        await until(lambda: (now := Standing.now()).descriptors <= before.descriptors and now.tasks <= before.tasks)
        assert len(digests) == 1
        told: dict[str, Any] = orjson.loads(await _get(server, f"/status?token={TOKEN}"))["replay"]
        assert told["sessions"] == []
        assert told["clients"] == 0
        return told


async def _get(server: Server, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(server.address, server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def tcp(server: Server, *, said: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.address, server.port, limit=1 << 24)
    with contextlib.suppress(ConnectionError):
        writer.write(said)
        yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def handshake(query: str = f"paused=true&to=@{LAST + 1}") -> bytes:
    return (
        f"GET /replay?token={TOKEN}&{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = True, size: int | None = None) -> bytes:
    """As a client sends it, or as it should not."""
    size = len(payload) if size is None else size
    mask = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", fin << 7 | opcode, mask | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", fin << 7 | opcode, mask | 126, size)
    else:
        head = struct.pack("!BBQ", fin << 7 | opcode, mask | 127, size)
    return head + (bytes(4) if masked else b"") + payload


async def gone(reader: asyncio.StreamReader) -> None:
    """Until the server has hung up."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(1 << 20):
            pass


def tls_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


NO_HANDSHAKES = [
    *(random.Random(seed).randbytes(10 ** (seed % 7)) for seed in range(28)),
    tls_hello(),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /replay HTTP/1.0\r\n\r\n",
    b"POST /replay HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
    b"GET /replay HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    b"GET \x00 HTTP/1.1\r\n\r\n",
    b"\r\n" * 100_000,
    b"\n",
]


async def no_handshakes(server: Server) -> None:
    async def one(said: bytes) -> None:
        async with tcp(server, said=said) as (reader, _):
            await gone(reader)

    await asyncio.gather(*map(one, NO_HANDSHAKES))


async def unfinished_handshakes(server: Server) -> None:
    """Nothing, a half, and one that comes a byte at a time."""

    async def slowly() -> None:
        async with tcp(server) as (_, writer):
            for byte in handshake():
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0.02)

    async def half(said: bytes) -> None:
        async with tcp(server, said=said) as (reader, _):
            await gone(reader)

    await asyncio.gather(*(half(handshake()[:at]) for at in range(0, 100, 5)), *(slowly() for _ in range(5)))


async def a_thousand_that_ask_nothing(server: Server) -> None:
    for _ in range(10):
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(100):
                await stack.enter_async_context(tcp(server))


JUNK = [
    frame(b"{}", masked=False),
    frame(b"", size=1 << 62),
    frame(b"x" * 200_000),
    frame(b"x" * 100_000, fin=False) + frame(b"x" * 100_000, 0),
    frame(b"", fin=False) + frame(b"", 0, fin=False) * 5_000,
    frame(b"", 0),
    frame(b"a", fin=False) + frame(b"b"),
    frame(b"\xff\xfe"),
    frame(b"x", 3),
    frame(b"x", 0xB),
    frame(b"x" * 126, 9),
    frame(b"x", 9, fin=False),
    frame(b"x", 8),
    frame(b"\x03\xe8\xff", 8),
    frame(b"\x00\x00", 8),
    bytes((0xF1, 0x80, 0, 0, 0, 0)),
    *(b"\x00" + random.Random(seed).randbytes(3000) for seed in range(20)),
]


async def junk_frames(server: Server) -> None:
    for said in JUNK:
        async with tcp(server, said=handshake()) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            with contextlib.suppress(OSError):
                writer.write_eof()  # or some of it would be a frame that is still to be finished
            await gone(reader)


async def nonsense_that_is_well_formed(server: Server) -> None:
    """Each is an error, and the conversation goes on."""
    texts = ["[" * 100_000, '{"op":' * 20_000, "{", "", '"', "null", "[]", '{"op":"pause","x":1}', "\0", "1e999"]
    async with connect(f"{server.url}/replay?token={TOKEN}&paused=true") as client:
        said: list[str | bytes] = [*texts, b"\x00" * 100_000]
        for text in said:
            await client.send(text)
            while "error" not in (told := orjson.loads(await client.recv())):
                assert "state" in told
            await asyncio.sleep(0.03)


async def floods(server: Server) -> None:
    """Operations, pings and pongs, read and not read."""
    for said in (frame(b'{"op":"state"}'), frame(b'{"op":"seek","by":1}'), frame(b"x" * 125, 9), frame(b"", 10)):
        for reads in (True, False):
            async with tcp(server, said=handshake()) as (reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                hung_up = asyncio.create_task(gone(reader)) if reads else None
                with contextlib.suppress(ConnectionError):
                    for _ in range(2_000):
                        if writer.is_closing():
                            break
                        writer.write(said * 10)
                        await writer.drain()
                await (hung_up or gone(reader))


async def some_that_read_nothing(server: Server) -> None:
    """All there is again and again, until they are cut."""
    async with contextlib.AsyncExitStack() as stack:
        for query in ("speed=max", "speed=max&format=arrow", "speed=max&session=slow&loop=true"):
            peer = stack.enter_context(sockets.create_connection((server.address, server.port)))
            peer.sendall(handshake(query))
        await until(lambda: len(server.places["/replay"].clients) >= 3)  # type: ignore[attr-defined]
        await until(lambda: len(server.places["/replay"].clients) <= 1)  # type: ignore[attr-defined]


async def half_closed_and_reset(server: Server) -> None:
    for query in ("paused=true", "speed=max", "speed=max&loop=true", "session=left"):
        async with tcp(server, said=handshake(query)) as (reader, writer):
            writer.write_eof()
            await gone(reader)
        async with tcp(server, said=handshake(query)) as (reader, writer):
            await reader.readline()
            writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        async with tcp(server, said=handshake(query)) as (_, writer):
            writer.transport.abort()
    async with tcp(server) as (reader, writer):
        writer.write_eof()
        await gone(reader)


async def two_hundred_in_a_row(server: Server) -> None:
    for number in range(200):
        async with connect(f"{server.url}/replay?token={TOKEN}&speed=max&to=@{LAST + 1}") as client:
            if number % 2:
                await client.recv()
            if number % 3 == 0:
                client.transport.abort()


async def strangers(server: Server) -> None:
    for query, origin in (
        ("", None),
        ("token=", None),
        (f"token={TOKEN}x", None),
        (f"token={TOKEN}", "https://evil.org"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.url}/replay?{query}", origin=origin)  # type: ignore[arg-type]
        assert refused.value.response.status_code == (403 if origin else 401)
    assert await _get(server, "/status") != b""


EVERYTHING: dict[Act, tuple[str, int]] = {
    no_handshakes: ("handshakes_failed_total", len(NO_HANDSHAKES) - 4),
    unfinished_handshakes: ("handshakes_failed_total", 25),
    a_thousand_that_ask_nothing: ("handshakes_failed_total", 1000),
    junk_frames: ("protocol_errors_total", len(JUNK) - 4),
    nonsense_that_is_well_formed: ("operations_refused_total", 11),
    floods: ("clients_flooding_total", 4),
    some_that_read_nothing: ("clients_cut_idle_total", 3),
    half_closed_and_reset: ("sessions_total", 5),
    two_hundred_in_a_row: ("sessions_total", 200),
    strangers: ("turned_away_total", 5),
}


@pytest.mark.slow
@pytest.mark.parametrize("act", EVERYTHING, ids=lambda act: act.__name__)
async def test_it_is_survived_counted_and_not_noticed_beside_it(data: Path, act: Act) -> None:
    name, at_least = EVERYTHING[act]
    told = await siege(data, act)
    assert told[name] >= at_least, told
    if act is floods:
        assert told["protocol_errors_total"] >= 4, told


@pytest.mark.slow
async def test_all_of_it_at_once(data: Path) -> None:
    told = await siege(data, *EVERYTHING)
    assert told["handshakes_failed_total"] >= 1000
