"""`kill -9` of a real recorder at random moments: what was published as durable is there, once, byte for byte."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from recorder.clock import Clock
from recorder.journal.recover import Opening, open_store
from recorder.journal.store import Store

CHILD = Path(__file__).with_name("recording_child.py")
KILLS = 200


@pytest.mark.slow
def test_what_was_published_survives_kill_9(data: Path) -> None:
    spec = importlib.util.spec_from_file_location("recording_child", CHILD)
    assert spec and spec.loader
    child = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(child)

    random_ = random.Random(9)
    checked = published = 0  # every position up to `checked` was read and compared
    killed_while_recording = 0
    server = subprocess.Popen(
        [sys.executable, str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert server.stdin and server.stdout
    for _ in range(KILLS):
        print(data, file=server.stdin, flush=True)
        pid = int(server.stdout.readline().removeprefix("pid "))
        time.sleep(random_.uniform(0, 0.06))  # when to kill, not what to wait for
        os.kill(pid, signal.SIGKILL)
        before = published
        while not (line := server.stdout.readline()).startswith("gone"):
            word, position, *cause = line.split(maxsplit=2)
            assert word in ("opened", "durable")
            assert not cause
            assert int(position) >= published
            published = int(position)
        assert line.split() == ["gone", str(int(signal.SIGKILL))]
        killed_while_recording += published > before

        store, _, opening = open_store(data, published, Clock())
        store.close()
        assert opening == Opening()
        with closing(Store.open_readonly(data)) as reader:
            sealed, durable, groups = reader.snapshot(checked)
        assert sealed <= checked
        assert durable >= published
        messages = [m for group in groups for m in group if m.position > checked]
        assert [m.position for m in messages] == list(range(checked + 1, durable + 1))
        assert all(m.payload == child.payload(m.position) for m in messages)
        checked = durable
    server.stdin.close()
    server.wait()
    assert killed_while_recording > KILLS // 3
