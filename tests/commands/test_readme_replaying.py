"""What README shows of replaying is run as it stands there, on a recording of the same morning."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Replaying")[1].split("\n## ")[0]
MOMENT, RECORDED = "2026-01-31T14:30", "2026-01-31T12:00"


@asynccontextmanager
async def running(*arguments: str, folder: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`recorder …`, and the first line it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "recorder", *arguments, cwd=folder, env={"PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            assert process.stdout is not None
            yield process, (await process.stdout.readline()).decode()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ran(line: str, url: str, folder: Path) -> None:
    said = re.split(r"\s>\s|\s#\s", line)[0].replace(MOMENT, RECORDED).replace("ws://127.0.0.1:8765", url)
    arguments = shlex.split(said.replace("/mnt/backup/recorder", "data"))
    if arguments[0] == "serve" and "--port" not in arguments:
        arguments += ["--port", "0"]  # the settings' own may be taken here
    async with running(*arguments, folder=folder) as (process, first):
        assert first, (line, await process.communicate())
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        _, complaint = await process.communicate()
        assert process.returncode == 0, (line, complaint)


@pytest.mark.slow
async def test_each_command_plays(recording: Path) -> None:
    lines = re.findall(r"(?m)^recorder ((?:play|serve) .*)$", SECTION)
    assert len(lines) >= 6
    async with running("serve", "--port", "0", "--data", "data", folder=recording.parent) as (_, told):
        url = told.split()[-1]
        await asyncio.gather(*(ran(line, url, recording.parent) for line in lines))


def test_the_lines_of_python_play(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recording.parent)
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", SECTION)
    exec(compile(block.replace(MOMENT, RECORDED), "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["1", "quotes"], ["3", "news"], ["6", "quotes"], ["7", "quotes"], ["9", "quotes"], ["10", "news"],
    ]  # fmt: skip
