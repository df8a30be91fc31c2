"""A real Chromium that looks at a real server; nothing is downloaded, and what it complains about fails the test."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from playwright.async_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = [
    *("--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

Served = Callable[..., Awaitable[str]]
Look = Callable[..., Awaitable["Page"]]


@asynccontextmanager
async def process(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`recorder …` until the block ends."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "recorder", *arguments, env={"PATH": "/usr/bin:/bin", **environ},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@asynccontextmanager
async def server(data: Path, port: int = 0, **environ: str) -> AsyncIterator[str]:
    """The address of a `recorder serve` that lives until the block ends."""
    async with process("serve", "--port", str(port), "--json", "--data", str(data), **environ) as started:
        assert started.stdout is not None
        told = orjson.loads(await asyncio.wait_for(started.stdout.readline(), 60))
        yield f"http://{told['host']}:{told['port']}/"


@pytest.fixture
def serving() -> Callable[..., Any]:
    """serving(data, port=…, **environ): for tests in which the server goes away."""
    return server


@pytest.fixture
async def serve() -> AsyncIterator[Served]:
    """serve(data, **environ): `recorder serve` in a process of its own, until the test ends; answers its address."""
    async with AsyncExitStack() as stack:

        async def begun(data: Path, **environ: str) -> str:
            return await stack.enter_async_context(server(data, 0, **environ))

        yield begun


@pytest.fixture
async def run() -> AsyncIterator[Callable[..., Awaitable[asyncio.subprocess.Process]]]:
    """run(config, **environ): `recorder run` without a server, until the test ends."""
    async with AsyncExitStack() as stack:

        async def begun(config: Path, **environ: str) -> asyncio.subprocess.Process:
            return await stack.enter_async_context(process("run", "--no-serve", "--config", str(config), **environ))

        yield begun


@pytest.fixture
async def look(tmp_path: Path) -> AsyncIterator[Look]:
    """look(url, width=…, dark=…): a page in headless Chromium. What its console complained about is the test's failure.

    So is a request to any other host. `complaints`: a pattern of those that are expected, like a server that is gone.
    Screenshots of `RECORDER_SCREENSHOTS`, a folder, are made by `shoot`.
    """
    from playwright.async_api import async_playwright

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.fail("there is no Chromium: apt-get install chromium")
    complained: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=OPTIONS)

        async def opened(
            url: str, *, width: int = 1280, height: int = 900, dark: bool = False, complaints: str = r"(?!)"
        ) -> Page:
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page = await context.new_page()
            page.set_default_timeout(20_000)

            def heard(text: str) -> None:
                if not re.search(complaints, text):
                    complained.append(text)

            page.on("console", lambda said: heard(said.text) if said.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: heard(str(error)))
            page.on(
                "request", lambda asked: None if asked.url.startswith((url, "data:", "blob:")) else heard(asked.url)
            )
            await page.goto(url)
            return page

        yield opened
        await browser.close()
    assert complained == []


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[..., Awaitable[None]]:
    """shoot(page, name): a screenshot, kept where RECORDER_SCREENSHOTS names a folder."""

    async def shot(page: Any, name: str) -> None:
        if folder := os.environ.get("RECORDER_SCREENSHOTS"):
            await page.screenshot(path=Path(folder) / f"{request.node.name}-{name}.png", full_page=True)

    return shot
