"""The end of files that were replaced, or made and never registered.

In: the part registry. Out: files deleted, when every reader had its grace, and sentinels before them. If the power
fails in between, the next run deletes the rest: upkeep.py has the registry forget a file only after it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from recorder import disk
from recorder.journal.registry import Retired
from recorder.journal.store import Store
from recorder.partitions import layout
from recorder.partitions.seal import Step, no_step
from recorder.partitions.views import STORED


def remove_begun(data: Path, begun: Sequence[str]) -> None:
    """Remove the files of a compaction that was never registered."""
    with closing(Store.open_readonly(data)) as store:
        registered = {part.path for part in store.parts()}
    for path in set(begun) - registered:
        (data / path).unlink(missing_ok=True)
    for stored in STORED:
        disk.sweep(data / stored.name / "cold")


def due(data: Path, until_ns: int) -> bool:
    """Whether any file waits for its deletion since then."""
    with closing(Store.open_readonly(data)) as store:
        return bool(store.retired(until_ns))


def delete(data: Path, until_ns: int, shown: str, step: Step = no_step) -> list[Retired]:
    """Delete the files retired until then. Returns what can be forgotten.

    First go the sentinels of catalogues from before the newest of those retirements: whoever still goes by one of them
    is told to reconnect. `shown` is the generation of the present one, which names none of these files.
    """
    with closing(Store.open_readonly(data)) as store, store.transaction():
        gone, registered = store.retired(until_ns), {part.path for part in store.parts()}
    if not gone:
        return []
    newest_ns = max(one.retired_ns for one in gone)
    for stored in STORED:
        present = data / layout.sentinel_path(stored.name, shown)
        for sentinel in present.parent.glob("*.parquet"):
            if sentinel != present and sentinel.stat().st_mtime_ns <= newest_ns:
                sentinel.unlink()
    step("expired")
    for one in gone:
        if one.path not in registered:  # a registry made again from names may know it again
            path = data / one.path
            path.unlink(missing_ok=True)
            for folder in path.parents[:2]:
                if "=" in folder.name:
                    with suppress(OSError):  # not empty
                        folder.rmdir()
    step("deleted")
    return gone
