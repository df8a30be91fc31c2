"""Recorders on disks that are slow, fail, may not be written or go away: the lines of docs/faults.md on disks."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from recorder.cli import main
from recorder.clock import SECOND_NS
from recorder.daemon import Daemon
from recorder.demo.upstreams import Upstreams
from recorder.demo.world import World
from recorder.drill.rig import Rig
from recorder.errors import JournalFailed
from recorder.journal.lock import published
from recorder.journal.store import Store
from recorder.partitions import catalog
from recorder.replay.upstreams.ledger import digest
from recorder.settings import Settings

PATIENCE_S = 60
DISK = {"reserve_bytes": 16 << 20, "resume_bytes": 24 << 20}
QUICK = {"give_up_s": 0.5, "retry_s": 0.1}
STUCK_S = 3.0  # more than health is patient


def settings(data: Path, upstreams: Upstreams, **sections: Any) -> Settings:
    feeds = {"news": {"kind": "finlight", "url": upstreams.finlight_url}}
    return Settings.model_validate({"data": data, "feeds": feeds, "disk": DISK, **sections})


async def until(daemon: Daemon, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            status = daemon.status()
            if holds(status):
                return status
            await asyncio.sleep(0.01)


def receiving(status: dict[str, Any]) -> bool:
    return all(feed["state"] == "receiving" and feed["messages"] > 8 for feed in status["feeds"].values())


def on(disk: Path, folder: Path, **sections: Any) -> Rig:
    """A recorder in a process of its own whose data, and nothing else of it, is on that disk."""
    rig = Rig(folder / "rig", {"disk": DISK, "journal": QUICK, **sections})
    rig.data = disk / "data"
    return rig


def ask(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output


@pytest.mark.slow
async def test_an_fsync_that_takes_seconds_is_seen_and_said_and_loses_nothing(ext4: Any) -> None:
    data = ext4.path / "data"
    async with Upstreams(World(1, articles_per_s=50)) as upstreams:
        daemon = Daemon(settings(data, upstreams), {"news": "k"})
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        await asyncio.to_thread(ext4.freeze)
        try:
            before = daemon.status()["feeds"]["news"]["messages"]
            stuck = await until(daemon, lambda s: s["journal"]["waiting_s"] > STUCK_S)
            after = stuck["feeds"]["news"]["messages"]
        finally:
            await asyncio.to_thread(ext4.thaw)
        well = await until(daemon, lambda s: s["health"]["state"] == "ok")
        histogram = daemon.journal.figures.received_to_durable
        daemon.stop()
        await running
        sent = {entry.digest for entry in upstreams.ledger.entries if entry.to}
    assert after - before > 50, "what comes in meanwhile waits in memory"
    assert stuck["health"]["state"] == "failed"
    assert "nothing has become durable for" in stuck["health"]["reasons"][0]
    assert stuck["feeds"]["news"]["gap"] is None
    assert well["journal"]["failed"] is None
    assert histogram.max_ns > STUCK_S * SECOND_NS
    with catalog.connect(data) as connection:
        texts = connection.sql("SELECT text FROM messages WHERE kind <> 'lifecycle'").fetchall()
        gaps = connection.sql("SELECT DISTINCT cause FROM gaps ORDER BY 1").fetchall()
    assert sent <= {digest(text.encode()) for (text,) in texts}
    assert gaps == [("start",), ("stopped",)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["wear_out", "abort"])
async def test_a_disk_that_fails_ends_it_with_a_sentence_and_all_it_published(
    fault: str, ext4: Any, tmp_path: Path
) -> None:
    async with on(ext4.path, tmp_path) as rig:
        await rig.start()
        await rig.receiving()
        getattr(ext4, fault)()
        code = await rig.ended()
        log = (rig.folder / "log").read_text()
        promised = published(rig.data)  # in memory, that is: what had been said
        await asyncio.to_thread(ext4.detach)
        ext4.mend()
        assert ext4.attach()
        with closing(Store.open_readonly(rig.data)) as store:
            there = store.durable_position()
        await rig.start()
        await rig.receiving()
        assert await rig.stop() == 0
        proof = await asyncio.to_thread(rig.proof)
    assert code == 1
    assert "cannot be written" in log
    assert "Traceback" not in log
    assert there >= promised > 0
    assert proof.fine, proof


@pytest.mark.slow
async def test_a_directory_that_cannot_be_written_is_refused_at_the_start_and_read_all_the_same(
    ext4: Any, tmp_path: Path
) -> None:
    async with on(ext4.path, tmp_path) as rig:
        await rig.start()
        await rig.receiving()
        await rig.stop()
        ext4.read_only(True)
        await rig.start()
        assert await rig.ended() == 1
        log = (rig.folder / "log").read_text()
        data = str(rig.data)
        assert ask("verify", "--data", data)[0] == 0
        assert ask("sql", "SELECT count(*) > 0 AS there FROM messages", "--json", "--data", data)[1].count("true") == 1
        assert ask("info", "--data", data)[0] == ask("gaps", "--data", data)[0] == 0
        checked = ask("check", "--config", str(rig.folder / "config.toml"))
        assert checked[0] != 0
        ext4.read_only(False)
    assert "Read-only file system" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.parametrize("how", ["removed", "moved away"])
async def test_a_directory_that_goes_away_ends_it_within_a_commit(how: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with Upstreams(World(1, articles_per_s=50)) as upstreams:
        daemon = Daemon(settings(data, upstreams), {"news": "k"})
        running = asyncio.create_task(daemon.run())
        await until(daemon, receiving)
        durable = daemon.journal.durable
        if how == "removed":
            shutil.rmtree(data)
        else:
            data.rename(tmp_path / "elsewhere")
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(JournalFailed, match="was removed or replaced"):
                await running
        again = Daemon(settings(data, upstreams), {"news": "k"})
        running = asyncio.create_task(again.run())
        await until(again, receiving)
        again.stop()
        await running
    assert ask("verify", "--data", str(data))[0] == 0
    if how == "moved away":
        with closing(Store.open_readonly(tmp_path / "elsewhere")) as store:
            assert store.durable_position() >= durable
