from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from recorder.demo.upstreams_process import UpstreamsFailed, UpstreamsProcess
from recorder.replay.upstreams.ledger import digest

pytestmark = pytest.mark.slow


async def test_a_process_of_its_own_serves_obeys_and_leaves_its_ledger(tmp_path: Path) -> None:
    async with UpstreamsProcess(tmp_path / "ledger.ndjson", articles_per_s=0, refresh_s=0.05) as upstreams:
        async with connect(upstreams.finance_query_url + "/hours") as hours, asyncio.timeout(20):
            received = [digest(str(await hours.recv()).encode()) for _ in range(5)]
            await upstreams.order(op="mute", upstream="finance_query")
            await upstreams.order(op="close_all", upstream="finance_query", code=1012, reason="")
            with pytest.raises(ConnectionClosedError):
                while True:
                    received.append(digest(str(await hours.recv()).encode()))
        assert hours.close_code == 1012
        with pytest.raises(ValueError, match="no order 'dance'"):
            await upstreams.order(op="dance")
    written = [entry.digest for entry in upstreams.ledger.entries if entry.to]
    assert written == received
    assert upstreams.ledger.connections[1].code == 1012


async def test_a_process_that_cannot_start_is_an_error_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(UpstreamsFailed):
        async with UpstreamsProcess(tmp_path / "ledger.ndjson", no_such_option=1):
            pass


async def test_a_full_ledger_is_told_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="higher entries_max"):
        async with UpstreamsProcess(tmp_path / "ledger.ndjson", articles_per_s=2000, entries_max=10) as upstreams:
            async with asyncio.timeout(20):
                while await upstreams.order(op="count") < 9:
                    pass


async def test_it_does_not_outlive_a_parent_that_is_gone() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "recorder.demo.upstreams"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    async with asyncio.timeout(30):
        assert b"finlight_url" in await process.stdout.readline()
        process.stdin.close()
        assert await process.wait() == 0
