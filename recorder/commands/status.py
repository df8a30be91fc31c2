"""`recorder status`: what the recorder that holds this data folder is doing, and whether all is well.

In: the lock file, which the running recorder holds, and `_status.json`, which it renames into place every second. Out:
that, for people (once, or with `--watch` again and again in the same place) or as it is. Touches nothing else: no
query, no journal, no effect on the recorder.
"""

from __future__ import annotations

import io
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import orjson

from recorder import __version__, health
from recorder.clock import SECOND_NS, Clock
from recorder.commands import show
from recorder.errors import RecorderError
from recorder.journal.lock import is_held
from recorder.status import STATUS_FILE

WATCH_EVERY_S = 1.0  # as often as a recorder tells
WELL = ("ok", "not run yet")
SPANS = (("d", 86_400), ("h", 3600), ("min", 60))  # an age is told in the largest of which there are two


def main(data: Path, *, as_json: bool, watch: bool = False) -> int:
    """Returns 0: all is well; 3: a gap is open or the verdict is not ok; 1: no recorder runs. Of the last look."""
    if watch:
        return _watch(data)
    text, code = _look(data, as_json=as_json, width=show.width_of(sys.stdout))
    sys.stdout.write(text)
    return code


def _look(data: Path, *, as_json: bool, width: int) -> tuple[str, int]:
    """What there is to tell now, and the exit code."""
    running = is_held(data)
    told = read(data)
    now_ns = Clock().now().utc_ns
    try:
        return _tell(told, running, now_ns, as_json=as_json, width=width)
    except KeyError as missing:
        if told is None or told.get("version") == __version__:
            raise
        raise RecorderError(
            f"what {data} tells is of recorder version {told.get('version')}, without {missing}; "
            f"this is {__version__}. Restart the recorder, or ask with the command of its version."
        ) from None


def _watch(data: Path) -> int:
    """Until Ctrl-C: in the same place of a terminal, which is then as it was before, else a line a second."""
    code = 1
    with suppress(KeyboardInterrupt):
        if not sys.stdout.isatty():
            while True:
                line, code = _line(data)
                print(line, flush=True)
                time.sleep(WATCH_EVERY_S)
        from rich.console import Console
        from rich.text import Text

        console = Console()
        with console.screen(hide_cursor=True) as screen:
            while True:
                text, code = _look(data, as_json=False, width=console.width)
                screen.update(Text.from_ansi(text))
                time.sleep(WATCH_EVERY_S)
    if sys.stdout.isatty():
        sys.stdout.write(_look(data, as_json=False, width=show.width_of(sys.stdout))[0])
    return code


def _line(data: Path) -> tuple[str, int]:
    told, running = read(data), is_held(data)
    now_ns = Clock().now().utc_ns
    found = health.verdict(told, running, now_ns)
    known = told or {"feeds": {}, "durable_position": 0}
    receiving = sum(not feed["gap"] for feed in known["feeds"].values())
    said = f"{show.moment(now_ns)} {found.state.value} {receiving}/{len(known['feeds'])} receiving"
    reasons = f": {'; '.join(found.reasons)}" if found.reasons else ""
    return f"{said} position {known['durable_position']}{reasons}", _code(told, running, found)


def _tell(told: dict[str, Any] | None, running: bool, now_ns: int, *, as_json: bool, width: int) -> tuple[str, int]:
    found = health.verdict(told, running, now_ns)
    out = io.StringIO()
    if as_json:
        age_s = (now_ns - told["written_ns"]) / SECOND_NS if told else None
        show.json({**(told or {}), "running": running, "age_s": age_s, "health": found.as_dict()}, out)
    else:
        print(found.state.value.upper() + "".join(f"\n  {reason}" for reason in found.reasons), file=out)
        if told is None:
            print("nothing was recorded here yet", file=out)
        else:
            _show(told, running, width, out)
    return out.getvalue(), _code(told, running, found)


def _code(told: dict[str, Any] | None, running: bool, found: health.Verdict) -> int:
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


def _show(told: dict[str, Any], running: bool, width: int, out: IO[str]) -> None:
    """Fits 80 columns: what is long and rare stands below the tables."""
    now_ns = told["written_ns"]
    if running:
        print(
            f"running since {show.moment(told['started_ns'])}, pid {told['pid']}, version {told['version']}", file=out
        )
    else:
        print(f"not running; this is how it was at {show.moment(now_ns)}", file=out)
    print(f"everything up to position {told['durable_position']} is durable\n", file=out)
    feeds = told["feeds"]
    columns = ["feed", "state", "messages", "last data", "rotations", "reconnects"]
    rows = [
        [
            name,
            feed["state"],
            feed["messages"],
            _ago(feed["last_data_ns"], now_ns),
            feed["rotations"],
            feed["reconnects"],
        ]
        for name, feed in feeds.items()
    ]
    show.table(columns, rows, to=out, width=width)
    for name, feed in feeds.items():
        if gap := feed["gap"]:
            print(f"{name} is in a gap: {gap['cause']}, since {_ago(gap['since_ns'], now_ns)}", file=out)
    journal, disk = told["journal"], told["disk"]
    print(f"\ndurable within {journal['durable_ms_p50']} ms (median), {journal['durable_ms_p99']} ms (99 %)", file=out)
    print(f"sealed up to position {told['sealed_position']}, {disk['free_bytes'] >> 20} MB free", file=out)
    sealed = told.get("totals", {}).get("sealed", {})
    for what, counted in (("frames without their feed's shape", "unparsed"), ("values that are NULL for it", "unread")):
        if counts := {name: count for name, count in sealed.get(counted, {}).items() if count}:
            said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            print(f"{what}, kept in messages, since it runs: {said}", file=out)
    print(file=out)
    _jobs(told["jobs"], now_ns, width, out)


def _jobs(jobs: list[dict[str, Any]], now_ns: int, width: int, out: IO[str]) -> None:
    rows = [
        [
            job["job"],
            _span(job["every_s"]),
            _ago(job["last_ns"], now_ns),
            f"{job['last_s']:.2f} s",
            _until(job["next"], now_ns),
            job["missed"],
            job["last_outcome"] if job["last_outcome"] in WELL else "FAILED",
        ]
        for job in jobs
    ]
    show.table(["job", "every", "last", "took", "next", "when missed", "outcome"], rows, to=out, width=width)
    for job in jobs:
        if job["last_outcome"] not in WELL:
            print(f"{job['job']}: {job['last_outcome']}", file=out)


def _ago(then_ns: int | None, now_ns: int) -> str | None:
    return f"{_span((now_ns - then_ns) / SECOND_NS)} ago" if then_ns else None


def _until(moment: str | None, now_ns: int) -> str | None:
    """How long until a moment in ISO 8601; what is none stays as it is."""
    try:
        return moment and f"in {_span(max(0.0, datetime.fromisoformat(moment).timestamp() - now_ns / SECOND_NS))}"
    except ValueError:
        return moment


def _span(seconds: float) -> str:
    """`1.5 s`, `90 min`, `36 h`, `12 d`."""
    for unit, length_s in SPANS:
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.1f} s".replace(".0 s", " s") if seconds >= 10 else f"{seconds:.1f} s"
