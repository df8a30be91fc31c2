"""One piece of work in a process of its own, which yields to the recorder and ends with it.

In: a function that can be pickled. Out: what it returned or raised. The process is new for each piece, so all its
memory goes with it, and may be killed at any moment: that is for work that a power cut does not hurt either.
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
    """Does one thing at a time. `niceness`: 0 to 19, by how much it yields to others."""

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness
        self._process: multiprocessing.process.BaseProcess | None = None

    async def do(self, task: Callable[[], T]) -> T:
        """Raises what the task raises, Killed where its process was killed or died."""
        ours, theirs = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(target=_work, args=(theirs, task, self._niceness), daemon=True)
        await asyncio.to_thread(process.start)  # some 10 ms
        theirs.close()
        self._process = process
        try:
            succeeded, answer = await asyncio.to_thread(_answer, ours)
        finally:
            self.kill()  # where it was given up waiting for
            await asyncio.to_thread(process.join)
            ours.close()
            self._process = None
        if not succeeded:
            raise answer
        result: T = answer
        return result

    def kill(self) -> None:
        """End what is under way, at once."""
        if self._process is not None:
            self._process.kill()


def _answer(ours: Connection) -> tuple[bool, Any]:
    with suppress(EOFError, OSError):
        answer: tuple[bool, Any] = ours.recv()
        return answer
    return False, Killed("a process that worked beside the recorder died, perhaps for want of memory. It is repeated.")


def _work(to: Connection, task: Callable[[], Any], niceness: int) -> None:
    settle_down(niceness)
    try:
        answer = True, task()
    except Exception as error:
        answer = False, error
    to.send(answer)


def settle_down(niceness: int) -> None:
    """In a new process: yield to the recorder, leave signals to it, and do not outlive it."""
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
