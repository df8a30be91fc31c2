"""The replay server beside a recorder: real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KEEP = """
import asyncio, sys
from pathlib import Path
from recorder.beside import Beside
async def main():
    beside = Beside(Path(sys.argv[1]), Path(sys.argv[2]), "")
    beside.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await beside.stop()
asyncio.run(main())
"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def started(folder: Path) -> tuple[asyncio.subprocess.Process, int]:
    config = folder / "config.toml"
    config.write_text("[replay]\nport = 0\n")
    keeper = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KEEP, str(folder), str(config),
        env={**os.environ, "RECORDER_SECRET_FINLIGHT": "not-for-the-server"},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert keeper.stdout
    line = await asyncio.wait_for(keeper.stdout.readline(), 60)
    assert b"ws://127.0.0.1:" in line
    (server,) = children(keeper.pid)
    return keeper, server


async def gone(pid: int) -> None:
    """A pidfd is readable once its process has ended."""
    ended = asyncio.Event()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), 60)
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_it_is_started_again_when_it_dies_and_holds_no_key(tmp_path: Path) -> None:
    keeper, server = await started(tmp_path)
    assert b"not-for-the-server" not in Path(f"/proc/{server}/environ").read_bytes()
    os.kill(server, signal.SIGKILL)
    assert keeper.stdin and keeper.stdout
    assert b"ws://127.0.0.1:" in await asyncio.wait_for(keeper.stdout.readline(), 60)
    (again,) = children(keeper.pid)
    assert again != server
    keeper.stdin.write(b"\n")
    await asyncio.wait_for(keeper.communicate(), 60)
    assert keeper.returncode == 0
    await gone(again)


async def test_it_ends_with_a_recorder_that_is_killed(tmp_path: Path) -> None:
    keeper, server = await started(tmp_path)
    keeper.kill()
    await keeper.wait()
    await gone(server)
