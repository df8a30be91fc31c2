"""After a run in which everything went wrong aloud, no key is anywhere but where it was put."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import duckdb
import pytest

from recorder.clock import Clock
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.partitions import catalog
from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.rest_server import RestServer

PATIENCE_S = 60
MARK = "neverseen"
KEYS = {
    "FINLIGHT": f"sk_{MARK}-finlight",
    "WRONG": f"sk_{MARK}-rejected",
    "QUOTES": f"{MARK}-x-api-key",
    "TOKEN": f"{MARK}-{'0123456789abcdef' * 2}",
}


def config(port: int, upstreams: Upstreams) -> str:
    news = f'url = "{upstreams.finlight_url}"\nrest_url = "{upstreams.finlight_rest_url}"'
    soon = "backfill_delay_s = 0.5\nbackfill_again_s = 1.0"
    return f"""
        [seal]
        interval_s = 0.5
        [redial]
        first_s = 0.1
        max_s = 0.5
        [health]
        heartbeat = "beat"
        heartbeat_s = 1
        [replay]
        port = {port}
        token = "token"
        [feeds.news]
        kind = "finlight"
        {news}
        {soon}
        [feeds.refused]
        kind = "finlight"
        secret = "wrong"
        {news}
        {soon}
        [feeds.nobody]
        kind = "finlight.raw"
        url = "ws://127.0.0.1:1"
        [feeds.quotes]
        kind = "finance_query.quotes"
        url = "{upstreams.finance_query_url}"
        secret = "quotes"
        symbols = ["AAPL"]
        silence_s = 1.0
    """


def command_lines() -> dict[str, bytes]:
    found = {}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[str(process)] = process.read_bytes()
        except OSError:  # it has ended
            continue
    return found


def got(url: str, token: str | None) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return f"{answer.headers}{answer.read().decode()}"
    except URLError as refused:
        return f"{refused}{getattr(refused, 'headers', '')}"


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what a file says comes with no event
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_no_key_is_seen_after_a_noisy_run(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environ = {f"RECORDER_SECRET_{name}": key for name, key in KEYS.items()}
    said: dict[str, str] = {}
    async with (
        RestServer(lambda method, asked, body, now: Answer(404), Clock()) as service,
        Upstreams(World(1, articles_per_s=50), refresh_s=0.2, keys=frozenset({KEYS["FINLIGHT"]})) as upstreams,
    ):
        (tmp_path / "config.toml").write_text(config(port, upstreams))
        environ["RECORDER_SECRET_BEAT"] = f"{service.url}/{MARK}-ping"
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-X", "dev", "-m", "recorder", "run", "--config", str(tmp_path / "config.toml")),
                env=environ | {"PATH": os.environ["PATH"], "RECORDER_DEBUG": "1", "PYTHONASYNCIODEBUG": "1"},
                stdout=log,
                stderr=log,
            )
        try:

            def logged(*words: str) -> bool:
                text = (tmp_path / "log").read_text()
                return all(word in text for word in words)

            await until(lambda: logged("Replaying", "connection.proven", "connection.refused", "heartbeat.failed"))
            upstreams.finlight_rest.refuse(401)
            upstreams.finlight_rest.refuse(500)
            upstreams.finlight.close_all(1001, "go away")
            upstreams.finance_query.cut()
            await until(lambda: logged("gap.repaired", "connection.closed", "feed.refused"))
            process.send_signal(signal.SIGHUP)
            await until(lambda: logged("recorder.reloaded"))
            pages = (
                f"http://127.0.0.1:{port}/{page}" for page in ("status", "metrics", "healthz", "", "replay", "nothing")
            )
            for page in pages:
                for who, token in (("friend", KEYS["TOKEN"]), ("stranger", f"{KEYS['TOKEN']}x"), ("nobody", None)):
                    said[f"{page} to a {who}"] = await asyncio.to_thread(got, page, token)
            said["stdout of others"] = str(command_lines())
            environment = [path for path in Path("/proc").glob("[0-9]*/environ") if _ours(path, port)]
            (tmp_path / "config.toml").write_text(f'[feeds.news]\nkey = "{KEYS["FINLIGHT"]}"\nkind = "finlight"\n')
            process.send_signal(signal.SIGHUP)
            await until(lambda: logged("reload.refused"))
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    assert not environment
    assert any("recorder_durable_position" in page for page in said.values()), said
    said |= {str(path): path.read_bytes().decode("latin-1") for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    said.pop(str(tmp_path / "config.toml"))  # where one was put, by mistake
    with catalog.connect(tmp_path / "data") as connection:
        said |= {f"table {name}": text for name, text in _tables(connection)}
    assert {where for where, text in said.items() if MARK in text} == set()


def _ours(environ: Path, port: int) -> bool:
    """Whether this is a server beside the recorder that was given more than its own token."""
    try:
        arguments = environ.with_name("cmdline").read_bytes()
        return b"--until-stdin-closes" in arguments and KEYS["FINLIGHT"].encode() in environ.read_bytes()
    except OSError:
        return False


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, Any]]:
    """Every row of every table, whatever its columns are, as text: files are compressed."""
    names = [name for (name,) in connection.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
    return [(name, str(connection.sql(f'FROM "{name}"').fetchall())) for name in names]
