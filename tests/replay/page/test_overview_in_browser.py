"""The overview as a person meets it: a real recorder, a real server, a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from recorder import lifecycle
from recorder.clock import SECOND_NS
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.message import Kind, Mark, Message, Stream

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.browser

DAY_NS = 86_400 * SECOND_NS
START_NS = 1_795_262_400 * SECOND_NS  # 2026-11-21T12:00:00Z
NEWS = Stream("news", "finlight")
GONE = r"Failed to load resource"  # what Chromium says of a server that is gone, or wants a token
TOKEN = "0123456789abcdef0123"

Look = Callable[..., Awaitable["Page"]]
Serve = Callable[..., Awaitable[str]]
Run = Callable[..., Awaitable[Any]]
Shoot = Callable[..., Awaitable[None]]


@pytest.fixture
def three_days(tmp_path: Path, record: Callable[..., None]) -> Path:
    """Of one feed, with a gap of half an hour on the second; the middle is sealed, the end is not."""
    gap = {"since_ns": START_NS + DAY_NS, "cause": "<b>silent</b>"}
    entries = [
        (0, Kind.DATA, b'{"n":1}'),
        (DAY_NS, Kind.LIFECYCLE, lifecycle.entry("gap.opened", **gap)),
        (DAY_NS + 1800 * SECOND_NS, Kind.LIFECYCLE,
         lifecycle.entry("gap.closed", **gap, until_ns=START_NS + DAY_NS + 1800 * SECOND_NS)),
        (2 * DAY_NS, Kind.DATA, b'{"n":2}'),
    ]  # fmt: skip
    messages = [
        Message(at, NEWS, kind, Mark.NONE, START_NS + after_ns, after_ns, 1, payload)
        for at, (after_ns, kind, payload) in enumerate(entries, 1)
    ]
    record(tmp_path / "data", messages, per_group=1, seals=(3,))
    return tmp_path / "data"


async def seen(page: Page, text: str) -> None:
    await page.get_by_text(re.compile(text)).first.wait_for()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 380])
async def test_a_running_recorder_is_seen_at_work(
    width: int, dark: bool, tmp_path: Path, run: Run, serve: Serve, look: Look, shoot: Shoot
) -> None:
    async with Upstreams(World(1, articles_per_s=5), refresh_s=0.2) as upstreams:
        (tmp_path / "config.toml").write_text(
            f"""
            data = "data"
            [feeds.news]
            kind = "finlight"
            url = "{upstreams.finlight_url}"
            [feeds.profiles]
            kind = "finance_query.profile"
            url = "{upstreams.finance_query_url}"
            symbols = ["AAPL", "MSFT"]
            """
        )
        await run(tmp_path / "config.toml", RECORDER_SECRET_FINLIGHT="key")
        page = await look(await serve(tmp_path / "data"), width=width, dark=dark)
        await seen(page, "All is well")
        await page.locator("tr", has_text="news").get_by_text("receiving").wait_for()
        await page.locator("tr", has_text="news").get_by_text(re.compile(r"[1-9].*/s")).wait_for()
        await page.get_by_role("button", name="2 channels").click()
        await page.locator("tr.channel", has_text="MSFT").get_by_text("receiving").wait_for()
        await (
            page.locator(".card", has_text="Received to durable")
            .get_by_text(re.compile(r"^[\d.]+ ms$"))
            .first.wait_for()
        )
        await page.locator(".card", has_text="Jobs").get_by_text("seal", exact=True).wait_for()
        await page.reload()  # coverage is asked once a minute
        await page.get_by_role("gridcell", name=re.compile("news.*covered")).wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        await shoot(page, "running")


async def test_gaps_are_told_on_hover_and_on_focus_and_lead_into_the_player(
    three_days: Path, serve: Serve, look: Look, shoot: Shoot
) -> None:
    page = await look(await serve(three_days))
    await seen(page, "Nobody records here")
    cells = page.get_by_role("gridcell")
    tip = page.get_by_role("tooltip")
    await cells.nth(33).hover()
    assert await cells.count() == 35
    await tip.get_by_text("30 min · <b>silent</b>").wait_for()  # as it came, not as markup
    await seen(page, r"97\.91 % of 1 d covered, 1 gap")
    await page.mouse.move(0, 0)
    await tip.wait_for(state="hidden")

    await page.get_by_role("button", name="13 weeks").focus()
    await page.keyboard.press("Tab")  # into the calendar, at its last day
    await tip.get_by_text("Mon, 23 Nov 2026").or_(tip.get_by_text("Mon 23 Nov 2026")).wait_for()
    await page.keyboard.press("ArrowLeft")
    await tip.get_by_text("<b>silent</b>").wait_for()
    await shoot(page, "tip")
    await page.keyboard.press("Escape")
    await tip.wait_for(state="hidden")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="Play this day").wait_for()
    await page.keyboard.press("Home")
    await tip.get_by_text("not recorded").wait_for()
    await page.get_by_role("link", name="Play this day").click()
    await page.wait_for_function("location.hash.startsWith('#player?from=2026-11-22T00%3A00')")
    await page.get_by_role("link", name="Overview").click()
    await cells.first.wait_for()


async def test_other_weeks_are_asked_for_and_reach_further_back(three_days: Path, serve: Serve, look: Look) -> None:
    page = await look(await serve(three_days), width=380)
    await page.get_by_role("gridcell").nth(34).wait_for()
    await page.get_by_role("button", name="13 weeks").click()
    await page.get_by_role("gridcell").nth(90).wait_for()
    assert await page.evaluate("document.documentElement.scrollWidth") == 380
    assert await page.locator(".scroller").evaluate("it => it.scrollLeft + it.clientWidth >= it.scrollWidth - 1")


async def test_where_nothing_is_recorded_the_page_says_how_to_begin(
    tmp_path: Path, serve: Serve, look: Look, shoot: Shoot
) -> None:
    page = await look(await serve(tmp_path / "none"))
    await seen(page, "Nothing is recorded here yet")
    await seen(page, "days appear with the first message")
    assert await page.get_by_role("gridcell").count() == 0
    await shoot(page, "empty")


async def test_a_server_that_goes_away_is_said_plainly_and_found_again(
    three_days: Path, look: Look, serving: Callable[..., Any], shoot: Shoot
) -> None:
    async with serving(three_days) as url:
        page = await look(url, complaints=GONE)
        await seen(page, "Nobody records here")
    await seen(page, "does not answer")
    await seen(page, r"What you see is .* old")
    await shoot(page, "gone")
    async with serving(three_days, port=urlsplit(url).port):
        await seen(page, "Nobody records here")


async def test_a_token_is_asked_for_once_and_never_kept_longer_than_the_tab(
    three_days: Path, serve: Serve, look: Look, shoot: Shoot
) -> None:
    url = await serve(three_days, RECORDER_REPLAY__TOKEN="replay", RECORDER_SECRET_REPLAY=TOKEN)
    page = await look(url, complaints=GONE)
    await page.get_by_role("textbox", name="Token").fill("wrong")
    await page.get_by_role("button", name="Continue").click()
    await seen(page, "That was not it")
    await shoot(page, "token")
    await page.get_by_role("textbox", name="Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await seen(page, "Nobody records here")
    await page.get_by_role("gridcell").first.wait_for()
    await page.reload()
    await seen(page, "Nobody records here")
    assert await page.evaluate("JSON.stringify([localStorage, document.cookie, location.href])") == f'[{{}},"","{url}"]'


async def test_colours_follow_the_system_until_the_button_says_otherwise(
    three_days: Path, serve: Serve, look: Look
) -> None:
    page = await look(await serve(three_days), dark=True)

    async def paper() -> str:
        return str(await page.evaluate("getComputedStyle(document.body).backgroundColor"))

    night = await paper()
    await page.get_by_role("button", name="Colours: auto").click()
    day = await paper()
    assert day != night
    await page.reload()
    await page.get_by_role("button", name="Colours: light").wait_for()
    assert await paper() == day
    await page.get_by_role("button", name="Colours: light").click()
    assert await paper() == night
