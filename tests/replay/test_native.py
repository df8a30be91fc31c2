"""The native endpoint as its clients see it: a real server on loopback, a real recording."""

from __future__ import annotations

import asyncio
import hashlib
import socket as sockets
import struct
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS, Clock
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.schema import MESSAGES_SCHEMA, MOMENT
from recorder.replay.moments import iso
from recorder.replay.native import Native
from recorder.replay.port.server import Server
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

Record = Callable[..., None]
Told = dict[str, Any]

START_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
QUOTES = Stream("quotes", "finance_query.quotes")
NEWS = Stream("news", "finlight")


def message(position: int, payload: bytes = b"", **other: Any) -> Message:
    """One each ten milliseconds, news at every third position."""
    stream = NEWS if position % 3 == 0 else QUOTES
    received_ns = START_NS + position * 10 * MS_NS
    made = Message(position, stream, Kind.DATA, Mark.NONE, received_ns, position, 1, payload or b'{"n":%d}' % position)
    return replace(made, **other)


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    """A hundred messages, sixty of them sealed."""
    record(tmp_path / "data", [message(position) for position in range(1, 101)], seals=(30, 60))
    return tmp_path / "data"


@asynccontextmanager
async def serving(data: Path, **limits: Any) -> AsyncIterator[Server]:
    sessions = Sessions(Timeline(data), Clock(), Replay(**limits))
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(30):
        yield server


async def until_closed(client: ClientConnection) -> list[Told]:
    told = []
    try:
        while True:
            if isinstance(frame := await client.recv(), str):
                told.append(orjson.loads(frame))
    except ConnectionClosed:
        return told


def as_read(data: Path) -> pa.Table:
    """What plain readers find."""
    table = pa.Table.from_batches(Timeline(data).batches(1))
    return table.set_column(1, "received_at", table["received_ns"].cast(MOMENT)).cast(MESSAGES_SCHEMA.remove_metadata())


async def play(server: Server, query: str) -> list[Told]:
    async with connect(f"{server.url}/replay?{query}", compression=None) as client:
        return await until_closed(client)


def messages(told: list[Told]) -> list[Told]:
    return [each for each in told if "position" in each]


def positions(told: list[Told]) -> list[int]:
    return [each["position"] for each in messages(told)]


async def the(client: ClientConnection, wanted: Callable[[Told], bool]) -> Told:
    """The next that is wanted, whatever comes before."""
    while True:
        told: Told = orjson.loads(await client.recv())
        if wanted(told):
            return told


async def asked(client: ClientConnection, **operation: Any) -> Told:
    """The answer to an operation."""
    await client.send(orjson.dumps({"request_id": "this", **operation}).decode())
    told = await the(client, lambda told: any(told.get(key, {}).get("request_id") for key in ("state", "error")))
    answer: Told = told.get("state", told)
    return answer


async def test_everything_comes_once_in_order_with_what_is_known_of_it(data: Path) -> None:
    async with serving(data) as server:
        told = await play(server, "speed=max")
    assert positions(told) == list(range(1, 101))
    assert messages(told)[2] == {
        "position": 3,
        "received_at": "2026-01-31T12:00:00.030000000Z",
        "feed": "news",
        "kind": "data",
        "channel": "",
        "connection": 1,
        "mark": None,
        "data": {"n": 3},
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from=@10&to=@13", [10, 11, 12]),
        (f"from={iso(START_NS + 100 * MS_NS)}&to={iso(START_NS + 130 * MS_NS)}", [10, 11, 12]),
        (f"from={START_NS + 100 * MS_NS}&to={(START_NS + 130 * MS_NS) // MS_NS}", [10, 11, 12]),
        ("from=2020-01-01&to=@3", [1, 2]),
        ("from=@98&to=2030-01-01", [98, 99, 100]),
        ("from=@55&to=@66&feeds=news", [57, 60, 63]),
        ("to=@8&feeds=news,quotes", [1, 2, 3, 4, 5, 6, 7]),
    ],
)
async def test_a_range_is_from_the_first_up_to_and_without_the_second(
    data: Path, query: str, expected: list[int]
) -> None:
    async with serving(data) as server:
        assert positions(await play(server, query + "&speed=max")) == expected


async def test_the_end_says_what_was_sent_and_the_digest_of_it(data: Path) -> None:
    async with serving(data) as server, connect(f"{server.url}/replay?from=@7&speed=max", compression=None) as client:
        texts = [str(text) async for text in client]
        assert client.close_code == 1000
    sent = [text for text in texts if text.startswith('{"position"')]
    end = orjson.loads(texts[-1])["end"]
    assert end["sent"] == {"messages": 94, "bytes": sum(map(len, sent)), "gaps": 0}
    assert end["digest"] == hashlib.blake2b("".join(sent).encode(), digest_size=16).hexdigest()


async def test_the_same_range_gives_the_same_bytes_at_any_speed_sealed_or_not(data: Path, record: Record) -> None:
    async def texts(query: str) -> list[str | bytes]:
        async with connect(f"{server.url}/replay?{query}", compression=None) as client:
            return [text async for text in client if str(text).startswith(('{"position"', '{"end"'))]

    async with serving(data) as server:
        before = await texts("from=@20&to=@90&speed=max")
        slower = await texts("from=@20&to=@90&speed=50")
        record(data, [], seals=(100,))
        sealed = await texts("from=@20&to=@90&speed=max")
    assert len(before) == 71
    assert before == slower == sealed


async def test_a_frame_that_is_no_json_comes_as_text_and_one_that_is_no_text_as_bytes(
    tmp_path: Path, record: Record
) -> None:
    payloads = ['{"a": 1 ,"b":"\u00e4"}'.encode(), b'say "hi"\n', b"\xff\x00", b'{"a":NaN}', b'"\\ud83d"', b"[" * 5000]
    record(tmp_path / "data", [message(n + 1, payload) for n, payload in enumerate(payloads)])
    async with serving(tmp_path / "data") as server, connect(f"{server.url}/replay?speed=max") as client:
        texts = [str(text) async for text in client if str(text).startswith('{"position"')]
    tails = [text.split('"mark":null,', 1)[1] for text in texts]
    assert tails[0] == '"data":{"a": 1 ,"b":"ä"}}'  # byte for byte
    assert orjson.loads("{" + tails[1])["text"] == 'say "hi"\n'
    assert tails[2] == '"bytes":"/wA="}'
    assert orjson.loads("{" + tails[3])["text"] == '{"a":NaN}'
    assert tails[4] == '"data":"\\ud83d"}'
    assert orjson.loads("{" + tails[5])["text"] == "[" * 5000


async def test_operations_are_answered_with_the_state_they_lead_to(data: Path) -> None:
    async with serving(data) as server, connect(f"{server.url}/replay?paused=true", compression=None) as client:
        state = await the(client, lambda told: told.get("state", {}).get("moment") is not None)
        assert state["state"]["status"] == "paused"
        stepped = await asked(client, op="step", messages=3)
        assert stepped["status"] == "paused"
        assert [orjson.loads(await client.recv()).get("position") for _ in range(3)] == [1, 2, 3]
        assert (await asked(client, op="speed", speed=20))["speed"] == 20
        assert (await asked(client, op="seek", to="@50"))["status"] == "paused"
        assert (await asked(client, op="step"))["status"] == "paused"
        assert (await the(client, lambda told: "position" in told))["position"] == 50
        await asked(client, op="seek", to="@10")
        await asked(client, op="step", duration="45ms")
        found = [(await the(client, lambda told: "position" in told))["position"] for _ in range(5)]
        assert found == [10, 11, 12, 13, 14]
        state = (await the(client, lambda told: "state" in told))["state"]
        assert state["moment"] == iso(START_NS + 145 * MS_NS)
        await asked(client, op="seek", by="-0.1")
        await asked(client, op="step")
        assert (await the(client, lambda told: "position" in told))["position"] == 5  # 45 ms: behind the fourth
        assert (await asked(client, op="speed", speed="max"))["speed"] == "max"
        assert (await asked(client, op="resume"))["status"] in ("playing", "buffering")
        assert positions(await until_closed(client)) == list(range(6, 101))


async def test_stop_ends_with_what_was_sent(data: Path) -> None:
    async with serving(data) as server, connect(f"{server.url}/replay?speed=0.01") as client:
        await the(client, lambda told: "position" in told)
        await client.send('{"op":"stop"}')
        end = (await until_closed(client))[-1]["end"]
        assert end["cause"] == "stopped by a client"
        assert end["sent"]["messages"] == 1


@pytest.mark.parametrize(
    ("query", "parameter", "possible"),
    [
        ("speed=0", "speed", "0.01 to 1000000, or max"),
        ("speed=NaN", "speed", "0.01 to 1000000, or max"),
        ("feeds=news,newz", "feeds", "news, quotes"),
        ("from=yesterday", "from", "@position"),
        ("from=2027-01-01", "from", "recorded is 2026-01-31T12:00:00.010000000Z to 2026-01-31T12:00:01.000000000Z"),
        ("from=@101", "from", "@1 to @100"),
        ("from=@50&to=@50", "to", "behind `from`"),
        ("to=live", "to", "without `to` it goes on"),
        ("fron=@1", "parameter", "from, to, feeds"),
        ("kinds=articles", "kinds", "data, reply, lifecycle"),
        ("on_gap=ignore", "on_gap", "mark, skip, stop"),
        ("session=%00", "session", "at most 63"),
        ("format=xml", "format", "json, arrow"),
        ("max_idle=-5", "max_idle", "500ms"),
        ("loop=maybe", "loop", "true, false"),
    ],
)
async def test_what_cannot_be_played_is_refused_with_what_can(
    data: Path, query: str, parameter: str, possible: str
) -> None:
    async with serving(data) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{server.url}/replay?{query}")
    assert refused.value.response.status_code == 400
    error = orjson.loads(refused.value.response.body)["error"]
    assert error["parameter"] == parameter
    assert possible in error["possible"]


@pytest.mark.parametrize(
    ("text", "parameter"),
    [
        ("nonsense", "operation"),
        ("[" * 100_000, "operation"),
        ('{"op":"dance"}', "op"),
        ('{"op":"speed","speed":NaN}', "operation"),
        ('{"op":"speed","speed":-1}', "speed"),
        ('{"op":"seek","to":"@101"}', "to"),
        ('{"op":"step","messages":0}', "messages"),
        (b"\x00", "operation"),
    ],
)
async def test_an_operation_that_makes_no_sense_is_an_error_and_the_replay_goes_on(
    data: Path, text: str | bytes, parameter: str
) -> None:
    async with serving(data) as server, connect(f"{server.url}/replay?paused=true") as client:
        await client.send(text)
        error = (await the(client, lambda told: "error" in told))["error"]
        assert error["parameter"] == parameter
        assert (await asked(client, op="state"))["status"] == "paused"


def with_gaps() -> list[Message]:
    """Ten messages: 1 opens and 2 closes the gap before the first data, 5 opens one and 8 closes it."""
    since = {"since_ns": START_NS + 40 * MS_NS}
    events = {
        1: lifecycle.entry("gap.opened", since_ns=START_NS, cause="start"),
        2: lifecycle.entry("gap.closed", since_ns=START_NS, until_ns=START_NS + 20 * MS_NS, cause="start"),
        5: lifecycle.entry("gap.opened", **since, cause="silence"),
        7: lifecycle.entry("connection.dialled", url="ws://x", purpose="redial"),
        8: lifecycle.entry("gap.closed", **since, until_ns=START_NS + 80 * MS_NS, cause="silence"),
    }
    return [
        message(n, events.get(n, b""), kind=Kind.LIFECYCLE if n in events else Kind.DATA, stream=QUOTES)
        for n in range(1, 11)
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["gap 1", "gap 2", 3, 4, "gap 5", 6, "gap 8", 9, 10]),
        ("on_gap=skip", [3, 4, 6, 9, 10]),
        ("on_gap=stop", ["gap 1", "gap 2", 3, 4, "gap 5"]),
        ("on_gap=stop&from=@6", [6, "gap 8", 9, 10]),
        ("kinds=lifecycle", [1, "gap 1", 2, "gap 2", 5, "gap 5", 7, 8, "gap 8"]),
        ("kinds=lifecycle&on_gap=skip", [1, 2, 5, 7, 8]),
    ],
)
@pytest.mark.parametrize("form", ["json", "arrow"])
async def test_gaps_are_marked_skipped_or_where_it_stops(
    tmp_path: Path, record: Record, query: str, expected: list[int | str], form: str
) -> None:
    record(tmp_path / "data", with_gaps())
    found: list[int | str] = []
    async with (
        serving(tmp_path / "data") as server,
        connect(f"{server.url}/replay?speed=max&format={form}&{query}") as client,
    ):
        frames = [frame async for frame in client]
    schema = next((frame for frame in frames if isinstance(frame, bytes)), b"")
    for frame in frames:
        if isinstance(frame, bytes):
            rows = pa.ipc.open_stream(schema + frame).read_all() if frame is not schema else None
            found += rows["position"].to_pylist() if rows is not None else []
            continue
        told = orjson.loads(frame)
        if "gap" in told:
            found.append(f"gap {told['gap']['position']}")
        elif "position" in told:
            found.append(told["position"])
    end = orjson.loads(frames[-1])["end"]
    assert found == expected
    assert end["sent"]["gaps"] == len([each for each in expected if isinstance(each, str)])
    assert end["cause"] == ("a gap: silence" if expected[-1] == "gap 5" else "all was played")


async def test_arrow_is_one_ipc_stream_with_the_columns_of_messages(data: Path) -> None:
    async with serving(data) as server, connect(f"{server.url}/replay?format=arrow&speed=100&from=@20") as client:
        frames = [frame async for frame in client]
    table = pa.ipc.open_stream(b"".join(frame for frame in frames if isinstance(frame, bytes))).read_all()
    assert table.schema == MESSAGES_SCHEMA.remove_metadata()
    assert table.equals(as_read(data).slice(19))
    assert orjson.loads(frames[-1])["end"]["sent"]["messages"] == 81


async def test_the_digest_of_arrow_does_not_depend_on_how_rows_are_cut(data: Path) -> None:
    async def digest(query: str) -> str:
        end: str = (await play(server, query))[-1]["end"]["digest"]
        return end

    async with serving(data) as server:
        arrow = {await digest(f"format=arrow&speed={speed}&from=@20&to=@91") for speed in ("max", 50)}
        assert len(arrow) == 1
        assert await digest("format=arrow&speed=max&from=@20&to=@90") not in arrow


async def test_a_plain_get_says_that_this_is_a_websocket(data: Path) -> None:
    async with serving(data) as server:
        url = server.url.replace("ws:", "http:") + "/replay"
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(urllib.request.urlopen, url, timeout=10)
    assert refused.value.code == 426


@pytest.fixture
def large(tmp_path: Path, record: Record) -> Path:
    """Far more than the kernel's buffers between two sockets hold: 40 messages of 1 MB."""
    record(tmp_path / "data", [message(n, b'"%s"' % (b"x" * 1_000_000)) for n in range(1, 41)])
    return tmp_path / "data"


def reads_nothing(server: Server, query: str) -> sockets.socket:
    """A client that shakes hands and then leaves everything where it is."""
    peer = sockets.create_connection((server.address, server.port))
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    peer.sendall(
        f"GET /replay?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return peer


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody is told when these things happen inside
        await asyncio.sleep(0.01)


async def test_a_client_that_takes_nothing_is_cut_and_frees_everything(large: Path) -> None:
    limits = Replay(idle_s=0.5, listener_buffer_bytes_max=1 << 20)
    sessions = Sessions(Timeline(large), Clock(), limits)
    native = Native(sessions)
    async with Server({"/replay": native}) as server, asyncio.timeout(60):
        peer = reads_nothing(server, "speed=max")
        await until(lambda: sessions.all)
        await until(lambda: not sessions.all)
        assert sessions.counts["clients_cut_idle_total"] == 1
        await until(lambda: not server.clients)
        assert not native.clients
        peer.close()


async def test_a_client_that_goes_without_a_word_frees_everything(large: Path) -> None:
    sessions = Sessions(Timeline(large), Clock(), Replay())
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(60):
        for query in ("speed=max", "paused=true", "speed=1&session=named"):
            peer = reads_nothing(server, query)
            await until(lambda: sessions.all)
            peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()  # a reset
            if "named" in query:
                await until(lambda: not sessions.all[0].listeners)
                sessions.all[0].stop()
            await until(lambda: not sessions.all)


async def test_a_slow_reader_gets_everything_and_its_session_waits(large: Path) -> None:
    limits = Replay(listener_buffer_bytes_max=1 << 20)
    sessions = Sessions(Timeline(large), Clock(), limits)
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(60):
        peer = reads_nothing(server, "speed=max")
        await until(lambda: sessions.all)
        (session,) = sessions.all
        await until(lambda: session.state().status == "buffering" and session.state().played)
        played = session.state().played
        assert 0 < played < 40
        assert session.listeners[0].backlog_bytes <= (1 << 20) + 6 * 1_000_500  # and the reel it was about to play
        read = 0
        while part := await asyncio.to_thread(peer.recv, 1 << 20):
            read += len(part)
        assert read > 40_000_000
        peer.close()


async def test_half_closed_clients_are_survived(data: Path) -> None:
    sessions = Sessions(Timeline(data), Clock(), Replay())
    async with Server({"/replay": Native(sessions)}) as server, asyncio.timeout(60):
        peer = reads_nothing(server, "speed=0.01")
        await until(lambda: sessions.all)
        peer.shutdown(sockets.SHUT_WR)
        await until(lambda: not sessions.all)
        peer.close()
        assert len(positions(await play(server, "speed=max"))) == 100


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET /replay\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,  # TLS
        b"GET /replay?" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /replay HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //[/replay HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /replay?" + b"&".join(b"a%d=1" % n for n in range(200)) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /replay HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_what_is_no_handshake_is_hung_up_on_and_others_are_served(data: Path, request_: bytes) -> None:
    sessions = Sessions(Timeline(data), Clock(), Replay())
    async with Server({"/replay": Native(sessions)}, handshake_timeout_s=0.5) as server, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(server.address, server.port)
        writer.write(request_)
        answer = await reader.read()
        assert b"101" not in answer[:20]
        assert b" 500 " not in answer[:20]
        writer.close()
        assert len(positions(await play(server, "speed=max"))) == 100
