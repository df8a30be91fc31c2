"""The real daemon fills its gaps from the imitated REST API, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.partitions import catalog
from recorder.settings import Settings

PATIENCE_S = 60
KEY = "sk_live_this-must-not-be-seen"


def settings(data: Path, upstreams: Upstreams, **options: Any) -> Settings:
    news = {
        "kind": "finlight",
        "url": upstreams.finlight_url,
        "rest_url": upstreams.finlight_rest_url,
        "language": "en",
        "backfill_delay_s": 1,
        "backfill_again_s": 3,
        **options,
    }
    redial = {"first_s": 0.05, "max_s": 0.2}
    return Settings.model_validate({"data": data, "feeds": {"news": news}, "redial": redial, "seal": {"interval_s": 1}})


@asynccontextmanager
async def recording(settings: Settings) -> AsyncIterator[Daemon]:
    daemon = Daemon(settings, {"news": KEY})
    running = asyncio.create_task(daemon.run())
    try:
        yield daemon
    finally:
        daemon.stop()
        await running


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in many places
            await asyncio.sleep(0.02)


def news(daemon: Daemon) -> dict[str, Any]:
    status: dict[str, Any] = daemon.status()
    return {**status["feeds"]["news"], **status["repairs"]["news"]}


def ask(data: Path, statement: str) -> list[tuple[Any, ...]]:
    with catalog.connect(data) as connection:
        return connection.sql(statement).fetchall()


async def receiving(daemon: Daemon) -> None:
    began = news(daemon)["messages"]
    await until(lambda: news(daemon)["state"] == "receiving" and news(daemon)["messages"] > began + 20)


async def outage(daemon: Daemon, upstreams: Upstreams, articles: int) -> None:
    """The connection is cut, and nobody is let in until so many more articles were published."""
    upstreams.finlight.refuse(503, times=1_000_000)
    upstreams.finlight.cut()
    begun = len(upstreams.ledger.entries)
    await until(lambda: len(upstreams.ledger.entries) >= begun + 2 * articles)  # both streams
    upstreams.finlight.heal()
    await receiving(daemon)


def filled(daemon: Daemon) -> bool:
    return bool(news(daemon)["passes"]) and not news(daemon)["waiting"]


def published(upstreams: Upstreams) -> list[tuple[str, str]]:
    """Link and index date of everything English there was."""
    shown = upstreams.finlight_rest.archive.shown(upstreams.clock.now().utc_ns)
    facts = [entry.article.facts for entry in shown]
    return [(each["link"], each["createdAt"]) for each in facts if each["language"] == "en"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["finlight", "finlight.raw"])
async def test_what_was_published_in_a_gap_is_there_once_and_the_gap_says_so(tmp_path: Path, kind: str) -> None:
    async with Upstreams(World(8, articles_per_s=60)) as upstreams:
        async with recording(settings(tmp_path, upstreams, kind=kind)) as daemon:
            await receiving(daemon)
            upstreams.finlight_rest.refuse(500, times=2)
            upstreams.finlight_rest.truncate()
            await outage(daemon, upstreams, articles=120)
            await until(lambda: filled(daemon))
        links = published(upstreams)
    first = "SELECT {}(created_at)::TEXT FROM articles WHERE origin = 'wire' AND NOT initial AND revised_date IS NULL"
    ((began,),), ((ended,),) = (ask(tmp_path, first.format(which)) for which in ("min", "max"))
    due = {link for link, created in links if began <= created.replace("T", " ").removesuffix("Z") < ended}
    rows = ask(tmp_path, "SELECT link, revised_date::TEXT, origin FROM articles")
    assert due - {link for link, _, _ in rows} == set(), "an article is missing"
    fetched = [(link, revised) for link, revised, origin in rows if origin == "rest"]
    assert len({link for link, _ in fetched}) > 50
    assert len(fetched) == len(set(fetched)), "an article is doubled"
    assert set(fetched).isdisjoint((link, revised) for link, revised, origin in rows if origin == "wire")
    (gap,) = ask(tmp_path, "SELECT recovered, repaired_at > until_at, repair FROM gaps WHERE cause LIKE 'closed%'")
    ((count,),) = ask(tmp_path, "SELECT count(*) FROM articles WHERE origin = 'rest'")
    words = "complete" if kind == "finlight" else "complete; raw feed: text fields only, timing differs"
    assert gap == (count, True, words)
    marks = ask(tmp_path, "SELECT DISTINCT mark, kind, connection FROM messages WHERE mark = 'rest'")
    assert marks == [("rest", "data", 0)]
    rows = ask(tmp_path, "SELECT text FROM messages WHERE mark = 'rest'")
    assert all(orjson.loads(text).keys() >= {"link", "createdAt"} for (text,) in rows)
    assert ask(tmp_path, "SELECT DISTINCT repair FROM gaps WHERE cause IN ('start', 'stopped')") == [(None,)]


@pytest.mark.slow
async def test_revisions_in_a_gap_are_there_too(tmp_path: Path) -> None:
    async with Upstreams(World(9, articles_per_s=100)) as upstreams, recording(settings(tmp_path, upstreams)) as daemon:
        await receiving(daemon)
        await outage(daemon, upstreams, articles=300)
        await until(lambda: filled(daemon))
    revisions = "SELECT count(*), count(DISTINCT (link, revised_date)) FROM articles WHERE revised_date IS NOT NULL"
    ((count, distinct),) = ask(tmp_path, revisions + " AND origin = 'rest'")
    assert count == distinct > 0
    ((count, distinct),) = ask(tmp_path, revisions + " AND NOT initial")
    assert count == distinct


@pytest.mark.slow
async def test_what_is_indexed_late_comes_with_the_second_look(tmp_path: Path) -> None:
    async with (
        Upstreams(World(10, articles_per_s=60)) as upstreams,
        recording(settings(tmp_path, upstreams, backfill_again_s=10)) as daemon,
    ):
        await receiving(daemon)
        upstreams.finlight_rest.lag(7.0)  # however slow the machine is, the first look comes before
        await outage(daemon, upstreams, articles=60)
        await until(lambda: filled(daemon))
    entries = ask(
        tmp_path,
        "SELECT late_pass, recovered > 0, complete FROM lifecycle WHERE event = 'gap.repaired' ORDER BY position",
    )
    assert entries[-1] == (True, True, True)
    assert entries[0][0] is False


@pytest.mark.slow
async def test_the_recorders_own_absence_is_filled_by_the_next_one(tmp_path: Path) -> None:
    async with Upstreams(World(11, articles_per_s=60)) as upstreams:
        # The first recorder ends before its first look is due, the second before its last one.
        async with recording(settings(tmp_path, upstreams, backfill_delay_s=50, backfill_again_s=60)) as daemon:
            await receiving(daemon)
            await outage(daemon, upstreams, articles=30)
        async with recording(settings(tmp_path, upstreams, backfill_again_s=50)) as daemon:
            await receiving(daemon)
            await until(lambda: news(daemon)["passes"] > 0 and not news(daemon)["doing"])
        async with recording(settings(tmp_path, upstreams)) as daemon:
            await receiving(daemon)
            await until(lambda: news(daemon)["waiting"] > 0)
            await until(lambda: filled(daemon))
    gaps = ask(tmp_path, "SELECT cause LIKE 'closed%', repair FROM gaps WHERE cause <> 'start' ORDER BY since_at")
    assert gaps == [(True, "complete"), (False, "complete"), (False, "complete"), (False, None)]
    ((count, distinct),) = ask(tmp_path, "SELECT count(*), count(DISTINCT link) FROM articles WHERE origin = 'rest'")
    assert count == distinct > 0


@pytest.mark.slow
async def test_a_quota_that_is_used_up_is_said_and_nothing_else_suffers(tmp_path: Path) -> None:
    async with Upstreams(World(12, articles_per_s=60)) as upstreams:
        upstreams.finlight_rest.limit(period_max=0)
        async with recording(settings(tmp_path, upstreams)) as daemon:
            await receiving(daemon)
            await outage(daemon, upstreams, articles=10)
            await until(lambda: news(daemon)["passes"] > 0 and not news(daemon)["doing"])
            await receiving(daemon)
            assert len(upstreams.finlight_rest.server.requests) == 1
    ((repair, recovered),) = ask(tmp_path, "SELECT repair, recovered FROM gaps WHERE cause LIKE 'closed%'")
    assert repair == "waiting: quota (HTTP 429: Exceeded token limit of 0 for the current period.)"
    assert recovered == 0
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
