"""`recorder serve`: plays the recording to clients, from one port, until told to stop.

In: settings. Out: a line on stdout that says where, then nothing but logs on stderr. Only reads the data directory, so
that whatever its clients do to it, recording does not notice; it can be started and killed at any time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Mapping

import orjson

from recorder import log
from recorder.clock import Clock
from recorder.configuration import SECRET_VARIABLE, secret
from recorder.errors import ConfigInvalid, RecorderError, RequestInvalid
from recorder.notify import Notify
from recorder.replay import facts
from recorder.replay.native import Native
from recorder.replay.page import overview_questions, place, player_questions
from recorder.replay.page.questions import Questions
from recorder.replay.port.gate import TOKEN_CHARACTERS_MIN, Gate, is_loopback
from recorder.replay.port.pages import pages
from recorder.replay.port.server import Place, Server
from recorder.replay.relay import asked
from recorder.replay.relay.imitated_finance_query import ImitatedFinanceQuery
from recorder.replay.relay.imitated_finlight import ImitatedFinlight
from recorder.replay.sessions import Sessions
from recorder.replay.timeline import Timeline
from recorder.settings import Replay, Settings

TELL_EVERY_S = 1.0
SWITCH_S = 0.0002  # with Python's 5 ms, 1 % of messages at 20,000/s is 1.35 ms late or more; with this, 0.8 ms
NICENESS = 5  # beside a recorder, as in systemd/recorder-replay.service: on a busy machine recording goes first


def main(
    settings: Settings,
    *,
    host: str | None = None,
    port: int | None = None,
    as_json: bool = False,
    until_stdin_closes: bool = False,
    played: Mapping[str, str] | None = None,
) -> int:
    """Returns 0 at SIGTERM, Ctrl-C, or if so wished when stdin closes: then whoever started it is gone.

    `host` and `port` are over the settings. `played`: `from` and `speed` for clients of the imitated upstreams, most
    of which cannot ask for any. Raises ConfigInvalid where strangers could come in or that cannot be played,
    RecorderError where it cannot listen.
    """
    try:
        asked.parse({}, None, played)
    except RequestInvalid as refused:
        raise ConfigInvalid("the command line", [str(refused)]) from None
    over = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings.model_copy(update={"replay": settings.replay.model_copy(update=over)})
    log.start()
    if until_stdin_closes:
        os.nice(NICENESS)
    asyncio.run(_serve(settings, gate(settings.replay, os.environ), as_json, until_stdin_closes, played))
    return 0


def gate(limits: Replay, environ: Mapping[str, str]) -> Gate:
    """Who may come in. Raises ConfigInvalid where the settings would leave the recording open to strangers."""
    token = secret(limits.token, environ) if limits.token else None
    problems = []
    if limits.token and token is None:
        problems.append(
            f"replay.token wants the secret {limits.token!r}, which is nowhere: set "
            f"{SECRET_VARIABLE}{limits.token.upper()}, or add LoadCredential={limits.token}:FILE to the systemd unit"
        )
    elif token is not None and len(token) < TOKEN_CHARACTERS_MIN:
        problems.append(
            f"the secret {limits.token!r} of replay.token has fewer than {TOKEN_CHARACTERS_MIN} characters: "
            "make one with `openssl rand -hex 32`"
        )
    if not is_loopback(limits.host):
        where = f"{limits.host} can be reached from other machines"
        if not limits.token:
            problems.append(f"replay.token is not set and {where}: name a secret, or listen on 127.0.0.1")
        if not limits.origins:
            problems.append(
                f'replay.origins is empty and {where}: name the pages that may connect, like ["https://example.com"]'
            )
    if problems:
        raise ConfigInvalid("the configuration", problems)
    return Gate(token, limits.origins, place.open_paths())


async def _serve(
    settings: Settings, who: Gate, as_json: bool, until_stdin_closes: bool, played: Mapping[str, str] | None
) -> None:
    limits = settings.replay
    sessions = Sessions(Timeline(settings.data), Clock(), limits)
    places: dict[str, Place] = {
        "/replay": Native(sessions),
        "/finlight": ImitatedFinlight(sessions, played),
        "": ImitatedFinanceQuery(sessions, played),
    }
    server = Server(
        places,
        address=limits.host,
        port=limits.port,
        gate=who,
        clients_max=limits.listeners_max,
        message_bytes_max=limits.message_bytes_max,
        handshake_timeout_s=limits.handshake_timeout_s,
    )
    server.add(pages(lambda: facts.of(sessions, server)))
    questions = Questions(sessions.timeline, (*overview_questions.QUESTIONS, *player_questions.QUESTIONS))
    server.add(place.places(questions))
    be_prompt()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(0, lambda: None if os.read(0, 1 << 16) else stopped.set())
    try:
        await server.__aenter__()
    except OSError as error:
        raise RecorderError(
            f"cannot listen on {limits.host} port {limits.port}: {error.strerror}. Name another with --host or --port."
        ) from None
    try:
        told = {"url": server.url, "host": server.address, "port": server.port}
        print(orjson.dumps(told).decode() if as_json else f"Replaying {settings.data} on {server.url}", flush=True)
        # Beside a recorder systemd knows that one, and would complain about words from this.
        telling = asyncio.create_task(_tell(Notify({} if until_stdin_closes else os.environ), server, sessions))
        await stopped.wait()
        telling.cancel()
    finally:
        await server.__aexit__()
        gc.unfreeze()  # DuckDB complains on stderr about what is never collected


def be_prompt() -> None:
    """Nothing may hold the event loop up for a millisecond: neither old objects nor the threads that read ahead."""
    gc.collect()
    gc.freeze()  # what was imported stays: going through it again and again takes 10 to 20 ms each time
    sys.setswitchinterval(SWITCH_S)


async def _tell(notify: Notify, server: Server, sessions: Sessions) -> None:
    """Feeds systemd's watchdog while the event loop turns: more is not needed to be worth keeping."""
    notify.tell(READY=1)
    while notify.listens:
        playing = f"{server.clients} clients, {len(sessions.all)} sessions"
        notify.tell(WATCHDOG=1, STATUS=f"replaying on {server.url}: {playing}")
        await asyncio.sleep(TELL_EVERY_S)
