"""`recorder serve` as a process: what it prints, who may come in, its pages, its limits, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket as sockets
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from recorder.commands import serve
from recorder.errors import ConfigInvalid
from recorder.settings import Replay, Settings

TOKEN = {"RECORDER_SECRET_REPLAY": "0123456789abcdef"}


@asynccontextmanager
async def serving(
    data: Path, *options: str, through: str = "", **environ: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    process = await asyncio.create_subprocess_exec(
        *through.split(), sys.executable, "-m", "recorder", "serve",
        "--port", "0", "--json", "--data", str(data), *options,
        env={"PATH": "/usr/bin:/bin", **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert process.stdout is not None
            told = orjson.loads(await process.stdout.readline())
            yield f"{told['host']}:{told['port']}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def page(at: str, path: str, **headers: str) -> tuple[int, bytes]:
    def get() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://{at}{path}", headers=headers)) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    return await asyncio.to_thread(get)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root writes wherever it likes")
async def test_who_may_only_read_the_recording_serves_all_of_it(recording: Path) -> None:
    before = sorted(recording.rglob("*"))
    for path in (*before, recording):
        path.chmod(0o555 if path.is_dir() else 0o444)
    powerless = "setpriv --bounding-set -dac_override --" if os.getuid() == 0 else ""
    try:
        async with serving(recording, through=powerless) as (at, _):
            async with connect(f"ws://{at}/replay?speed=max&kinds=all&on_gap=skip") as client:
                told = [orjson.loads(text) async for text in client]
            assert [each["position"] for each in told if "position" in each] == list(range(1, 11))
            async with connect(f"ws://{at}/quotes?from=@2") as client:
                await client.send("AAPL")
                assert orjson.loads(await client.recv())[0]["price"] == "100.00"
            assert (await page(at, "/status"))[0] == 200
        assert sorted(recording.rglob("*")) == before
    finally:
        for path in (recording, *before):
            path.chmod(0o755)


@pytest.mark.slow
async def test_it_plays_tells_how_it_is_and_ends_politely(recording: Path) -> None:
    async with serving(recording) as (at, process):
        async with connect(f"ws://{at}/replay?speed=max&kinds=all&on_gap=skip&session=demo") as client:
            texts = [orjson.loads(text) async for text in client]
        assert [told["position"] for told in texts if "position" in told] == list(range(1, 11))
        assert texts[-1]["end"]["sent"]["messages"] == 10

        async with connect(f"ws://{at}/session/demo/replay?paused=true"):
            code, body = await page(at, "/status")
            told = orjson.loads(body)
            assert code == 200
            assert told["running"] is False
            assert told["replay"]["messages_sent_total"] == 10
            assert [(each["name"], each["status"]) for each in told["replay"]["sessions"]] == [("demo", "paused")]
            assert told["replay"]["limits"]["sessions_max"] == 32
        code, body = await page(at, "/healthz")
        assert (code, b"serving a recording" in body) == (200, True)
        code, body = await page(at, "/metrics")
        assert (code, b"\nrecorder_replay_messages_sent_total 10.0\n" in body) == (200, True)
        assert (await page(at, "/nowhere"))[0] == 404

        async with connect(f"ws://{at}/replay?paused=true") as client:
            process.send_signal(signal.SIGTERM)
            texts = [orjson.loads(text) async for text in client]
            assert texts[-1]["end"]["cause"] == "the server stops"
            assert client.close_code == 1000
        _, talk = await process.communicate()
        assert (process.returncode, b"Traceback" in talk) == (0, False), talk


@pytest.mark.slow
async def test_with_a_token_nobody_comes_in_without_and_it_is_never_told(recording: Path) -> None:
    async with serving(recording, RECORDER_REPLAY__TOKEN="replay", **TOKEN) as (at, process):
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{at}/replay", additional_headers=headers)
            assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{at}/replay?token=0123456789abcdef", origin="https://example.com")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        assert (await page(at, "/status"))[0] == 401
        assert (await page(at, "/healthz"))[0] == 200
        code, body = await page(at, "/status", Authorization="Bearer 0123456789abcdef")
        assert (code, orjson.loads(body)["replay"]["turned_away_total"]) == (200, 4)
        async with connect(f"ws://{at}/replay?token=0123456789abcdef&speed=max") as client:
            texts = [text async for text in client]
        process.terminate()
        out, talk = await process.communicate()
        assert b"0123456789abcdef" not in body + b"".join(str(text).encode() for text in texts) + out + talk


@pytest.mark.slow
async def test_clients_beyond_the_limits_are_turned_away_and_counted(recording: Path) -> None:
    limits = {"LISTENERS_MAX": "2", "SESSIONS_MAX": "1", "MESSAGES_PER_S_MAX": "5", "MESSAGE_BYTES_MAX": "2048"}
    async with serving(recording, **{f"RECORDER_REPLAY__{name}": value for name, value in limits.items()}) as (at, _):
        async with connect(f"ws://{at}/replay?paused=true") as first:
            for query in ("paused=true", "session=shared"):
                with pytest.raises(InvalidStatus) as refused:
                    await connect(f"ws://{at}/replay?{query}")
                assert refused.value.response.status_code == 503
                assert b"replay.sessions_max is 1" in refused.value.response.body
            for _ in range(50):
                await first.send('{"op":"state"}')
            await first.wait_closed()
            assert first.close_code == 1008
        async with connect(f"ws://{at}/replay?paused=true") as large:
            await large.send("x" * 3000)
            await large.wait_closed()
            assert large.close_code == 1009
        async with connect(f"ws://{at}/replay?paused=true&session=a") as one, connect(f"ws://{at}/session/a/replay"):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"ws://{at}/session/a/replay")
            assert refused.value.response.status_code == 503
            assert one.state.name == "OPEN"
        told: dict[str, Any] = orjson.loads((await page(at, "/status"))[1])["replay"]
        assert told["clients_flooding_total"] == 1
        assert told["sessions_refused_total"] == 2
        assert told["turned_away_total"] == 1


@pytest.mark.slow
async def test_clients_of_the_upstreams_are_served_from_where_the_options_say(recording: Path) -> None:
    async with serving(recording, "--from", "start", "--speed", "max") as (at, _):
        async with connect(f"ws://{at}/quotes") as quotes:
            await quotes.send("AAPL")
            prices = [orjson.loads(await quotes.recv())[0]["price"] for _ in range(3)]
        assert prices == ["100.00", "101.50", "102.00"]
        async with connect(f"ws://{at}/finlight/raw", additional_headers={"x-api-key": "any"}) as news:
            assert news.response is not None
            assert news.response.headers["x-recorder-speed"] == "max"
            await news.send("{}")
            told = [orjson.loads(await news.recv()) for _ in range(3)]
        assert [each["action"] for each in told] == ["admit", "sendArticle", "sendArticle"]
        replay = orjson.loads((await page(at, "/status"))[1])["replay"]
        assert replay["messages_sent_total"] == 5
        assert (await page(at, "/quotes"))[0] == 404


@pytest.mark.parametrize("played", [{"from": "yesterday"}, {"speed": "0"}])
def test_what_cannot_be_played_is_said_before_anybody_is_let_in(tmp_path: Path, played: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="possible"):
        serve.main(Settings(data=tmp_path), port=0, played=played)


@pytest.mark.slow
async def test_a_port_in_use_is_a_sentence(recording: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "recorder", "serve", "--port", str(taken.getsockname()[1]), "--data", str(recording),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, talk = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"cannot listen on 127.0.0.1" in talk
    assert b"Traceback" not in talk


def test_an_address_that_others_can_reach_needs_a_token_and_origins() -> None:
    with pytest.raises(ConfigInvalid) as refused:
        serve.gate(Replay(host="0.0.0.0"), {})
    assert [problem.split()[0] for problem in refused.value.problems] == ["replay.token", "replay.origins"]
    with pytest.raises(ConfigInvalid, match="RECORDER_SECRET_REPLAY"):
        serve.gate(Replay(host="0.0.0.0", token="replay", origins=["https://example.com"]), {})
    with pytest.raises(ConfigInvalid, match="openssl rand"):
        serve.gate(Replay(token="replay"), {"RECORDER_SECRET_REPLAY": "short"})
    serve.gate(Replay(host="0.0.0.0", token="replay", origins=["https://example.com"]), TOKEN)
    serve.gate(Replay(), {})


@pytest.mark.slow
async def test_a_service_manager_is_told_that_it_listens_and_lives(recording: Path, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        loop = asyncio.get_running_loop()
        async with serving(recording, NOTIFY_SOCKET=address) as (at, _), asyncio.timeout(60):
            assert await loop.sock_recv(manager, 1000) == b"READY=1"
            for _ in range(2):
                said = (await loop.sock_recv(manager, 1000)).decode()
                assert said == f"WATCHDOG=1\nSTATUS=replaying on ws://{at}: 0 clients, 0 sessions"
