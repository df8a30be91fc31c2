from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recorder.clock import Clock
from recorder.errors import DataDirectoryBusy
from recorder.journal.lock import LOCK_FILE, DirectoryLock

HOLD = """
import sys
from pathlib import Path
from recorder.clock import Clock
from recorder.journal.lock import DirectoryLock
lock = DirectoryLock.acquire(Path(sys.argv[1]), Clock())
lock.publish(42)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_recorder_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdin
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DataDirectoryBusy, match=rf"process {holder.pid} since \d{{4}}-") as caught:
        DirectoryLock.acquire(tmp_path, Clock())
    assert caught.value.path == tmp_path

    holder.kill()  # the kernel lets the lock go, and what was published stays known
    holder.communicate()
    lock = DirectoryLock.acquire(tmp_path, Clock())
    assert lock.published == 42
    assert f"process {os.getpid()} since" in (tmp_path / LOCK_FILE).read_text()
    lock.release()


def test_a_look_at_the_lock_does_not_keep_a_recorder_from_starting(tmp_path: Path) -> None:
    DirectoryLock.acquire(tmp_path, Clock()).release()
    descriptor = os.open(tmp_path / LOCK_FILE, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    looking = threading.Timer(0.1, os.close, [descriptor])
    looking.start()
    DirectoryLock.acquire(tmp_path, Clock()).release()
    looking.join()


def test_a_published_position_survives_any_number_of_recorders(tmp_path: Path) -> None:
    for position in (5, 6, 10**19):
        lock = DirectoryLock.acquire(tmp_path, Clock())
        lock.publish(position)
        lock.release()
        lock.release()
        lock = DirectoryLock.acquire(tmp_path, Clock())
        assert lock.published == position
        lock.release()


def test_a_damaged_line_is_nothing_known_and_no_wrong_number(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path, Clock())
    lock.publish(123_456)
    lock.release()
    whole = (tmp_path / LOCK_FILE).read_bytes()
    for at in range(30):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        for damaged in (bytes(flipped), whole[:at]):
            (tmp_path / LOCK_FILE).write_bytes(damaged)
            lock = DirectoryLock.acquire(tmp_path, Clock())
            assert lock.published == 0
            lock.release()
