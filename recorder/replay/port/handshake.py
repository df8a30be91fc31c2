"""What a client asks at the door, and the HTTP answer it may get instead of a connection."""

from __future__ import annotations

import http
from collections.abc import Mapping
from dataclasses import dataclass, field

from websockets.datastructures import Headers
from websockets.http11 import Response


@dataclass(frozen=True, slots=True)
class Handshake:
    """An HTTP request at the door. `headers` keep the letter case they were sent in."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    client: str = ""
    upgrade: bool = True  # False: a plain GET
    session: str | None = None  # the NAME of a path that began with /session/NAME


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer instead of a connection."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def response(answer: Answer) -> Response:
    """An HTTP answer as websockets wants it."""
    headers = Headers({"Connection": "close", "Content-Length": str(len(answer.body))})
    if answer.body:
        headers["Content-Type"] = answer.content_type
    headers.update(answer.headers)
    return Response(answer.status, http.HTTPStatus(answer.status).phrase, headers, answer.body)
