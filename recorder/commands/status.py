"""`recorder status`: what the recorder that holds this data folder is doing, and whether all is well.

In: the lock file, which the running recorder holds, and `_status.json`, which it renames into place every second. Out:
that, for people or as it is. Touches nothing else: no query, no journal, no effect on the recorder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from recorder import __version__, health
from recorder.clock import SECOND_NS, Clock
from recorder.commands import show
from recorder.errors import RecorderError
from recorder.journal.lock import is_held
from recorder.status import STATUS_FILE


def main(data: Path, *, as_json: bool) -> int:
    """Returns 0: all is well; 3: a gap is open or the verdict is not ok; 1: no recorder runs."""
    running = is_held(data)
    told = read(data)
    now_ns = Clock().now().utc_ns
    try:
        return _tell(told, running, now_ns, as_json=as_json)
    except KeyError as missing:
        if told is None or told.get("version") == __version__:
            raise
        raise RecorderError(
            f"what {data} tells is of recorder version {told.get('version')}, without {missing}; "
            f"this is {__version__}. Restart the recorder, or ask with the command of its version."
        ) from None


def _tell(told: dict[str, Any] | None, running: bool, now_ns: int, *, as_json: bool) -> int:
    found = health.verdict(told, running, now_ns)
    if as_json:
        age_s = (now_ns - told["written_ns"]) / SECOND_NS if told else None
        show.json({**(told or {}), "running": running, "age_s": age_s, "health": found.as_dict()})
    else:
        print(found.state.value.upper() + "".join(f"\n  {reason}" for reason in found.reasons))
        if told is None:
            print("nothing was recorded here yet")
        else:
            _show(told, running)
    if not running:
        return 1
    silent = told is None or any(feed["gap"] for feed in told["feeds"].values())
    return 3 if silent or found.state is not health.State.OK else 0


def read(data: Path) -> dict[str, Any] | None:
    """The last status written; None where there never was one, or a power cut has left none of it."""
    try:
        told: dict[str, Any] = orjson.loads((data / STATUS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return told


def _show(told: dict[str, Any], running: bool) -> None:
    now_ns = told["written_ns"]
    if running:
        print(f"running since {show.moment(told['started_ns'])}, pid {told['pid']}, version {told['version']}")
    else:
        print(f"not running; this is how it was at {show.moment(now_ns)}")
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
    journal, disk = told["journal"], told["disk"]
    print(f"durable within {journal['durable_ms_p50']} ms (median), {journal['durable_ms_p99']} ms (99 %)")
    print(f"sealed up to position {told['sealed_position']}, {disk['free_bytes'] >> 20} MB free\n")
    jobs = [
        [
            job["job"],
            job["every_s"],
            job["runs"],
            _ago(job["last_ns"], now_ns),
            job["last_s"],
            job["next"],
            job["missed"],
            job["last_outcome"],
        ]
        for job in told["jobs"]
    ]
    show.table(["job", "every s", "runs", "last", "took s", "next", "when missed", "outcome"], jobs)


def _ago(then_ns: int | None, now_ns: int) -> str | None:
    return f"{(now_ns - then_ns) / SECOND_NS:.1f} s ago" if then_ns else None
