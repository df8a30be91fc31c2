"""Work in a process of its own, which yields to the recorder and ends with it.

In: functions that can be pickled, one at a time. Out: what they returned or raised. The process begins with the first
of them and ends when it is told to, so its memory goes with it; it may be killed at any moment: that is for work that
a power cut does not hurt either.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from recorder.errors import RecorderError

T = TypeVar("T")

_SPAWN = multiprocessing.get_context("spawn")


class Killed(RecorderError):
    """The process died before it had an answer."""


class Apart:
    """`niceness`: 0 to 19, by how much it yields to others."""

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness
        self._process: multiprocessing.process.BaseProcess | None = None
        self._to: Connection | None = None

    async def do(self, task: Callable[[], T]) -> T:
        """Raises what the task raises, Killed where its process was killed or died; the next call has a new one."""
        try:
            succeeded, answer = await asyncio.to_thread(self._ask, task)
        except BaseException:  # given up waiting for
            self.kill()
            raise
        if not succeeded:
            raise answer
        result: T = answer
        return result

    async def end(self) -> None:
        """Nothing more is to do for now: let the process and its memory go."""
        self.kill()
        process, self._process = self._process, None
        if process is not None:
            await asyncio.to_thread(process.join)

    def kill(self) -> None:
        """End what is under way, at once."""
        if self._process is not None:
            self._process.kill()

    def _ask(self, task: Callable[[], Any]) -> tuple[bool, Any]:
        if self._process is None or self._to is None or not self._process.is_alive():
            self._to, theirs = _SPAWN.Pipe()
            self._process = _SPAWN.Process(target=_work, args=(theirs, self._niceness), daemon=True)
            self._process.start()
            theirs.close()
        with suppress(EOFError, OSError):
            self._to.send(task)
            answer: tuple[bool, Any] = self._to.recv()
            return answer
        return False, Killed("the process that works beside the recorder died, perhaps for want of memory.")


def _work(of: Connection, niceness: int) -> None:
    settle_down(niceness)
    with suppress(EOFError):
        while task := of.recv():
            try:
                answer = True, task()
            except Exception as error:  # whatever it is, who asked is waiting for it
                answer = False, error
            of.send(answer)


def settle_down(niceness: int) -> None:
    """In a new process: yield to the recorder, on one core; leave signals to it, and do not outlive it."""
    os.environ["OMP_NUM_THREADS"] = "1"  # Arrow's word for how many threads of its own, read when it is imported
    with suppress(OSError):  # a sandbox may forbid it: then it does not yield, but it works
        os.nice(niceness)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # a recorder that was killed leaves the pool's pipes open in here, so nothing else would tell
        os._exit(1)
