"""`recorder status`: what the recorder that holds this data folder is doing.

In: the lock file, which the running recorder holds, and `_status.json`, which it renames into place every second. Out:
that, for people or as it is. Touches nothing else: no query, no journal, no effect on the recorder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from recorder.clock import SECOND_NS, Clock
from recorder.commands import show
from recorder.journal.lock import is_held
from recorder.status import STATUS_FILE

STALE_S = 10  # written every second; a machine that swaps may take some


def main(data: Path, *, as_json: bool) -> int:
    """Returns 0: every feed receives; 3: a gap is open or the status is old; 1: no recorder runs."""
    running = is_held(data)
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
    silent = told is None or any(feed["gap"] for feed in told["feeds"].values())
    return 3 if silent or (age_s or 0.0) > STALE_S else 0


def read(data: Path) -> dict[str, Any] | None:
    """The last status written; None where there never was one."""
    try:
        told: dict[str, Any] = orjson.loads((data / STATUS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return told


def _show(told: dict[str, Any], running: bool, age_s: float) -> None:
    now_ns = told["written_ns"]
    if running:
        print(f"running since {show.moment(told['started_ns'])}, pid {told['pid']}, version {told['version']}")
    else:
        print(f"not running; this is how it was at {show.moment(now_ns)}")
    if running and age_s > STALE_S:
        print(f"but its status is {age_s:.0f} s old: it hangs or cannot write")
    print(f"everything up to position {told['durable_position']} is durable\n")
    rows = [
        [
            name,
            feed["kind"],
            feed["state"],
            feed["messages"],
            _ago(feed["last_data_ns"], now_ns),
            feed["rotations"],
            feed["reconnects"],
            f"{feed['gap']['cause']}, since {_ago(feed['gap']['since_ns'], now_ns)}" if feed["gap"] else None,
        ]
        for name, feed in told["feeds"].items()
    ]
    show.table(["feed", "kind", "state", "messages", "last data", "rotations", "reconnects", "open gap"], rows)
    print()
    for part in ("journal", "seal", "disk"):
        print(f"{part:<8}" + ", ".join(f"{name} {value}" for name, value in told[part].items()))
    failed = [job for job in told["jobs"] if job["last_outcome"] not in ("ok", "not run yet")]
    for job in failed:
        print(f"job {job['job']} failed: {job['last_outcome']}")


def _ago(then_ns: int | None, now_ns: int) -> str | None:
    return f"{(now_ns - then_ns) / SECOND_NS:.1f} s ago" if then_ns else None
