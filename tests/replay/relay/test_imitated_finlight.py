"""Finlight out of a recording, over real sockets."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from recorder import lifecycle
from recorder.clock import MS_NS, SECOND_NS, Clock
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.native import Native
from recorder.replay.port.server import Place, Server
from recorder.replay.relay.imitated_finlight import ImitatedFinlight
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

Record = Callable[..., None]

START_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
NEWS = Stream("news", "finlight")
RAW = Stream("raw", "finlight.raw")
KEY = {"x-api-key": "k"}


def body(number: int, **fields: Any) -> bytes:
    """A frame that no serialiser would write so."""
    facts = {"link": f"https://x/{number}", "language": "en", "source": "www.reuters.com", "title": f"Story {number}"}
    return b'{ "action":"sendArticle", "data":' + orjson.dumps(facts | fields)[:-1] + b', "confidence":0.50,"n":1e2}}'


def message(position: int, stream: Stream = NEWS, payload: bytes = b"", mark: Mark = Mark.NONE) -> Message:
    at_ns = START_NS + position * 10 * MS_NS
    return Message(position, stream, Kind.DATA, mark, at_ns, position, 1, payload or body(position))


def entry(position: int, event: str, stream: Stream = NEWS, **fields: Any) -> Message:
    return replace(message(position, stream, lifecycle.entry(event, **fields)), kind=Kind.LIFECYCLE)


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    """A hundred articles, sixty of them sealed."""
    record(tmp_path / "data", [message(position) for position in range(1, 101)], seals=(30, 60))
    return tmp_path / "data"


@asynccontextmanager
async def serving(data: Path, defaults: dict[str, str] | None = None, **limits: Any) -> AsyncIterator[Server]:
    sessions = Sessions(Timeline(data), Clock(), Replay(**limits))
    places: dict[str, Place] = {"/replay": Native(sessions), "/finlight": ImitatedFinlight(sessions, defaults)}
    async with Server(places) as server, asyncio.timeout(30):
        yield server


@asynccontextmanager
async def subscribed(server: Server, url: str, **fields: Any) -> AsyncIterator[ClientConnection]:
    async with connect(server.url + url, additional_headers=KEY, compression=None, max_queue=None) as client:
        await client.send(orjson.dumps({"clientNonce": "n", **fields}).decode())
        admit = orjson.loads(await client.recv())
        assert (admit["action"], admit["clientNonce"]) == ("admit", "n")
        yield client


async def frames(client: ClientConnection, count: int) -> list[bytes]:
    return [await client.recv(decode=False) for _ in range(count)]


async def no_more(client: ClientConnection) -> bool:
    """Whether a ping is answered by a pong at once: everything sent before has arrived."""
    await client.send('{"action":"ping","t":7}')
    told: dict[str, Any] = orjson.loads(await client.recv())
    return told == {"action": "pong", "t": 7}


async def test_every_article_comes_in_order_in_the_bytes_in_which_it_was_recorded(data: Path) -> None:
    async with serving(data) as server, subscribed(server, "/finlight?from=start&speed=max") as client:
        assert await frames(client, 100) == [body(number) for number in range(1, 101)]
        assert await no_more(client)


@pytest.mark.parametrize("sealed", [(), (30, 60)])
async def test_the_newest_article_before_the_moment_comes_first(tmp_path: Path, record: Record, sealed: object) -> None:
    record(tmp_path / "d", [message(position) for position in range(1, 101)], seals=sealed)
    async with serving(tmp_path / "d") as server, subscribed(server, "/finlight?from=@51&speed=max") as client:
        assert await frames(client, 51) == [body(number) for number in range(50, 101)]
        assert await no_more(client)


async def test_the_newest_is_one_that_passes_the_filters(tmp_path: Path, record: Record) -> None:
    german = {"language": "de"}
    of = {position: body(position, **(german if position in (7, 70) else {})) for position in range(1, 101)}
    record(tmp_path / "d", [message(position, payload=payload) for position, payload in of.items()], seals=(30,))
    async with serving(tmp_path / "d") as server:
        async with subscribed(server, "/finlight?from=@51&speed=max", language="de") as client:
            assert await frames(client, 2) == [of[7], of[70]]
            assert await no_more(client)
        async with subscribed(server, "/finlight?from=@51&speed=max", query="title:nowhere") as client:
            assert await no_more(client)


async def test_what_was_fetched_over_rest_never_was_on_the_wire_and_is_not_put_there(
    tmp_path: Path, record: Record
) -> None:
    """Neither among the others, nor as the newest one; a native listener gets it where it was recorded, and marked."""
    fetched = orjson.dumps({"link": "https://x/50", "title": "missed in a gap", "language": "en"})
    rest = {49: fetched, 50: fetched, 70: fetched}
    some = [
        message(number, payload=rest.get(number, b""), mark=Mark.REST if number in rest else Mark.NONE)
        for number in range(1, 101)
    ]
    record(tmp_path / "d", some, seals=(60,))
    async with serving(tmp_path / "d") as server:
        async with subscribed(server, "/finlight?from=@51&speed=max") as client:
            assert await frames(client, 50) == [body(48), *(body(number) for number in range(51, 101) if number != 70)]
            assert await no_more(client)
        async with connect(f"{server.url}/replay?from=@70&to=@71") as native:
            told = [orjson.loads(text) async for text in native]
        (missed,) = (each for each in told if "position" in each)
        assert (missed["mark"], missed["data"]["link"]) == ("rest", "https://x/50")


@pytest.mark.parametrize("url", ["/finlight/raw?from=@2&speed=max", "/finlight//raw?from=@2&speed=max"])
async def test_raw_has_its_own_frames_and_no_newest_article(tmp_path: Path, record: Record, url: str) -> None:
    record(tmp_path / "d", [message(position, RAW if position % 2 else NEWS) for position in range(1, 11)])
    async with serving(tmp_path / "d") as server, subscribed(server, url) as client:
        assert await frames(client, 4) == [body(number) for number in (3, 5, 7, 9)]
        assert await no_more(client)
        async with subscribed(server, "/finlight?from=@5&speed=max") as enhanced:
            assert await frames(enhanced, 4) == [body(number) for number in (4, 6, 8, 10)]


async def test_the_official_raw_clients_url_may_have_a_query(data: Path) -> None:
    async with serving(data) as server, subscribed(server, "/finlight?speed=max&from=@90/raw") as client:
        assert await frames(client, 11) == [body(number) for number in range(90, 101)]


@pytest.mark.parametrize(("recorded", "url"), [(NEWS, "/finlight/raw"), (RAW, "/finlight")])
async def test_where_only_the_other_kind_was_recorded_its_frames_come_unchanged(
    tmp_path: Path, record: Record, recorded: Stream, url: str
) -> None:
    record(tmp_path / "d", [message(position, recorded) for position in range(1, 4)])
    async with serving(tmp_path / "d") as server, subscribed(server, url + "?from=start&speed=max") as client:
        assert await frames(client, 3) == [body(number) for number in (1, 2, 3)]


async def test_of_several_feeds_each_article_comes_once_or_those_of_one_feed(tmp_path: Path, record: Record) -> None:
    tech = Stream("tech", "finlight")
    made = [
        message(1, payload=body(1)),
        message(2, tech, body(1, categories=["technology"])),
        message(3, tech, body(2)),
        message(4, payload=body(2)),
        message(5, payload=body(1), mark=Mark.INITIAL),
        message(6, payload=body(3), mark=Mark.INITIAL),
        message(7, payload=b'{"injected":true}', mark=Mark.ODD),
        message(8, payload=body(4)),
    ]
    record(tmp_path / "d", made)
    async with serving(tmp_path / "d") as server:
        async with subscribed(server, "/finlight?from=start&speed=max") as client:
            assert await frames(client, 4) == [body(1), body(2), body(3), body(4)]
            assert await no_more(client)
        async with subscribed(server, "/finlight?from=start&speed=max&feed=tech") as client:
            assert await frames(client, 2) == [body(1, categories=["technology"]), body(2)]
            assert await no_more(client)


async def asks(native: ClientConnection, **operation: Any) -> dict[str, Any]:
    """The state that answers an operation."""
    await native.send(orjson.dumps({"request_id": 1, **operation}).decode())
    while True:
        told = orjson.loads(await native.recv())
        if told.get("state", {}).get("request_id") == 1:
            state: dict[str, Any] = told["state"]
            return state


async def test_pause_step_and_seek_of_a_native_listener_are_those_of_a_shared_session(data: Path) -> None:
    async with (
        serving(data) as server,
        subscribed(server, "/session/both/finlight?from=start&paused=1") as news,
        connect(f"{server.url}/session/both/replay", compression=None, max_queue=None) as native,
    ):
        assert (await asks(native, op="state"))["status"] == "paused"
        assert await no_more(news)
        await asks(native, op="step", messages=3)
        assert await frames(news, 3) == [body(1), body(2), body(3)]
        assert await no_more(news)
        await asks(native, op="seek", to="@50")
        await asks(native, op="step", messages=2)
        assert await frames(news, 2) == [body(50), body(51)]
        await asks(native, op="seek", to="@50")  # back: no article is a repeat of what was played before
        await asks(native, op="resume")
        assert await frames(news, 51) == [body(number) for number in range(50, 101)]


async def test_clients_that_name_no_session_do_not_disturb_each_other(data: Path) -> None:
    async with serving(data) as server, subscribed(server, "/finlight?from=start&speed=max") as one:
        async with subscribed(server, "/finlight?from=@98&speed=max") as two:
            assert await frames(two, 4) == [body(number) for number in (97, 98, 99, 100)]
        assert await frames(one, 100) == [body(number) for number in range(1, 101)]


async def test_the_handshake_says_where_the_replay_is_and_no_frame_does(data: Path) -> None:
    async with serving(data, {"from": "@10", "speed": "2"}) as server:
        async with subscribed(server, "/session/x/finlight") as client:
            headers = client.response.headers if client.response else {}
            assert {name: headers[name] for name in headers if name.startswith("x-recorder-")} == {
                "x-recorder-session": "x",
                "x-recorder-position": "10",
                "x-recorder-speed": "2",
            }
        async with subscribed(server, "/finlight?from=2026-01-31T12:00:00.5Z&speed=max") as client:
            assert client.response is not None
            assert client.response.headers["x-recorder-moment"] == "2026-01-31T12:00:00.500000000Z"
            assert client.response.headers["x-recorder-speed"] == "max"


# --- reconnects -----------------------------------------------------------------------------------------------


async def test_a_client_that_rotates_finds_its_replay_and_misses_nothing(data: Path) -> None:
    async with serving(data) as server:
        got: list[bytes] = []
        url = "/finlight/raw?from=start&speed=10"
        async with subscribed(server, url) as client:
            got += await frames(client, 10)
            await client.close(4000, "Proactive rotation")
            got += [frame async for frame in rest(client)]
        async with subscribed(server, url) as client:
            got += await frames(client, 100 - len(got))
            assert await no_more(client)
        assert got == [body(number) for number in range(1, 101)]


async def rest(client: ClientConnection) -> AsyncIterator[bytes]:
    try:
        while True:
            yield await client.recv(decode=False)
    except ConnectionClosed:
        return


async def test_a_client_that_left_begins_anew(data: Path) -> None:
    async with serving(data) as server:
        for _ in range(2):
            async with subscribed(server, "/finlight?from=start&speed=max") as client:
                assert await frames(client, 5) == [body(number) for number in range(1, 6)]


async def test_nothing_is_lost_at_full_speed_nor_when_the_end_comes_while_a_client_is_away(
    data: Path, record: Record
) -> None:
    big = [message(position, payload=body(position, content="x" * 16_000)) for position in range(101, 1101)]
    record(data, big)
    async with serving(data, listener_buffer_bytes_max=64 << 10) as server:
        url = "/finlight/raw?from=start&speed=max"
        got: list[bytes] = []
        for _ in range(2):
            async with subscribed(server, url) as client:
                got += await frames(client, 20)
                await client.close(4000, "Proactive rotation")
                got += [frame async for frame in rest(client)]
        async with subscribed(server, url) as client:
            got += await frames(client, 1100 - len(got))
            assert await no_more(client)
        assert [orjson.loads(frame)["data"]["link"] for frame in got] == [f"https://x/{n}" for n in range(1, 1101)]


# --- recorded faults ------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(tmp_path: Path, record: Record) -> Path:
    made = [
        message(1),
        entry(2, "connection.closed", code=4000, reason="Proactive rotation", by="us"),
        message(3),
        entry(4, "connection.closed", code=1001, reason="Going away", by="upstream"),
        message(5),
        message(6),
    ]
    record(tmp_path / "d", made)
    return tmp_path / "d"


async def test_recorded_closes_are_smoothed_over(faulty: Path) -> None:
    async with serving(faulty) as server, subscribed(server, "/finlight?from=start&speed=max") as client:
        assert await frames(client, 4) == [body(number) for number in (1, 3, 5, 6)]
        assert await no_more(client)


async def test_recorded_closes_are_played_where_asked_for_and_cost_what_they_cost(faulty: Path) -> None:
    async with (
        serving(faulty) as server,
        subscribed(server, "/session/x/finlight?from=start&paused=1") as smooth,
        subscribed(server, "/session/x/finlight?faults=as_recorded") as client,
        connect(f"{server.url}/session/x/replay", compression=None) as native,
    ):
        await asks(native, op="resume")
        assert [frame async for frame in rest(client)] == [body(1), body(3)]
        assert (client.close_code, client.close_reason) == (1001, "Going away")
        assert await frames(smooth, 4) == [body(number) for number in (1, 3, 5, 6)]
        async with subscribed(server, "/session/x/finlight?faults=as_recorded&from=live") as again:
            assert await frames(again, 1) == [body(6)]  # the newest; what fell into the hole is lost
            assert await no_more(again)


async def test_a_recorded_break_is_a_cut(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "d", [message(1), entry(2, "connection.closed", code=1006, reason="", by="upstream"), message(3)])
    async with (
        serving(tmp_path / "d") as server,
        subscribed(server, "/finlight?from=start&faults=as_recorded") as client,
    ):
        assert [frame async for frame in rest(client)] == [body(1)]
        assert client.close_code == 1006


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("/finlight/news", 403, "Forbidden"),
        ("/finlight?from=2035-01-01", 400, "recorded is 2026-01-31T12:00:00.010000000Z to 2026-01-31T12:00:01"),
        ("/finlight?feed=quotes", 400, "possible: news"),
        ("/finlight?sped=2", 400, "from, to, speed"),
        ("/session/%2e%2e/finlight", 400, "session"),
    ],
)
async def test_what_cannot_be_played_is_refused_with_what_can(data: Path, url: str, status: int, said: str) -> None:
    async with serving(data) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + url, additional_headers=KEY)
    assert refused.value.response.status_code == status
    assert said in bytes(refused.value.response.body or b"").decode()


async def test_a_key_is_wanted_as_there(data: Path) -> None:
    async with serving(data) as server:
        for headers in ({}, {"X-Api-Key": "k"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url + "/finlight", additional_headers=headers)
            assert refused.value.response.status_code == 401
        async with connect(server.url + "/finlight?apiKey=k"):
            pass
        with pytest.raises(urllib.error.HTTPError) as plain:
            await asyncio.to_thread(urllib.request.urlopen, server.url.replace("ws:", "http:") + "/finlight", None, 10)
        assert plain.value.code == 426
        plain.value.close()


async def test_a_recording_without_news_says_so(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "d", [message(1, Stream("hours", "finance_query.hours"))])
    async with serving(tmp_path / "d") as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + "/finlight", additional_headers=KEY)
    assert refused.value.response.status_code == 403
    assert b"no feed of kind finlight is recorded" in bytes(refused.value.response.body or b"")


async def test_one_session_too_many_is_turned_away_and_the_next_one_finds_room_again(data: Path) -> None:
    async with serving(data, sessions_max=1) as server:
        async with subscribed(server, "/finlight?from=start&speed=0.01"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url + "/finlight", additional_headers=KEY)
            assert refused.value.response.status_code == 503
        async with subscribed(server, "/finlight?from=start&speed=max") as client:
            assert len(await frames(client, 100)) == 100


async def test_whoever_leaves_frees_everything(data: Path) -> None:
    async with serving(data) as server:
        place = server.places["/finlight"]
        assert isinstance(place, ImitatedFinlight)
        for url in ("/finlight?from=start&speed=0.01", "/finlight/raw?speed=max&from=start"):
            async with subscribed(server, url):
                assert len(place.relays) == len(place.sessions.all) == 1
            while place.relays or place.sessions.all:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.001)
