"""`recorder status`: what the recorder that holds this data folder is doing.

In: the lock file, which the running recorder holds, and `_status.json`, which it renames into place every second. Out:
that, for people or as it is. Touches nothing else: no query, no journal, no effect on the recorder.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import orjson

from recorder.clock import SECOND_NS, Clock
from recorder.commands import show

LOCK = "recorder.lock"
STATUS = "_status.json"
STALE_S = 10  # written every second; a machine that swaps may take some


def main(data: Path, *, as_json: bool) -> int:
    """Returns 0: every feed receives; 3: a gap is open or the status is old; 1: no recorder runs."""
    running = is_running(data)
    told = read(data)
    age_s = (Clock().now().utc_ns - told["written_ns"]) / SECOND_NS if told else None
    if as_json:
        show.json({"running": running, "age_s": age_s, **(told or {})})
    elif told is None:
        print(f"{'running' if running else 'not running'}: nothing was recorded in {data} yet")
    else:
        _show(told, running, age_s or 0.0)
    if not running:
        return 1
    silent = told is None or any(feed.get("gap") for feed in told.get("feeds", {}).values())
    return 3 if silent or (age_s or 0.0) > STALE_S else 0


def is_running(data: Path) -> bool:
    """Whether a recorder holds the folder's lock. Has it for microseconds itself, shared, if none does."""
    try:
        with (data / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read(data: Path) -> dict[str, Any] | None:
    """The last status written; None where there never was one."""
    try:
        told: dict[str, Any] = orjson.loads((data / STATUS).read_bytes())
    except FileNotFoundError:
        return None
    return told


def _show(told: dict[str, Any], running: bool, age_s: float) -> None:
    now_ns = told["written_ns"]
    if running:
        print(f"running since {show.moment(told.get('started_ns'))}, pid {told.get('pid')}")
    else:
        print(f"not running; this is how it was at {show.moment(now_ns)}")
    if running and age_s > STALE_S:
        print(f"but its status is {age_s:.0f} s old: it hangs or cannot write")
    print(f"durable up to position {told.get('durable_position')}, sealed up to {told.get('sealed_position')}\n")
    rows = []
    for name, feed in told.get("feeds", {}).items():
        last_ns, gap = feed.get("last_data_ns"), feed.get("gap")
        since = f"{(now_ns - last_ns) / SECOND_NS:.1f} s ago" if last_ns else None
        rows.append(
            [name, feed.get("kind"), feed.get("state"), feed.get("connections"), feed.get("messages"), since, gap]
        )
    show.table(["feed", "kind", "state", "connections", "messages", "last data", "gap"], rows)
    print()
    for part in ("journal", "seal", "disk"):
        facts = ", ".join(f"{key} {value}" for key, value in told.get(part, {}).items())
        if facts:
            print(f"{part:<8}{facts}")
