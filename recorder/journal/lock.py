"""One recorder a data directory, and what the last one promised.

`recorder.lock` is held with flock as long as a recorder runs; the kernel lets it go however the process ends. Its first
line is the highest position anyone was told is durable. That line is rewritten after every commit without fsync, so
it outlives `kill -9`, may lag after a power cut and is never ahead of the journal. A journal that ends below it has
lost something SQLite cannot notice: a write-ahead log that was cut or flipped looks to SQLite like one that ends early.
The file is never removed: removing a locked file lets two processes hold two locks of the same name.
"""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from recorder.clock import SECOND_NS, Clock
from recorder.errors import DataDirectoryBusy

LOCK_FILE = "recorder.lock"
TRIES_MAX, TRY_EVERY_S = 10, 0.05  # `recorder status` holds the lock for microseconds to see whether it is free
_LINE_BYTES = 30  # 20 digits, a blank, 8 hex digits of their crc32, a line feed


class DirectoryLock:
    """A held lock. `published` is the highest position published by any recorder before; 0 where it is unknown."""

    def __init__(self, descriptor: int, published: int) -> None:
        self._descriptor = descriptor
        self.published = published

    @classmethod
    def acquire(cls, data: Path, clock: Clock) -> DirectoryLock:
        """Raises DataDirectoryBusy naming the holder, or OSError where the directory cannot be written."""
        data.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not _locked(descriptor):
                raise DataDirectoryBusy(data, _holder(descriptor))
            published = _published(os.pread(descriptor, _LINE_BYTES, 0))
            since = datetime.fromtimestamp(clock.now().utc_ns // SECOND_NS, UTC)
            text = _line(published) + f"process {os.getpid()} since {since:%Y-%m-%dT%H:%M:%SZ}\n".encode()
            os.ftruncate(descriptor, os.pwrite(descriptor, text, 0))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor, published)

    def publish(self, position: int) -> None:
        """Remember that `position` is being announced as durable."""
        with suppress(OSError):  # it only helps to notice a loss later; not being able to is no reason to lose now
            os.pwrite(self._descriptor, _line(position), 0)

    def release(self) -> None:
        """Let the directory go; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def published(data: Path) -> int:
    """The highest position that anyone was told is durable there; 0 where it is unknown."""
    try:
        with (data / LOCK_FILE).open("rb") as lock:
            return _published(lock.read(_LINE_BYTES))
    except FileNotFoundError:
        return 0


def is_held(data: Path) -> bool:
    """Whether a recorder runs on this directory. Holds the lock for microseconds itself, shared, if none does."""
    try:
        with (data / LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _locked(descriptor: int) -> bool:
    for _ in range(TRIES_MAX):
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(TRY_EVERY_S)
    return False


def _line(position: int) -> bytes:
    digits = b"%020d" % position
    return b"%s %08x\n" % (digits, zlib.crc32(digits))


def _published(line: bytes) -> int:
    digits = line[:20]
    return int(digits) if digits.isdigit() and line == _line(int(digits)) else 0


def _holder(descriptor: int) -> str:
    lines = os.pread(descriptor, 200, 0).decode(errors="replace").splitlines()
    return lines[1] if len(lines) > 1 else "another process"
