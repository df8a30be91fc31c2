"""`recorder play`: listen to a replay in the terminal.

In: a server's URL, or a recording and the settings; parameters as the native endpoint has them. Out: on a terminal a
picture and keys; elsewhere a line a message, or the frames as they come. Records nothing and writes nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import orjson
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from recorder.clock import Clock
from recorder.commands import show
from recorder.configuration import SECRET_VARIABLE, secret
from recorder.errors import RecorderError, RequestInvalid
from recorder.player import gist, link
from recorder.player.player import Player
from recorder.player.shown import MESSAGE, Range, Shown, line_of
from recorder.replay.port.gate import is_loopback
from recorder.replay.wire import parse_query
from recorder.settings import Settings

TOKEN = "replay"  # noqa: S105 - the name under which it is looked up where the settings name none
CLOSE_TIMEOUT_S = 1.0
END = b'{"end"'


def main(settings: Settings, config: Path | None, url: str | None, query: Mapping[str, str], *, as_json: bool) -> int:
    """Returns 0 at the end of the replay, at `q`, Ctrl-C and SIGTERM. Raises RecorderError."""
    parse_query(query)  # says at once what any server would
    with suppress(KeyboardInterrupt):
        asyncio.run(_play(settings, config, url, query, as_json))
    return 0


async def _play(
    settings: Settings, config: Path | None, url: str | None, query: Mapping[str, str], as_json: bool
) -> None:
    token = secret(settings.replay.token or TOKEN, os.environ)
    async with AsyncExitStack() as stack:
        title = urlsplit(url or "").netloc or str(settings.data)
        if url is None:
            url = await stack.enter_async_context(link.server_of(settings.data, config, settings.replay, token))
        url = link.replay_url(url, query)
        if as_json or not sys.stdout.isatty() or Console().is_dumb_terminal:
            await _lines(url, token, as_json=as_json)
        else:
            await _picture(url, token, title)


@asynccontextmanager
async def _connection(url: str, token: str | None) -> AsyncIterator[ClientConnection]:
    parts = urlsplit(url)
    near = is_loopback(parts.hostname or "")
    try:
        client = await connect(
            url,
            additional_headers={} if "token" in dict(parse_qsl(parts.query)) else link.headers(token),
            compression=None,
            max_size=None,
            ping_interval=None,  # a pong would wait behind megabytes; that nothing comes is seen
            close_timeout=CLOSE_TIMEOUT_S,
            proxy=None if near else True,
        )
    except InvalidStatus as refused:
        raise _refused(refused, parts.netloc) from None
    except (OSError, WebSocketException) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error) or "in time"
        raise RecorderError(f"{parts.netloc} does not answer: {why}. Is `recorder serve` running there?") from None
    async with client:
        try:
            yield client
        except ConnectionClosed as closed:
            why = (closed.rcvd.reason or f"code {closed.rcvd.code}") if closed.rcvd else "it was cut"
            raise RecorderError(f"the connection to {parts.netloc} is lost: {gist.printable(why)}.") from None


def _refused(refused: InvalidStatus, where: str) -> RecorderError:
    code, body = refused.response.status_code, bytes(refused.response.body or b"")
    try:
        error = orjson.loads(body)["error"]
        return RequestInvalid(*(gist.printable(str(error[key])) for key in ("parameter", "given", "possible")))
    except (ValueError, KeyError, TypeError):
        said = gist.printable(body.decode(errors="replace")).strip() or f"HTTP {code}"
    if code == 401:
        said += f". Set {SECRET_VARIABLE}{TOKEN.upper()}, or the secret that `token` in [replay] names"
    return RecorderError(f"{where} refuses: {said}.")


async def _picture(url: str, token: str | None, title: str) -> None:
    asked = dict(parse_qsl(urlsplit(url).query))
    asked.pop("token", None)
    console = Console(highlight=False)
    shared = "session" in asked or "/session/" in urlsplit(url).path
    begin: str | None = asked.get("from", "start")
    while begin is not None:
        async with _connection(link.replay_url(url, {"from": begin}), token) as client:
            told = await link.status(url, token) or {}
            range_ = Range.of(parse_query(asked), told.get("recorded"), running=bool(told.get("running")))
            shown = Shown(asked.get("from", "start"), range_, Clock().monotonic_ns())
            begin = await Player(client, shown, console, title=title, shared=shared).run()
    console.print(_farewell(shown), soft_wrap=True)


def _farewell(shown: Shown) -> str:
    count = f"{shown.messages:,} messages"
    if shown.end is not None:
        return f"{count}, digest {shown.end['digest']}. It ended: {gist.printable(shown.end['cause'])}."
    if not shown.position:
        return f"{count}."
    return f"{count}. To go on from here: --from @{shown.position + 1}"


async def _lines(url: str, token: str | None, *, as_json: bool) -> None:
    """Each is written out at once, so that neither a pipe nor a person waits for more."""
    out, line_of_frame = sys.stdout.buffer, _line_for_machines if as_json else _line_for_people
    async with _connection(url, token) as client:
        frame = b""
        while not frame.startswith(END):
            frame = await client.recv(decode=False)
            out.write(line_of_frame(frame))
            out.flush()


def _line_for_machines(frame: bytes) -> bytes:
    """The frame. Line ends in it can only be blanks between the tokens of the upstream's JSON."""
    return frame.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n"


def _line_for_people(frame: bytes) -> bytes:
    if frame.startswith(MESSAGE):
        line = line_of(frame)
        return f"{show.moment(line.received_ns)} {line.position} {line.feed} {line.kind} {line.text}\n".encode()
    told = orjson.loads(frame)
    if gap := told.get("gap"):
        at = gist.printable(str(gap.get("until") or gap.get("since")))
        return f"{at[:23]}Z {gap['position']} {gap['feed']} {gist.of_gap(gap)}\n".encode()
    if end := told.get("end"):
        sent = end["sent"]
        print(f"{sent['messages']:,} messages, digest {end['digest']}: {gist.printable(end['cause'])}", file=sys.stderr)
    elif error := told.get("error"):
        print(gist.printable(str(error.get("message"))), file=sys.stderr)
    return b""
