"""Stop recording before a full disk does, and go on when there is room again.

In: how much is free. Out: halt or resume, each once. A file of RESERVE_FILE_BYTES lies ready; it is given up at the
halt, so that what was accepted and the entries that say why can still be written when others have filled the rest. If
the power fails while halted, the next start finds little room and halts again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from pathlib import Path

from recorder.settings import Disk

RESERVE_FILE = "_reserve"
RESERVE_FILE_BYTES = 8 << 20


class Order(Enum):
    HALT = "halt"
    RESUME = "resume"


class Reserve:
    """The room below which nothing is recorded."""

    def __init__(self, data: Path, settings: Disk) -> None:
        self.halted = False
        self._path = data / RESERVE_FILE
        self._settings = settings

    def judge(self, free_bytes: int) -> Order | None:
        """What has to be done now, if anything. Between the two limits everything stays as it is."""
        if not self.halted and free_bytes < self._settings.reserve_bytes:
            self.halted = True
            return Order.HALT
        if self.halted and free_bytes >= self._settings.resume_bytes:
            self.halted = False
            return Order.RESUME
        return None

    def lay_up(self) -> None:
        """Have the file ready; where there is no room for it, do without."""
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_FILE_BYTES)
            finally:
                os.close(descriptor)

    def give_up(self) -> None:
        """Let its room be used."""
        self._path.unlink(missing_ok=True)
