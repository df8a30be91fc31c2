"""A full disk. For real: a small file system that is filled, or, where none may be mounted, a limit on every file.

In: a folder. Out: whether recording stopped before anything broke, and went on by itself when there was room again. The
limit on files cannot be lifted again: there the recorder has to end, loudly, with all it had published.
"""

from __future__ import annotations

import asyncio
import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recorder.drill.outcome import BOUNDED, DURABLE, Outcome, of_proof
from recorder.drill.rig import Rig

NAME = "full disk"
DISK_MB, RESERVE_MB, RESUME_MB = 64, 16, 24
FILE_BYTES_MAX = 384 << 10  # the log of some seconds; it would be taken up at 4 MB
SMALL_FILES = {"journal": {"give_up_s": 1.0, "retry_s": 0.2}, "seal": {"interval_s": 3600.0}}
BALLAST = "_ballast"
FAILED = 1  # exit code
NEW_MOUNTS = 0x20000  # CLONE_NEWNS


def own_mounts() -> None:
    """What we mount is seen by nobody else and goes with us, even by `kill -9`; without effect where we are not root.

    For this thread and what it starts, so it has to come first.
    """
    if ctypes.CDLL(None).unshare(NEW_MOUNTS) == 0:
        # Found by PATH, as a system has it; no word of a user's is in it.
        subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)  # noqa: S607


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 64 MB in that folder; False where we may not mount one. What is on it in the end stays there."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "recorder-drill", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own words
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            left = folder.with_name("left")
            with suppress(OSError, shutil.Error):  # it is only to be looked at
                shutil.copytree(folder, left, ignore=shutil.ignore_patterns(BALLAST))
            subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S603, S607
            with suppress(OSError):
                left.rename(folder)


async def drill(folder: Path, tell: Callable[[str], object]) -> list[Outcome]:
    """Whichever of the two is possible here. Leaves no recorder and no mount."""
    small = folder / "small-disk"
    with small_disk(small / "data") as mounted:
        if mounted:
            tell(f"{NAME}: one of {DISK_MB} MB is filled to the last byte …")
            disk = {"reserve_bytes": RESERVE_MB << 20, "resume_bytes": RESUME_MB << 20}
            async with Rig(small, {"disk": disk}) as rig:
                return await fill(rig)
    tell(
        f"{NAME}: only root may mount a small one to fill; instead no file may grow beyond {FILE_BYTES_MAX >> 10} KB …"
    )
    async with Rig(folder / "small-files", SMALL_FILES, file_bytes_max=FILE_BYTES_MAX) as rig:
        return await limit_files(rig)


async def fill(rig: Rig) -> list[Outcome]:
    """Fill its disk to the last byte, make room again."""
    await rig.start()
    await rig.receiving()
    ballast = rig.data / BALLAST
    await asyncio.to_thread(_fill, ballast)
    halted = await rig.until(lambda told: told["disk"]["halted"] and told["journal"]["buffered_bytes"] == 0)
    health = halted["health"]["state"]
    causes = {feed["gap"] and feed["gap"]["cause"] for feed in halted["feeds"].values()}
    ballast.unlink()
    await rig.receiving()
    code = await rig.stop()
    return [
        Outcome(
            NAME,
            BOUNDED,
            "halts with health failed, goes on by itself, ends with 0",
            f"halted with health {health}, gaps because of {', '.join(map(str, causes))}, went on, ended with {code}",
            health == "failed" and causes == {"disk full"} and code == 0,
        ),
        *of_proof(NAME, await asyncio.to_thread(rig.proof)),
    ]


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass


async def limit_files(rig: Rig) -> list[Outcome]:
    """Let it run into the limit, then go on without one: whoever cannot write cannot write its gap either."""
    await rig.start()
    await rig.receiving()
    code = await rig.ended()
    published, there = rig.published(), rig.durable()
    talk = (rig.folder / "log").read_text()
    said = "cannot be written" in talk and "Traceback" not in talk
    rig.file_bytes_max = None
    await rig.start()
    await rig.receiving()
    await rig.stop()
    return [
        Outcome(
            NAME,
            BOUNDED,
            "ends with 1 and a sentence",
            f"ended with {code} and {'a sentence' if said else 'NO SENTENCE'}",
            code == FAILED and said,
        ),
        Outcome(
            NAME,
            DURABLE,
            "0 lost of what was published",
            f"{max(0, published - there)} lost of {published}",
            there >= published,
        ),
        *of_proof(NAME, await asyncio.to_thread(rig.proof)),
    ]
