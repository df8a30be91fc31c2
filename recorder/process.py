"""What this process has of its machine: memory, open files, threads, processor time. Read from /proc; Linux only.

In: nothing. Out: facts for `status` and metrics. Where /proc hides them, they are left out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

OWN = Path("/proc/self")


def occupies() -> dict[str, float]:
    """`rss_bytes`, `open_fds`, `threads`, `cpu_s`."""
    times = os.times()
    facts: dict[str, float] = {"cpu_s": times.user + times.system}
    with suppress(OSError):
        facts["rss_bytes"] = int((OWN / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        facts["open_fds"] = sum(1 for _ in (OWN / "fd").iterdir()) - 1  # the listing has one open itself
        facts["threads"] = sum(1 for _ in (OWN / "task").iterdir())
    return facts
