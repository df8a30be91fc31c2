"""The player in a real Chromium, on a real server, with a recording of an hour: opened, clicked, played, looked at."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from recorder import lifecycle
from recorder.clock import SECOND_NS, Clock
from recorder.journal.writer import Journal
from recorder.message import Kind, Mark, Message, Stream
from recorder.settings import Journal as JournalSettings

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

START_NS = 1_769_860_800 * SECOND_NS  # 2026-01-31T12:00:00Z
QUOTES = Stream("prices", "finance_query.quotes")
NEWS = Stream("news", "finlight")
SYMBOLS = {"AAPL": 212.4, "JPM": 230.1, "MSFT": 402.3, "NVDA": 122.9}
FRAMES = 720  # one each five seconds
HOSTILE = "<img src=x onerror=\"document.title='had'\"><script>document.title='had'</script>"

Start = Callable[..., Awaitable["Page"]]


def _walks() -> list[bytes]:
    """Quotes frames, in which each price goes a little up or down."""
    dice, prices, frames = random.Random(5), dict(SYMBOLS), []
    for _ in range(FRAMES):
        prices = {symbol: price * (1 + dice.gauss(0, 0.0003)) for symbol, price in prices.items()}
        frames.append(orjson.dumps([{"symbol": each, "price": f"{price:.2f}"} for each, price in prices.items()]))
    return frames


def _article(number: int, ticker: str, title: str, link: str, sentiment: str) -> bytes:
    data = {"link": link, "source": "news.example", "title": title, "publishDate": "2026-01-31T11:59:00.000Z"}
    about = [{"companyId": number, "name": ticker, "ticker": ticker}]
    more = {"language": "en", "sentiment": sentiment, "confidence": "0.9", "companies": about}
    return orjson.dumps({"action": "sendArticle", "data": {**data, **more}})


def _messages() -> list[Message]:
    rows: list[tuple[float, Stream, Kind, bytes]] = [
        (5 * n, QUOTES, Kind.DATA, frame) for n, frame in enumerate(_walks()) if not 300 <= n < 360
    ]
    gap = {"since_ns": START_NS + 1500 * SECOND_NS, "cause": "silence"}
    rows.append((1530, QUOTES, Kind.LIFECYCLE, lifecycle.entry("gap.opened", **gap)))
    until_ns = START_NS + 1800 * SECOND_NS
    rows.append((1800, QUOTES, Kind.LIFECYCLE, lifecycle.entry("gap.closed", **gap, until_ns=until_ns)))
    for number in range(40):
        ticker = list(SYMBOLS)[number % 4]
        title, sentiment = f"{ticker} moves, report {number}", ("positive", "negative", "neutral")[number % 3]
        link = f"https://news.example/{number}"
        rows.append((31 + 88.2 * number, NEWS, Kind.DATA, _article(number, ticker, title, link, sentiment)))
    rows.append((3500.5, NEWS, Kind.DATA, _article(77, "AAPL", HOSTILE, "javascript:document.title='had'", "neutral")))
    return [
        Message(position, stream, kind, Mark.NONE, START_NS + int(second * SECOND_NS), position, 1, payload)
        for position, (second, stream, kind, payload) in enumerate(sorted(rows, key=lambda row: row[0]), 1)
    ]


@pytest.fixture
def data(tmp_path: Path, record: Callable[..., None]) -> Path:
    messages = _messages()
    record(tmp_path / "data", messages, per_group=100, seals=(300, 600))
    return tmp_path / "data"


@pytest.fixture
def start(data: Path, serve: Any, look: Any) -> Start:
    async def opened(query: str = "", **options: Any) -> Page:
        page: Page = await look(f"{await serve(data)}", **options)
        await page.evaluate("hash => { location.hash = hash; }", f"#player{query}")
        await said(page, ".status", "Paused")
        await page.locator(".chip[aria-pressed=true]").wait_for()
        await page.locator(".shown-kinds .kind-gap").wait_for()  # density, prices and marks are there
        return page

    return opened


async def said(page: Page, selector: str, words: str) -> None:
    from playwright.async_api import expect

    await expect(page.locator(selector)).to_have_text(re.compile(words))


async def second(page: Page) -> float:
    """Where the playhead is, in seconds from the beginning."""
    now = await page.locator(".strip").get_attribute("aria-valuenow")
    assert now is not None
    return int(now) - START_NS / SECOND_NS


async def until(page: Page, wanted: Callable[[float], bool]) -> float:
    for _ in range(400):
        if wanted(now := await second(page)):
            return now
        await page.wait_for_timeout(50)
    raise AssertionError(f"the playhead stays at {now} s")


async def coloured(page: Page, selector: str) -> int:
    """How many pixels of a canvas are drawn on."""
    return int(
        await page.locator(selector).evaluate(
            """canvas => {
              const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              return data.filter((value, at) => at % 4 === 3 && value > 0).length;
            }"""
        )
    )


async def test_what_is_opened_shows_the_range_with_prices_density_and_the_gap(start: Start, shoot: Any) -> None:
    page = await start()
    assert await page.locator(".from").input_value() == "2026-01-31 12:00:00"
    assert await page.locator(".chip b").all_inner_texts() == list(SYMBOLS)
    assert await coloured(page, ".chart canvas") > 2_000
    assert await coloured(page, ".strip canvas") > 2_000
    gap = page.locator(".gap")
    assert await gap.count() == 1
    await gap.focus()
    await said(page, ".gap-tip", "Gap of prices, 5 min from 2026-01-31 12:25:00 UTC: silence")
    await page.keyboard.press("Enter")
    await until(page, lambda now: now == 1500)
    await page.select_option(".speed", "60")
    await page.click(".play")
    await said(page, ".in-gap", "prices: silence")
    await until(page, lambda now: now > 1810)
    await said(page, ".in-gap", "^$")
    await shoot(page, "opened")


async def test_it_plays_pauses_steps_seeks_and_changes_its_speed(start: Start, shoot: Any) -> None:
    page = await start()
    await page.select_option(".speed", "600")
    await page.click(".play")
    await said(page, ".status", "Playing")
    await said(page, ".figures", "^600. asked, .* reached · late .* messages")
    await until(page, lambda now: now > 700)
    await page.click(".play")
    await said(page, ".status", "Paused")
    await shoot(page, "paused")
    played = await second(page)
    price = await page.locator(".chip", has_text="NVDA").locator("span").inner_text()
    assert float(price) == pytest.approx(SYMBOLS["NVDA"], rel=0.05)
    await page.click(".step")  # perhaps to one of the same second
    await page.click(".step")
    assert await until(page, lambda now: now > played) <= played + 11
    await page.locator(".strip").click(position={"x": 5, "y": 20})
    assert await until(page, lambda now: now < 60) >= 0
    await page.click(".to-start")
    await until(page, lambda now: now == 0)
    await page.click(".faster")
    assert await page.locator(".speed").input_value() == "3600"


async def test_the_keyboard_does_all_of_it(start: Start) -> None:
    page = await start()
    await page.keyboard.press("?")
    await said(page, "dialog.keys h2", "Keys")
    await page.keyboard.press("Escape")
    await page.keyboard.press("End")
    await until(page, lambda now: now > 3580)
    await page.keyboard.press("Home")
    await until(page, lambda now: now == 0)
    await page.keyboard.press("Shift+ArrowRight")
    await until(page, lambda now: 355 <= now <= 364)
    await page.keyboard.press("ArrowLeft")
    await until(page, lambda now: 320 <= now <= 330)
    for _ in range(5):
        await page.keyboard.press("+")
    assert await page.locator(".speed").input_value() == "300"
    await page.keyboard.press("-")
    assert await page.locator(".speed").input_value() == "60"
    await page.keyboard.press("Space")
    await said(page, ".status", "Playing")
    await page.keyboard.press("Space")
    await said(page, ".status", "Paused")
    await page.keyboard.press("ArrowDown")
    await said(page, ".headline-symbol", "JPM")
    await page.keyboard.press("]")
    await page.keyboard.press(".")
    await page.keyboard.press("0")
    await said(page, ".status", "Paused")


async def test_articles_appear_as_they_are_played_and_are_text_whatever_they_hold(start: Start, shoot: Any) -> None:
    page = await start("?symbol=AAPL")
    assert await page.locator(".article").count() == 0
    await page.select_option(".speed", "max")
    await page.click(".play")
    await said(page, ".status", "Ended|Live")
    await said(page, ".article >> nth=0", "<img src=x onerror")
    assert await page.locator(".article").count() == 11  # ten about AAPL, and the hostile one
    assert await page.locator(".article a").count() == 10  # none to javascript:
    await page.locator(".only input").uncheck()
    await said(page, ".article >> nth=1", "NVDA moves, report 39")
    assert await page.locator(".article").count() == 41
    assert await page.locator(".article a").first.get_attribute("href") == "https://news.example/39"
    assert await page.locator(".article img, .article script").count() == 0
    assert await page.title() == "recorder · player"
    await shoot(page, "articles")


async def test_a_range_is_chosen_by_its_moments_and_by_drawing_over_the_chart(start: Start) -> None:
    page = await start("?from=2026-01-31T12:10:00Z&to=2026-01-31T12:20:00Z&symbol=NVDA")
    await said(page, ".headline-symbol", "NVDA")
    assert await page.locator(".to").input_value() == "2026-01-31 12:20:00"
    await page.select_option(".speed", "max")
    await page.click(".play")
    await said(page, ".status", "Ended")
    assert 1190 <= await second(page) <= 1200
    await page.fill(".from", "2026-01-31 12:00")
    await page.fill(".to", "yesterday")
    await page.click(".range [type=submit]")
    await said(page, ".problem", "Write moments as")
    await page.fill(".to", "2026-01-31 12:40")
    await page.click(".range [type=submit]")
    await said(page, ".shown-kinds .kind-gap", "Gap of prices, 5 min")
    box = await page.locator(".chart .u-over").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 50)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=4)
    await page.mouse.up()
    assert await page.locator(".from").input_value() in ("2026-01-31 12:09:59", "2026-01-31 12:10:00")
    assert "from=2026-01-31T12%3A" in page.url


@asynccontextmanager
async def recording(data: Path) -> AsyncIterator[None]:
    """Until the block ends, a price of NVDA that grows by one comes every 50 ms, as from a recorder at work."""
    clock = Clock()

    async def write(journal: Journal) -> None:
        for price in itertools.count(1):
            frame = orjson.dumps([{"symbol": "NVDA", "price": f"{price}.00"}])
            journal.append(QUOTES, Kind.DATA, 1, [frame], Mark.NONE, clock.now())
            await asyncio.sleep(0.05)

    journal = Journal.open(data, JournalSettings(commit_interval_ms=2), clock)
    writing = asyncio.create_task(write(journal))
    try:
        yield
    finally:
        writing.cancel()
        await journal.close()


async def test_it_joins_what_is_being_recorded(data: Path, start: Start, shoot: Any) -> None:
    async with recording(data):
        page = await start("?symbol=NVDA")
        await page.keyboard.press("l")
        await said(page, ".status", "Live")
        price = page.locator(".chip", has_text="NVDA").locator("span")
        await said(page, ".chip[data-symbol=NVDA] span", r"^\d+$")
        heard = int(await price.inner_text())
        while int(await price.inner_text()) < heard + 20:  # the test's time-out ends this
            await page.wait_for_timeout(100)
        assert await second(page) > 1_000_000
        await shoot(page, "live")
        await page.keyboard.press("Space")
        await said(page, ".status", "Paused")


async def test_at_a_million_times_the_page_answers_and_stays_small(start: Start) -> None:
    page = await start()
    elements = await page.locator("*").count()
    await page.select_option(".speed", "1000000")
    for _ in range(3):
        await page.click(".play")
        await said(page, ".status", "Ended|Live")
        await said(page, ".now-clock", "12:59:55")
    assert await page.locator("*").count() < elements + 60 * 15
    assert await page.locator(".speed").is_enabled()


@pytest.mark.parametrize(("width", "dark"), [(380, False), (380, True), (1280, True)])
async def test_it_fits_a_telephone_by_day_and_by_night(start: Start, shoot: Any, width: int, dark: bool) -> None:
    page = await start(width=width, dark=dark)
    await page.select_option(".speed", "600")
    await page.click(".play")
    await until(page, lambda now: now > 900)
    await page.click(".play")
    assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    for selector in (".play", ".speed", ".strip", ".to", ".go-live", ".help"):
        box = await page.locator(selector).bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    paper = await page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", paper)[0]) < 60) == dark
    await shoot(page, f"{width}-{'dark' if dark else 'light'}")
