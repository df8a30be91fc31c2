from __future__ import annotations

import subprocess
import sys

import orjson

# In a process of its own: no other test's threads come and go in it.
COUNTED = """
import os, threading, orjson
from recorder.process import occupies
before, go_on = occupies(), threading.Event()
opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
thread = threading.Thread(target=go_on.wait)
thread.start()
print(orjson.dumps([before, occupies()]).decode())
go_on.set()
"""


def test_files_threads_and_memory_of_this_process_are_counted() -> None:
    out = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, check=True).stdout
    before, after = orjson.loads(out)
    assert after["open_fds"] == before["open_fds"] + 3
    assert after["threads"] == before["threads"] + 1
    assert after["rss_bytes"] > 1_000_000
    assert after["cpu_s"] >= before["cpu_s"] > 0
