"""Both upstreams in a process of their own, so that their work takes no interpreter time from the recorder.

In: the options and orders of upstreams.py. Out: their URLs, and after the end the ledger. The child stops when its
stdin ends, so it does not outlive a parent that is killed; its ledger is lost then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson

from recorder.errors import RecorderError
from recorder.replay.upstreams.ledger import Ledger

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 300.0  # the ledger of a long run is a million lines


class UpstreamsFailed(RecorderError):
    """The process with the upstreams is gone or does not answer."""

    def __init__(self, doing: str, said: str) -> None:
        super().__init__(f"the demo's upstreams failed at {doing}: {said or 'no answer'}. Run the demo again.")


class UpstreamsProcess:
    """`async with UpstreamsProcess(file, articles_per_s=20, …) as upstreams`: options as those of upstreams.py.

    After the end `ledger` holds what was sent.
    """

    def __init__(self, ledger_file: Path, **options: Any) -> None:
        self.ledger_file = ledger_file
        self.options = options
        self.ledger = Ledger()
        self.finlight_url = ""
        self.finlight_rest_url = ""
        self.finance_query_url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()  # answers carry no names: one order at a time

    async def __aenter__(self) -> UpstreamsProcess:
        arguments = ["--ledger", str(self.ledger_file)]
        for name, value in self.options.items():
            if value is True:
                arguments.append(f"--{name.replace('_', '-')}")
            elif value is not None and value is not False:
                text = value if isinstance(value, str) else orjson.dumps(value).decode()
                arguments += [f"--{name.replace('_', '-')}", text]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "recorder.demo.upstreams", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's; it needs the ledger after it
        )
        try:
            urls = await self._answer("the start")
        except BaseException:
            await self._end()
            raise
        self.finlight_url, self.finlight_rest_url = urls["finlight_url"], urls["finlight_rest_url"]
        self.finance_query_url = urls["finance_query_url"]
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.order(op="stop")
            self.ledger = await asyncio.to_thread(Ledger.read, self.ledger_file)
        finally:
            await self._end()

    async def order(self, **command: Any) -> int:
        """One order, done when this returns. Answers how many messages were published; `op="count"` only asks.

        Raises UpstreamsFailed, ValueError.
        """
        assert self._process is not None and self._process.stdin is not None
        async with self._turn:
            self._process.stdin.write(orjson.dumps(command) + b"\n")
            timeout_s = STOP_TIMEOUT_S if command.get("op") == "stop" else START_TIMEOUT_S
            answer = await self._answer(f"the order {command.get('op')!r}", timeout_s)
        if "error" in answer:
            raise ValueError(answer["error"])
        return int(answer["published"])

    async def _answer(self, doing: str, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
            answer: dict[str, Any] = orjson.loads(line)
        except (TimeoutError, ValueError) as failure:
            raise UpstreamsFailed(doing, str(failure)) from failure
        return answer

    async def _end(self) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
