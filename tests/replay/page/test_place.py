from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from http.client import HTTPResponse
from pathlib import Path, PurePosixPath

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from recorder.clock import Clock
from recorder.replay.page import place
from recorder.replay.page.questions import Question, Questions
from recorder.replay.port.server import Server
from recorder.replay.timeline import Timeline
from recorder.replay.upstreams.as_finance_query import Fetch, FinanceQuery
from recorder.replay.upstreams.host import Host
from recorder.replay.upstreams.ledger import Ledger

STATIC = Path(place.__file__).parent / "static"
FILES = place.read()


class Hours:
    def fetch(self, wanted: Fetch, now: object) -> bytes:
        return f'{{"endpoint":"{wanted.endpoint}"}}'.encode()


def served(data: Path) -> Server:
    """As `recorder serve` has it: the page at the front of a port whose every other path is Finance Query's."""
    questions = Questions(Timeline(data), [Question("ping.json", lambda asked: {"said": asked.parameters["say"]})])
    finance_query = Host(FinanceQuery(Hours(), refresh_s=60), clock=Clock(), ledger=Ledger())
    return Server({"": finance_query, **place.places(questions)})


async def get(server: Server, path: str, known: str = "") -> tuple[int, HTTPResponse, bytes]:
    def ask() -> tuple[int, HTTPResponse, bytes]:
        request = urllib.request.Request(server.url.replace("ws:", "http:") + path, headers={"If-None-Match": known})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused, refused.read()  # type: ignore[return-value]

    return await asyncio.to_thread(ask)


async def test_the_page_is_at_the_front_and_every_file_of_it_has_its_type(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        code, answer, body = await get(server, "/")
        assert (code, body) == (200, (STATIC / "index.html").read_bytes())
        for name, file in FILES.items():
            code, answer, body = await get(server, f"/page/{name}")
            assert (code, body) == (200, (STATIC / name).read_bytes())
            assert answer.headers["Content-Type"] == file.content_type
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")


def test_every_file_of_the_folder_is_served_or_is_paper() -> None:
    found = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert {PurePosixPath(name).name for name in found - set(FILES)} <= {"LICENSE", "VERSION.md"}


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("vendor/")])
def test_files_name_only_files_that_are_there_and_no_other_host(name: str) -> None:
    text = FILES[name].body.decode()
    there = [f"/page/{each}" for each in FILES]
    folder = PurePosixPath("/page", name).parent
    named = re.findall(r'(?:href|src)="(/[^"]*)"', text)
    named += [str(folder / each) for each in re.findall(r'(?:from|import) "\./([^"]+)"', text)]
    assert [each for each in named if each not in there] == []
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {"http://www.w3.org/2000/svg"}


async def test_a_file_that_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        _, answer, body = await get(server, "/page/style.css")
        code, answer, nothing = await get(server, "/page/style.css", answer.headers["ETag"])
        assert (code, nothing, answer.headers["Cache-Control"]) == (304, b"", "no-cache")
        code, _, whole = await get(server, "/page/style.css", '"another"')
        assert (code, whole) == (200, body)


@pytest.mark.parametrize(
    "path", ["/page", "/page/", "/page/nowhere.js", "/page/../place.py", "/page/%2e%2e/place.py", "/page//etc/passwd"]
)
async def test_nothing_but_the_listing_is_found(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as server:
        assert (await get(server, path))[0] == 404


async def test_questions_are_answered_beside_the_files_and_kept_by_nobody(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        code, answer, body = await get(server, "/page/ping.json?say=%3Cb%3E")
        assert (code, body, answer.headers["Cache-Control"]) == (200, b'{"said":"<b>"}', "no-store")


async def test_paths_of_finance_query_are_answered_as_without_the_page(tmp_path: Path) -> None:
    bare = Server({"": Host(FinanceQuery(Hours(), refresh_s=60), clock=Clock(), ledger=Ledger())})
    async with served(tmp_path) as server, bare, asyncio.timeout(20):
        for path in ("/hours", "/quotes", "/market", "/pages", "/profile/AAPL", "/nowhere"):
            assert (await get(server, path))[::2] == (await get(bare, path))[::2]
        async with connect(server.url + "/hours") as hours:
            assert await hours.recv() == '{"endpoint":"hours"}'


@pytest.mark.parametrize("path", ["/", "/page", "/page/coverage.json", "/session/x/", "//hours"])
async def test_no_websocket_is_found_where_the_page_is(tmp_path: Path, path: str) -> None:
    async with served(tmp_path) as server:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url + path)
        assert refused.value.response.status_code == 403
