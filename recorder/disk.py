"""The only way a file of ours becomes permanent.

In: a path and a function that writes to another path. Out: the whole file under its name, durable, or no
change at all. If the power fails before the rename, what is left is a name that begins with `_` and
does not end in `.parquet`, which every scanner passes over and the next start sweeps away.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

ASIDE = "_aside-"


def publish(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file aside, make it durable, rename it to `path` and make the name durable.

    An existing file is replaced in one step; whoever has it open keeps reading the old one.
    Raises OSError, with nothing left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{ASIDE}{os.getpid()}-{path.name}.tmp")
    try:
        write(aside)
        sync(aside)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """fsync a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_cached(path: Path) -> None:
    """Let whoever reads a durable file next read what the disk holds, rather than what the kernel remembers."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove what a writer that died left aside below `folder`. Returns how many files."""
    left = list(folder.rglob(f"{ASIDE}*"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def set_aside(path: Path, quarantine: Path, stamp: str) -> Path:
    """Move a damaged file to `quarantine` under a name that says when; it is never deleted."""
    quarantine.mkdir(parents=True, exist_ok=True)
    target = quarantine / f"{stamp}-{path.name}"
    path.replace(target)
    sync(quarantine)
    sync(path.parent)
    return target
