"""The page at `/` and everything below `/page/`: files that come with this package, and questions to the recording.

In: a GET. Out: a file of the listing that was read at the start, or the answer to a question as JSON. No path is ever
looked up on disk because a client named it. Nothing here must survive. What is asked of the recording, and how much at
once, is questions.py's business; who may come in is the gate's: the files are no secret, the answers are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from websockets.http11 import Response

from recorder.replay.page.questions import Questions
from recorder.replay.port.handshake import Answer, Handshake, response
from recorder.replay.port.socket import Socket

FRONT = "/"
BELOW = "/page"
INDEX = "index.html"
CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
# Nothing from any other host, no script but ours, in nobody's frame.
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page, as it is sent. `etag` changes with its bytes."""

    body: bytes
    content_type: str
    etag: str

    def answer(self, known: str) -> Answer:
        """`known`: what the browser says it has, the text of If-None-Match."""
        headers = (*HEADERS, ("ETag", self.etag), ("Cache-Control", "no-cache"))
        if self.etag in known:
            return Answer(304, headers=headers)
        return Answer(200, self.body, self.content_type, headers)


class Page:
    """A place of the server: for `/` with the front alone, for `/page` with all files and questions."""

    def __init__(self, listing: Mapping[str, File], questions: Questions | None = None) -> None:
        self._files = listing
        self._questions = questions

    async def knock(self, socket: Socket, number: int, request: Handshake) -> Response | None:  # noqa: ARG002
        path = request.path.removeprefix("/")
        if request.upgrade or request.session is not None:
            return response(Answer(403))  # what Finance Query, whose root this is too, says to whatever it lacks
        if (file := self._files.get(path)) is not None:
            known = next((text for name, text in request.headers if name.lower() == "if-none-match"), "")
            return response(file.answer(known))
        if self._questions is not None and path in self._questions.asked:
            answer = await self._questions.answer(path, request.query)
            return response(Answer(answer.status, answer.body, headers=(*HEADERS, ("Cache-Control", "no-store"))))
        return response(Answer(404, b'{"error":"the page has no such file and no such question"}'))

    async def converse(self, socket: Socket) -> None:  # noqa: ARG002
        raise AssertionError("nobody is let in")

    def stop(self) -> list[Awaitable[None]]:
        return []


def places(questions: Questions) -> dict[str, Page]:
    """By their prefixes."""
    listing = read()
    return {FRONT: Page({"": listing[INDEX]}), BELOW: Page(listing, questions)}


def open_paths() -> frozenset[str]:
    """What may be had without the token: with it the page could not even ask for one."""
    return frozenset((FRONT, *(f"{BELOW}/{name}" for name in read())))


def read() -> dict[str, File]:
    """Every file that comes with the page, by its path below `/page/`."""
    return dict(_below(files("recorder.replay.page") / "static", ""))


def _below(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _below(entry, f"{prefix}{entry.name}/")
        elif (content_type := CONTENT_TYPES.get(entry.name.rpartition(".")[2])) is not None:
            body = entry.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found.append((f"{prefix}{entry.name}", File(body, content_type, etag)))
    return found
