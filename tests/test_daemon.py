"""The real daemon, recording from the imitated upstreams over real sockets."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.errors import DataDirectoryBusy
from recorder.notify import Notify
from recorder.partitions import catalog
from recorder.replay.upstreams.ledger import digest
from recorder.settings import Settings

PATIENCE_S = 60


def settings(data: Path, upstreams: Upstreams, *names: str, **sections: Any) -> Settings:
    news = {"url": upstreams.finlight_url, "overlap_s": 1}
    finance = {"url": upstreams.finance_query_url, "overlap_s": 1}
    feeds = {
        "news": {"kind": "finlight", **news},
        "raw": {"kind": "finlight.raw", **news},
        "quotes": {"kind": "finance_query.quotes", "symbols": ["AAPL", "MSFT"], **finance},
        "profiles": {"kind": "finance_query.profile", "symbols": ["AAPL", "NVDA"], **finance},
        "market": {"kind": "finance_query.market", **finance},
        "hours": {"kind": "finance_query.hours", **finance},
    }
    chosen = {name: feed for name, feed in feeds.items() if not names or name in names}
    for name, options in sections.pop("feeds", {}).items():
        chosen[name] = {**chosen[name], **options}
    return Settings.model_validate({"data": data, "feeds": chosen, **sections})


SECRETS = {"news": "key", "raw": "key"}


async def until(daemon: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status: dict[str, Any] = daemon.status()
            if holds(status):
                return status
            await asyncio.sleep(0.01)


def ask(data: Path, statement: str) -> list[tuple[Any, ...]]:
    with catalog.connect(data) as connection:
        return connection.sql(statement).fetchall()


def receiving(status: dict[str, Any]) -> bool:
    return all(feed["state"] == "receiving" and feed["messages"] > 8 for feed in status["feeds"].values())


@pytest.mark.slow
async def test_every_kind_of_feed_is_recorded_sealed_and_seen_by_sql(tmp_path: Path) -> None:
    async with Upstreams(World(1, articles_per_s=50), refresh_s=0.1) as upstreams:
        daemon = Daemon(settings(tmp_path, upstreams, seal={"interval_s": 0.5}), SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, lambda s: receiving(s) and s["sealed_position"] > 0)
        daemon.stop()
        await running
    published = {entry.digest for entry in upstreams.ledger.entries}
    rows = ask(tmp_path, "SELECT position, text FROM messages WHERE kind = 'data' ORDER BY position")
    assert {digest(text.encode()) for _, text in rows} <= published
    ((count, distinct, span),) = ask(
        tmp_path, "SELECT count(*), count(DISTINCT position), max(position) - min(position) + 1 FROM messages"
    )
    assert count == distinct == span
    kinds = {kind for (kind,) in ask(tmp_path, "SELECT DISTINCT feed_kind FROM messages")}
    assert kinds == {f.kind for f in daemon.settings.feeds.values()} | {"recorder"}
    for table in ("articles", "quotes", "profiles", "market_hours", "movers", "indices", "sectors", "headlines"):
        assert ask(tmp_path, f"SELECT count(*) FROM {table}") != [(0,)], table
    assert ask(tmp_path, "SELECT count(*) FROM connections WHERE ended_at IS NULL") == [(0,)]
    assert {cause for (cause,) in ask(tmp_path, "SELECT DISTINCT cause FROM gaps")} == {"start", "stopped"}


@pytest.mark.slow
async def test_rotations_lose_nothing_and_leave_no_gap(tmp_path: Path) -> None:
    async with Upstreams(World(2, articles_per_s=200), refresh_s=0.2, finlight_limit_s=3.0) as upstreams:
        fast = {"rotate_s": 1.1, "overlap_s": 1}
        feeds = {"news": fast, "raw": fast}
        daemon = Daemon(settings(tmp_path, upstreams, "news", "raw", feeds=feeds), SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, lambda s: all(feed["rotations"] >= 4 for feed in s["feeds"].values()))
        daemon.stop()
        await running
    for feed, role in (("news", "finlight"), ("raw", "finlight.raw")):
        ((n, distinct),) = ask(
            tmp_path, f"SELECT count(*), count(DISTINCT text) FROM messages WHERE feed = '{feed}' AND kind = 'data'"
        )
        assert n == distinct, role
    assert {cause for (cause,) in ask(tmp_path, "SELECT DISTINCT cause FROM gaps")} == {"start", "stopped"}
    both, only_old = ask(
        tmp_path,
        """SELECT sum((text::JSON->>'both')::INT), sum((text::JSON->>'only_old')::INT) FROM messages
           WHERE kind = 'lifecycle' AND text LIKE '%rotation.done%'""",
    )[0]
    assert both > 0
    assert only_old == 0


async def test_an_unplanned_close_is_a_gap_with_its_cause(tmp_path: Path) -> None:
    async with Upstreams(World(3, articles_per_s=50)) as upstreams:
        daemon = Daemon(settings(tmp_path, upstreams, "news"), SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        upstreams.finlight.close_all(1001, "Going away")
        await until(daemon, lambda s: s["feeds"]["news"]["reconnects"] == 1 and receiving(s))
        upstreams.finlight.cut()
        await until(daemon, lambda s: s["feeds"]["news"]["reconnects"] == 2 and receiving(s))
        daemon.stop()
        await running
    causes = [cause for (cause,) in ask(tmp_path, "SELECT cause FROM gaps ORDER BY since_at")]
    assert causes[:2] == ["start", "closed with 1001 Going away"]
    assert causes[2].startswith("closed with 1006")
    assert causes[3:] == ["stopped"]


async def test_a_mute_socket_is_noticed_and_replaced_by_another_channel(tmp_path: Path) -> None:
    async with Upstreams(World(4), refresh_s=0.1) as upstreams:
        feeds = {"quotes": {"silence_s": 0.5}}
        daemon = Daemon(settings(tmp_path, upstreams, "quotes", feeds=feeds), {})
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        (channel,) = upstreams.finance_query.channels
        upstreams.finance_query.kill_channel(channel)
        await until(daemon, lambda s: s["feeds"]["quotes"]["reconnects"] >= 1 and receiving(s))
        assert channel not in upstreams.finance_query.channels
        daemon.stop()
        await running
    assert ("silent",) in ask(tmp_path, "SELECT cause FROM gaps")


async def test_a_second_start_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    async with Upstreams(World(5, articles_per_s=50)) as upstreams:
        for _ in range(2):
            daemon = Daemon(settings(tmp_path, upstreams, "news"), SECRETS)
            running = asyncio.create_task(daemon.run())
            await until(daemon, receiving)
            with pytest.raises(DataDirectoryBusy, match=str(tmp_path)):
                Daemon(settings(tmp_path, upstreams, "news"), SECRETS)
            daemon.stop()
            await running
    ((count, span),) = ask(tmp_path, "SELECT count(*), max(position) - min(position) + 1 FROM messages")
    assert count == span
    numbers = [number for (number,) in ask(tmp_path, "SELECT connection FROM connections ORDER BY connection")]
    assert numbers == [1, 2]
    gaps = ask(tmp_path, "SELECT cause, until_at IS NULL FROM gaps ORDER BY since_at")
    assert gaps == [("start", False), ("stopped", False), ("stopped", True)]


async def test_a_feed_that_was_taken_out_has_no_gap_any_more(tmp_path: Path) -> None:
    async with Upstreams(World(6, articles_per_s=50), refresh_s=0.1) as upstreams:
        for names in (("news", "quotes"), ("news",)):
            daemon = Daemon(settings(tmp_path, upstreams, *names), SECRETS)
            running = asyncio.create_task(daemon.run())
            await until(daemon, receiving)
            daemon.stop()
            await running
    assert ask(tmp_path, "SELECT count(*) FROM gaps WHERE feed = 'quotes' AND until_at IS NULL") == [(0,)]
    covered = "SELECT sum(seconds_covered) FROM coverage WHERE feed = '{}'"
    ((news_s,),), ((quotes_s,),) = ask(tmp_path, covered.format("news")), ask(tmp_path, covered.format("quotes"))
    ((second_run_s,),) = ask(
        tmp_path,
        "SELECT epoch(max(received_at)) - epoch(max(received_at) FILTER (event = 'recorder.started')) FROM lifecycle",
    )
    assert quotes_s < news_s - second_run_s / 2, "what was taken out is not covered"


async def test_no_key_is_anywhere_in_the_recording_or_the_status(tmp_path: Path) -> None:
    key = "sk_live_this-must-not-be-seen"
    async with Upstreams(World(7, articles_per_s=50), keys=frozenset({"another"})) as upstreams:
        daemon = Daemon(settings(tmp_path, upstreams, "news"), {"news": key})
        running = asyncio.create_task(daemon.run())
        await until(daemon, lambda s: s["feeds"]["news"]["state"] == "waiting")
        assert key not in str(daemon.status())
        daemon.stop()
        await running
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.slow
async def test_a_full_disk_halts_recording_loses_nothing_accepted_and_recording_resumes(small_disk: Path) -> None:
    async with Upstreams(World(8, articles_per_s=50), refresh_s=0.1) as upstreams:
        limits = {"reserve_bytes": 16 << 20, "resume_bytes": 24 << 20}
        daemon = Daemon(settings(small_disk, upstreams, "news", "quotes", disk=limits), SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        halted = await until(daemon, lambda s: s["disk"]["halted"] and s["journal"]["buffered_bytes"] == 0)
        assert {feed["state"] for feed in halted["feeds"].values()} == {"stopped"}
        assert daemon.journal.failed is None
        ballast.unlink()
        before = {name: feed["messages"] for name, feed in halted["feeds"].items()}
        await until(
            daemon,
            lambda s: all(f["state"] == "receiving" and f["messages"] > before[n] + 8 for n, f in s["feeds"].items()),
        )
        daemon.stop()
        await running
    assert ask(small_disk, "SELECT DISTINCT feed FROM gaps WHERE cause = 'disk full' ORDER BY 1") == [
        ("news",),
        ("quotes",),
    ]
    ((count, span),) = ask(small_disk, "SELECT count(*), max(position) - min(position) + 1 FROM messages")
    assert count == span


async def test_a_reload_touches_no_connection_that_did_not_change(tmp_path: Path) -> None:
    async with Upstreams(World(8, articles_per_s=50), refresh_s=0.1) as upstreams:
        before = settings(tmp_path, upstreams, "news", "quotes", "profiles", "hours")
        daemon = Daemon(before, SECRETS)
        running = asyncio.create_task(daemon.run())
        earlier = await until(daemon, receiving)
        after = settings(
            tmp_path, upstreams, "news", "quotes", "profiles", "market",
            feeds={"quotes": {"symbols": ["NVDA"]}, "profiles": {"symbols": ["AAPL", "TSLA"]}},
        )  # fmt: skip
        plan = await daemon.reload(after, SECRETS)
        assert (len(plan.keep), len(plan.change), len(plan.add), len(plan.remove)) == (2, 1, 2, 2)
        now = await until(daemon, lambda s: receiving(s) and s["feeds"]["quotes"]["rotations"] == 1)
        assert set(now["feeds"]) == {"news", "quotes", "profiles/AAPL", "profiles/TSLA", "market"}
        for kept in ("news", "profiles/AAPL"):
            assert now["feeds"][kept]["connections"] == earlier["feeds"][kept]["connections"], kept
            assert now["feeds"][kept]["reconnects"] == now["feeds"][kept]["rotations"] == 0, kept
        daemon.stop()
        await running
    gaps = ask(
        tmp_path, "SELECT feed, channel, cause, until_at IS NULL FROM gaps WHERE cause NOT IN ('start', 'stopped')"
    )
    assert sorted(gaps) == [("hours", "", "removed", False), ("profiles", "NVDA", "removed", False)]
    asked = "SELECT count(*) FROM quotes WHERE symbol = 'NVDA'"
    assert ask(tmp_path, asked) != [(0,)], "the changed feed brings what it was changed to"
    ((entry,),) = ask(tmp_path, "SELECT text FROM messages WHERE text LIKE '%recorder.reloaded%'")
    assert '"changed":["quotes"]' in entry


async def test_a_feed_that_comes_back_was_in_a_gap_since_it_was_taken_out(tmp_path: Path) -> None:
    async with Upstreams(World(9, articles_per_s=50), refresh_s=0.1) as upstreams:
        both, news = settings(tmp_path, upstreams, "news", "quotes"), settings(tmp_path, upstreams, "news")
        daemon = Daemon(both, SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        await daemon.reload(news, SECRETS)
        assert set(daemon.status()["feeds"]) == {"news"}
        taken_out_ns = daemon.clock.now().utc_ns
        await daemon.reload(both, SECRETS)
        await until(daemon, lambda s: s["feeds"]["quotes"]["state"] == "receiving")
        receiving_ns = daemon.clock.now().utc_ns
        daemon.stop()
        await running
    ((since_ns, until_ns),) = ask(
        tmp_path,
        "SELECT epoch_ns(since_at), epoch_ns(until_at) FROM gaps "
        "WHERE feed = 'quotes' AND cause = 'removed' AND until_at > since_at",  # taken out is a gap that ends at once
    )
    assert since_ns <= taken_out_ns <= until_ns <= receiving_ns


async def test_a_stop_during_a_reload_ends_what_is_leaving_too(tmp_path: Path) -> None:
    async with Upstreams(World(10, articles_per_s=50), refresh_s=0.1) as upstreams:
        daemon = Daemon(settings(tmp_path, upstreams, "news", "quotes"), SECRETS)
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        reloading = asyncio.create_task(daemon.reload(settings(tmp_path, upstreams, "news", "hours"), SECRETS))
        await asyncio.sleep(0)
        daemon.stop()
        await running
        await reloading
    assert ask(tmp_path, "SELECT count(*) FROM connections WHERE ended_at IS NULL") == [(0,)]


async def test_the_service_manager_is_told_what_happens(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        async with Upstreams(World(11, articles_per_s=50), refresh_s=0.1) as upstreams:
            notify = Notify({"NOTIFY_SOCKET": str(address)})
            daemon = Daemon(settings(tmp_path / "data", upstreams, "news", "quotes"), SECRETS, notify)
            running = asyncio.create_task(daemon.run())
            async with asyncio.timeout(PATIENCE_S):
                said = await asyncio.get_running_loop().sock_recv(manager, 10_000)
            await until(daemon, lambda s: daemon.service.ready)
            daemon.stop("enough")
            await running
        words = [said, *_drained(manager)]
    assert sum(b"READY=1" in each for each in words) == 1
    assert all(b"WATCHDOG=1" in each for each in words[:-1])
    assert words[-1] == b"STOPPING=1\nSTATUS=stopping: enough"


def _drained(end: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield end.recv(10_000)
        except BlockingIOError:
            return


async def test_a_recorder_that_starts_again_knows_how_far_it_had_sealed(tmp_path: Path) -> None:
    async with Upstreams(World(5, articles_per_s=50)) as upstreams:
        for _ in range(2):
            daemon = Daemon(settings(tmp_path, upstreams, "news"), SECRETS)
            before = daemon.journal.durable
            running = asyncio.create_task(daemon.run())
            await until(daemon, lambda s: receiving(s) and s["durable_position"] > 0)
            assert daemon.status()["sealed_position"] >= before
            daemon.stop()
            await running
    assert before > 0
