"""Disks that really fail: a small ext4 on a loop device, whose backing file lies in a small tmpfs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


class Ext4:
    """A file system of 96 MB at `path`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk"
        self._backing = folder / "backing"
        self._image = self._backing / "image"

    def make(self) -> bool:
        """False where we may not."""
        for each in (self.path, self._backing):
            each.mkdir(exist_ok=True)
        return (
            _done("mount", "-t", "tmpfs", "-o", "size=96m", "none", str(self._backing))
            and _done("truncate", "-s", "96m", str(self._image))
            and _done("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(self._image))
            and self.attach()
        )

    def attach(self) -> bool:
        return _done("mount", "-o", "loop", str(self._image), str(self.path))

    def detach(self) -> None:
        _done("umount", str(self.path)) or _done("umount", "-l", str(self.path))

    def freeze(self) -> None:
        """Whoever writes or syncs waits."""
        assert _done("fsfreeze", "-f", str(self.path))

    def thaw(self) -> bool:
        return _done("fsfreeze", "-u", str(self.path))

    def abort(self) -> None:
        """What ext4 does when the disk under it has errors: from now on it can only be read."""
        _done("mount", "-o", "remount,abort", str(self.path))

    def read_only(self, on: bool) -> None:
        assert _done("mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.path))

    def wear_out(self) -> None:
        """Blocks that were never written cannot be: the file under the file system has no room to grow."""
        with (self._backing / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(1 << 16)):
                pass

    def mend(self) -> None:
        (self._backing / "ballast").unlink(missing_ok=True)

    def unmake(self) -> None:
        self.thaw()
        self.detach()
        _done("umount", "-l", str(self._backing))


def _done(*words: str) -> bool:
    return shutil.which(words[0]) is not None and subprocess.run(words, capture_output=True).returncode == 0


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Ext4]:
    disk = Ext4(tmp_path)
    try:
        if not disk.make():
            pytest.skip("cannot mount a loop device with ext4 here")
        yield disk
    finally:
        disk.unmake()
