from __future__ import annotations

import os
from functools import partial

import pyarrow as pa
import pytest

from recorder.partitions.apart import Apart, Killed


async def test_the_other_process_yields_and_has_one_core() -> None:
    apart = Apart(7)
    try:
        assert await apart.do(partial(os.nice, 0)) == os.nice(0) + 7
        assert await apart.do(pa.cpu_count) == 1
        assert await apart.do(os.getpid) != os.getpid()
    finally:
        await apart.end()


async def test_what_is_killed_says_so_and_the_next_task_has_a_new_process() -> None:
    apart = Apart(0)
    try:
        first = await apart.do(os.getpid)
        with pytest.raises(Killed):
            await apart.do(partial(os._exit, 9))
        await apart.end()
        assert await apart.do(os.getpid) != first
    finally:
        await apart.end()


async def test_what_a_task_raises_is_raised_here() -> None:
    apart = Apart(0)
    try:
        with pytest.raises(FileNotFoundError):
            await apart.do(partial(os.stat, "/nowhere"))
    finally:
        await apart.end()
