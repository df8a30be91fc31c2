"""Whom the player listens to: a server by its URL, else the one that already plays this recording, else one of its own.

In: a URL or a data directory, the settings. Out: a WebSocket's URL and what the server says of itself. A server of our
own is a process of its own, so that drawing here does not make it late there; it ends with us, however we end.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import orjson

from recorder.errors import RecorderError, RequestInvalid
from recorder.replay.port.gate import is_loopback
from recorder.replay.timeline import Timeline
from recorder.settings import Replay

ANSWER_S = 3.0  # for a server to say how it is
FAREWELL_S = 3.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where such a server can be reached from here


def headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def replay_url(url: str, query: Mapping[str, str]) -> str:
    """The native endpoint at `url`, which may name it, with these parameters over its own. Raises RequestInvalid."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        fits = False
    if not fits:
        given = url.partition("?")[0].rpartition("@")[2]  # nothing that could be a secret
        raise RequestInvalid("URL", given, "ws://host:port or wss://host, as `recorder serve` prints it")
    path = parts.path.rstrip("/")
    if not path.endswith("/replay"):
        path += "/replay"
    asked = {**dict(parse_qsl(parts.query)), **query}
    return urlunsplit((parts.scheme, parts.netloc, path, urlencode(asked, safe="@:,"), ""))


async def status(url: str, token: str | None) -> dict[str, Any] | None:
    """What the server of a WebSocket's URL says of itself; None where none answers, or says nothing to us."""
    parts = urlsplit(url)
    token = dict(parse_qsl(parts.query)).get("token", token)
    page = urlunsplit((parts.scheme.replace("ws", "http"), parts.netloc, "/status", "", ""))

    request = urllib.request.Request(page, headers=headers(token))  # noqa: S310 - the scheme is http or https
    # What is on this machine is no proxy's business.
    proxies = [urllib.request.ProxyHandler({})] if is_loopback(parts.hostname or "") else []

    def get() -> dict[str, Any] | None:
        try:
            with urllib.request.build_opener(*proxies).open(request, timeout=ANSWER_S) as answer:
                told = orjson.loads(answer.read())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) and "replay" in told else None

    return await asyncio.to_thread(get)


@asynccontextmanager
async def server_of(data: Path, config: Path | None, limits: Replay, token: str | None) -> AsyncIterator[str]:
    """The URL of a server that plays this recording. Raises RecorderError."""
    host = ANYWHERE.get(limits.host, limits.host)
    running = f"ws://{f'[{host}]' if ':' in host else host}:{limits.port}"
    told = await status(running, token) if limits.port else None
    if told is not None and told.get("data") == str(data.resolve()):
        yield running
        return
    await asyncio.to_thread(Timeline(data).bounds)  # raises where nothing is recorded
    async with _own(data, config) as url:
        yield url


@asynccontextmanager
async def _own(data: Path, config: Path | None) -> AsyncIterator[str]:
    arguments = ["serve", "--json", "--until-stdin-closes", "--host", "127.0.0.1", "--port", "0", "--data", str(data)]
    if config is not None:
        arguments += ["--config", str(config)]
    with tempfile.TemporaryFile() as talk:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=talk,
            start_new_session=True,  # Ctrl-C and Ctrl-Z in the terminal are ours
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            line = await process.stdout.readline()
            if not line:
                talk.seek(0)
                raise RecorderError(talk.read().decode(errors="replace").strip().removeprefix("recorder: "))
            yield orjson.loads(line)["url"]
        finally:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), FAREWELL_S)
            except TimeoutError:
                process.kill()
                await process.wait()
