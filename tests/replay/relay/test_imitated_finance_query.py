"""Finance Query out of a recording, over real sockets."""

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
from recorder.clock import SECOND_NS, Clock
from recorder.message import Kind, Mark, Message, Stream
from recorder.replay.native import Native
from recorder.replay.port.server import Place, Server
from recorder.replay.relay.imitated_finance_query import ImitatedFinanceQuery
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

Record = Callable[..., None]

START_NS = 1_769_860_800 * SECOND_NS
TECH = Stream("tech", "finance_query.quotes")
BANKS = Stream("banks", "finance_query.quotes")
HOURS = Stream("hours", "finance_query.hours")
MARKET = Stream("market", "finance_query.market")
NVDA = Stream("profiles", "finance_query.profile", "NVDA")
STREAMS = (TECH, BANKS, HOURS, MARKET, NVDA)
LAST = 100


def row(symbol: str, number: int) -> bytes:
    """A row that no serialiser would write so."""
    return b'{"symbol" : "%s","price":%d.50,"name":"\\u00e9"}' % (symbol.encode(), number)


def payload(number: int, stream: Stream) -> bytes:
    if stream == TECH:
        return b"[" + row("AAPL", number) + b", " + row("MSFT", number) + b"]"
    if stream == BANKS:
        return b"[" + row("JPM", number) + b"," + row("AAPL", number) + b"]"
    return b'{"%s":%d.0}' % (stream.feed.encode(), number)


def message(number: int, stream: Stream | None = None, **other: Any) -> Message:
    """One a second, of the five streams in turn: tech is 1, 6, …; banks 2, 7, …; hours 3; market 4; profiles 5."""
    of = stream or STREAMS[(number - 1) % 5]
    at_ns = START_NS + number * SECOND_NS
    return replace(Message(number, of, Kind.DATA, Mark.NONE, at_ns, number, 1, payload(number, of)), **other)


def entry(number: int, stream: Stream, event: str, **fields: Any) -> Message:
    return message(number, stream, kind=Kind.LIFECYCLE, payload=lifecycle.entry(event, **fields))


@pytest.fixture
def data(tmp_path: Path, record: Record) -> Path:
    """A hundred frames, sixty of them sealed."""
    record(tmp_path / "data", [message(number) for number in range(1, LAST + 1)], seals=(30, 60))
    return tmp_path / "data"


@asynccontextmanager
async def serving(data: Path, **limits: Any) -> AsyncIterator[Server]:
    sessions = Sessions(Timeline(data), Clock(), Replay(**limits))
    places: dict[str, Place] = {"/replay": Native(sessions), "": ImitatedFinanceQuery(sessions)}
    async with Server(places) as server, asyncio.timeout(30):
        yield server


@asynccontextmanager
async def opened(server: Server, url: str, symbols: str | None = None) -> AsyncIterator[ClientConnection]:
    async with connect(server.url + url, compression=None, max_queue=None) as client:
        if symbols is not None:
            await client.send(symbols)
        yield client


async def frames(client: ClientConnection, count: int) -> list[bytes]:
    return [await client.recv(decode=False) for _ in range(count)]


async def rest(client: ClientConnection) -> AsyncIterator[bytes]:
    try:
        while True:
            yield await client.recv(decode=False)
    except ConnectionClosed:
        return


async def asks(native: ClientConnection, **operation: Any) -> dict[str, Any]:
    """The state that answers an operation."""
    await native.send(orjson.dumps({"request_id": 1, **operation}).decode())
    while True:
        told = orjson.loads(await native.recv())
        if told.get("state", {}).get("request_id") == 1:
            state: dict[str, Any] = told["state"]
            return state


async def stepped(native: ClientConnection, messages: int, position: int) -> None:
    """So many messages have been played, the last one at that position."""
    told = await asks(native, op="step", messages=messages)
    while told["position"] < position:
        told = orjson.loads(await native.recv()).get("state", told)


def every(stream: Stream, since: int = 1) -> list[bytes]:
    first = STREAMS.index(stream) + 1
    return [payload(number, stream) for number in range(first, LAST + 1, 5) if number >= since]


@pytest.mark.parametrize(("path", "stream"), [("/hours", HOURS), ("/market", MARKET), ("/profile/NVDA", NVDA)])
async def test_the_frame_of_the_moment_comes_first_and_then_each_one_as_it_was_recorded(
    data: Path, path: str, stream: Stream
) -> None:
    async with serving(data) as server, opened(server, f"{path}?from=@51&speed=max") as client:
        before = payload(45 + STREAMS.index(stream) + 1, stream)
        assert await frames(client, 11) == [before, *every(stream, since=51)]


@pytest.mark.parametrize("path", ["/profile/nvda", "/profile/%6Evda", "/profile/NvDa"])
async def test_a_profile_is_found_in_any_letter_case(data: Path, path: str) -> None:
    async with serving(data) as server, opened(server, f"{path}?from=start&speed=max") as client:
        assert await frames(client, 20) == every(NVDA)


async def test_from_the_start_there_is_no_frame_of_the_moment_and_the_first_one_is_the_first(data: Path) -> None:
    async with serving(data) as server, opened(server, "/market?from=start&speed=max") as client:
        assert await frames(client, 20) == every(MARKET)


async def test_a_symbol_without_a_recorded_profile_has_none(data: Path) -> None:
    async with serving(data) as server, opened(server, "/profile/TSLA?from=start&speed=max") as client:
        assert orjson.loads(await client.recv())["quote"] is None


async def test_quotes_are_put_together_for_exactly_the_asked_symbols_each_time_one_of_them_changes(data: Path) -> None:
    async with serving(data) as server, opened(server, "/quotes?from=@51&speed=max", "msft,JPM,NOSUCH,jpm") as client:
        got = await frames(client, 21)
    expected = [b"[" + row("JPM", 47) + b"," + row("MSFT", 46) + b"]"]
    for tech in range(51, 101, 5):
        expected.append(b"[" + row("JPM", tech - 4) + b"," + row("MSFT", tech) + b"]")
        expected.append(b"[" + row("JPM", tech + 1) + b"," + row("MSFT", tech) + b"]")
    assert got == expected


async def test_a_feeds_own_symbols_come_as_its_own_frames_byte_for_byte(data: Path) -> None:
    async with serving(data) as server, opened(server, "/quotes?from=start&speed=max&feed=tech", "AAPL,MSFT") as client:
        assert await frames(client, 20) == every(TECH)


@pytest.mark.parametrize("symbols", ["NOSUCH", "", " AAPL", '["AAPL"]'])
async def test_where_no_symbol_is_known_the_frame_is_an_empty_array(data: Path, symbols: str) -> None:
    async with serving(data) as server, opened(server, "/quotes?from=@51&speed=max", symbols) as client:
        assert await frames(client, 21) == [b"[]"] * 21


async def test_later_texts_are_ignored_and_a_binary_frame_is_the_end(data: Path) -> None:
    async with serving(data) as server, opened(server, "/quotes?from=@51&paused=1", "MSFT") as client:
        assert await frames(client, 1) == [b"[" + row("MSFT", 46) + b"]"]
        await client.send("JPM")
        await client.send(b"JPM")
        assert [frame async for frame in rest(client)] == []
        assert client.close_code == 1006


async def test_clients_of_one_session_share_its_moment_and_a_seek_shows_the_new_one_at_once(data: Path) -> None:
    async with (
        serving(data) as server,
        opened(server, "/session/s/hours?from=@31&paused=1") as hours,
        opened(server, "/session/s/quotes?speed=max", "JPM") as quotes,
        connect(f"{server.url}/session/s/replay", compression=None, max_queue=None) as native,
    ):
        assert await frames(hours, 1) == [payload(28, HOURS)]
        assert await frames(quotes, 1) == [b"[" + row("JPM", 27) + b"]"]
        assert (await asks(native, op="seek", to="@71"))["status"] == "paused"
        assert await frames(hours, 1) == [payload(68, HOURS)]
        assert await frames(quotes, 1) == [b"[" + row("JPM", 67) + b"]"]
        async with opened(server, "/session/s/hours") as late:
            assert await frames(late, 1) == [payload(68, HOURS)]
        await asks(native, op="seek", to="@6")
        assert await frames(hours, 1) == [payload(3, HOURS)]
        await asks(native, op="speed", speed="max")
        await asks(native, op="resume")
        assert await frames(hours, 19) == every(HOURS)[1:]


async def test_odd_frames_reach_nobody(tmp_path: Path, record: Record) -> None:
    odd = message(2, HOURS, mark=Mark.ODD, payload=b'{"injected":true}')
    record(tmp_path / "d", [message(1, HOURS), odd, message(3, HOURS)])
    async with serving(tmp_path / "d") as server, opened(server, "/hours?from=start&speed=max") as client:
        assert await frames(client, 2) == [payload(1, HOURS), payload(3, HOURS)]


# --- recorded faults ------------------------------------------------------------------------------------------


@pytest.fixture
def faulty(tmp_path: Path, record: Record) -> Path:
    made = [
        message(1, HOURS),
        message(2, MARKET),
        entry(3, HOURS, "connection.closed", code=1000, reason="", by="us"),
        entry(4, HOURS, "connection.closed", code=1012, reason="", by="upstream"),
        entry(5, HOURS, "gap.opened", since_ns=0, cause="closed with 1012"),
        message(6, MARKET),
        entry(7, HOURS, "gap.closed", since_ns=0, until_ns=1, cause="closed with 1012"),
        message(8, HOURS),
        message(9, MARKET),
    ]
    record(tmp_path / "d", made)
    return tmp_path / "d"


async def test_closes_and_gaps_are_smoothed_over(faulty: Path) -> None:
    async with serving(faulty) as server:
        async with opened(server, "/hours?from=start&speed=max") as client:
            assert await frames(client, 2) == [payload(1, HOURS), payload(8, HOURS)]
        async with opened(server, "/hours?from=@6&speed=max") as client:
            assert await frames(client, 2) == [payload(1, HOURS), payload(8, HOURS)]


async def test_where_asked_for_a_close_ends_its_channel_and_in_a_gap_the_first_fetch_fails(faulty: Path) -> None:
    path = "/session/s{}?faults=as_recorded"
    async with (
        serving(faulty) as server,
        opened(server, path.format("/hours") + "&from=start&paused=1&speed=100") as hours,
        opened(server, path.format("/market")) as market,
        connect(f"{server.url}/session/s/replay?kinds=all", compression=None, max_queue=None) as native,
    ):
        await stepped(native, 6, position=6)
        assert [frame async for frame in rest(hours)] == [payload(1, HOURS)]
        assert hours.close_code == 1012
        assert await frames(market, 2) == [payload(2, MARKET), payload(6, MARKET)]
        async with opened(server, path.format("/hours")) as again:
            assert [frame async for frame in rest(again)] == []
            assert again.close_code == 1006
        async with opened(server, "/session/s/hours") as smooth:
            assert await frames(smooth, 1) == [payload(1, HOURS)]
        await stepped(native, 1, position=7)
        async with opened(server, path.format("/hours")) as back:
            await asks(native, op="resume")
            assert (await frames(back, 2))[-1] == payload(8, HOURS)
        assert await frames(market, 1) == [payload(9, MARKET)]


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/quotes/", "/v1/quotes", "/profile", "/profile/", "/profile/A/B", "/markets"])
async def test_other_paths_are_forbidden_without_a_word(data: Path, path: str) -> None:
    async with serving(data) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + path)
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"")


async def test_what_is_not_recorded_says_so(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "d", [message(1, HOURS)])
    async with serving(tmp_path / "d") as server:
        for path in ("/quotes", "/market", "/profile/NVDA"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.url + path)
            assert refused.value.response.status_code == 403
            assert b"is recorded: add one" in bytes(refused.value.response.body or b"")
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + "/hours?feed=other")
        assert b'"possible":"hours"' in bytes(refused.value.response.body or b"")


async def test_plain_gets_are_answered_as_the_rest_routes_do(data: Path) -> None:
    async with serving(data) as server:

        def get(path: str) -> tuple[int, bytes]:
            try:
                with urllib.request.urlopen(server.url.replace("ws:", "http:") + path, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()

        assert await asyncio.to_thread(get, "/hours?from=@51") == (200, payload(48, HOURS))
        assert (await asyncio.to_thread(get, "/v1/health"))[0] == 200
        assert await asyncio.to_thread(get, "/market") == (404, b'{"detail":"Not Found"}')


async def test_the_server_stops_with_the_code_of_a_restart(data: Path) -> None:
    async with serving(data) as server:
        client = await connect(server.url + "/hours?from=@51&paused=1", compression=None)
        assert await frames(client, 1) == [payload(48, HOURS)]
    assert [frame async for frame in rest(client)] == []
    assert client.close_code == 1012


async def test_whoever_leaves_frees_everything(data: Path) -> None:
    async with serving(data) as server:
        place = server.places[""]
        assert isinstance(place, ImitatedFinanceQuery)
        for url in ("/hours?from=start&speed=0.01", "/market?from=@50&speed=max"):
            async with opened(server, url) as client:
                await frames(client, 1)
                assert len(place.relays) == 1
            while place.relays or place.sessions.all:  # noqa: ASYNC110 - nobody announces it
                await asyncio.sleep(0.001)
