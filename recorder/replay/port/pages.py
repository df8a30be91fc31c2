"""Plain HTTP on the replay's port: `/healthz`, `/status`, `/metrics`.

In: a GET. Out: an answer made of the facts of that moment. Clients that want a WebSocket here are told there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from websockets.http11 import Response

from recorder import health, metrics
from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import Socket

Facts = Callable[[], Mapping[str, Any]]
Render = Callable[[Mapping[str, Any]], Answer]


class Page:
    """A place of the server with one page. `facts` and `render` are called in a thread."""

    def __init__(self, facts: Facts, render: Render) -> None:
        self._facts = facts
        self._render = render

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:  # noqa: ARG002
        if request.path not in ("", "/") or request.session is not None:
            return response(Answer(404))
        if request.upgrade:
            return response(Answer(400, b"this is a page; the WebSocket is /replay\n", "text/plain"))
        facts = self._facts()
        return response(await asyncio.to_thread(self._render, facts))

    async def converse(self, socket: Socket) -> None:  # noqa: ARG002
        raise AssertionError("nobody is let in")

    def stop(self) -> list[Awaitable[None]]:
        return []


def pages(facts: Facts) -> dict[str, Page]:
    """All of them by their paths."""
    return {"/healthz": Page(facts, healthz), "/status": Page(facts, status), "/metrics": Page(facts, prometheus)}


def healthz(facts: Mapping[str, Any]) -> Answer:
    """200 while all is well or nobody records here, 503 where messages are being lost."""
    if not facts["running"]:
        return Answer(200, b'{"state":"ok","reasons":["nobody records here: serving a recording"]}')
    failed = facts["health"]["state"] == health.State.FAILED.value
    return Answer(503 if failed else 200, orjson.dumps(facts["health"]))


def status(facts: Mapping[str, Any]) -> Answer:
    return Answer(200, orjson.dumps(facts))


def prometheus(facts: Mapping[str, Any]) -> Answer:
    return Answer(200, metrics.text(facts), metrics.CONTENT_TYPE)
