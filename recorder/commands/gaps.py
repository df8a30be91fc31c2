"""`recorder gaps`: when a feed was not provably receiving, why, and what of it was filled since.

In: the view `gaps`, what is not sealed yet included. Out: one line a gap, by its beginning; an open one has no end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recorder.clock import SECOND_NS
from recorder.commands import show
from recorder.partitions.catalog import connect

COLUMNS = ("feed", "channel", "since", "until", "seconds", "cause", "recovered", "repair")
QUERY = """
SELECT feed, channel, epoch_ns(since_at), epoch_ns(until_at), seconds, cause, recovered, repair FROM gaps
WHERE ($feed IS NULL OR feed = $feed) AND ($since_ns IS NULL OR until_at IS NULL OR epoch_ns(until_at) > $since_ns)
ORDER BY since_at, feed, channel
"""


def main(data: Path, *, feed: str | None, since: datetime | None, as_json: bool) -> int:
    """`since` without a zone is UTC. Returns 0 also where there are gaps: they are what was asked for."""
    since_ns = int(since.replace(tzinfo=since.tzinfo or UTC).timestamp()) * SECOND_NS if since else None
    with connect(data) as connection:
        found = connection.execute(QUERY, {"feed": feed, "since_ns": since_ns}).fetchall()
    rows = [[name, channel, show.moment(a), show.moment(b), *rest] for name, channel, a, b, *rest in found]
    if as_json:
        show.json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        _show(rows)
    else:
        print("no gaps")
    return 0


def _show(rows: list[list[Any]]) -> None:
    """Fits 80 columns: a channel stands behind its feed, moments are to the second, and what nobody did is left out."""
    lines = []
    for feed, channel, since, _, seconds, cause, recovered, repair in rows:
        filled = f"; {recovered or 0} fetched since, {repair}" if repair else ""
        moment = str(since)[:19].replace("T", " ")
        lines.append((f"{feed}/{channel}" if channel else feed, moment, seconds or "open", f"{cause}{filled}"))
    show.table(("feed", "since, UTC", "seconds", "cause"), lines)
