"""`recorder tail`: messages as they become durable.

In: a position. Out: every durable message behind it, once, in order, as the timeline has them, asked again every
`POLL_S`. Reads in short transactions and bounded pieces, so that neither a slow terminal nor a fast feed can hurt the
recording. Ends with Ctrl-C, or when nobody reads on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from recorder.commands import show
from recorder.journal.store import Store
from recorder.partitions.catalog import connect
from recorder.replay.batch import Batch
from recorder.replay.selection import Selection
from recorder.replay.timeline import Timeline

POLL_S = 0.1
PIECE_ROWS = 1_000
PIECE_BYTES = 1 << 20
TEXT_CHARACTERS = 120


def main(data: Path, *, feed: str | None, lines: int, from_position: int | None, as_json: bool) -> int:
    """Returns 0 at Ctrl-C. Raises RecorderError where nothing was recorded."""
    write = _line_for_machines if as_json else _line_for_people
    timeline = Timeline(data)
    with closing(Store.open_readonly(data)) as store:
        durable = store.durable_position()
    first = from_position if from_position is not None else _lines_back(data, feed, lines, durable)
    try:
        for piece in pieces(timeline, first, feed):
            if piece is None:
                sys.stdout.flush()
                time.sleep(POLL_S)
                continue
            for row in piece.to_pylist():
                sys.stdout.write(write(row))
    except KeyboardInterrupt:
        return 0
    raise AssertionError("pieces never ends")


def pieces(timeline: Timeline, position: int, feed: str | None = None) -> Iterator[Batch | None]:
    """Messages from a position on, in pieces as the timeline has them; None: no more yet."""
    selection = Selection(None if feed is None else frozenset({feed}))
    while True:
        if (bounds := timeline.bounds()) is not None and position <= bounds.last_position:
            until = bounds.last_position
            yield from timeline.batches(
                position, selection, until_position=until, rows_max=PIECE_ROWS, bytes_max=PIECE_BYTES
            )
            position = until + 1
        yield None


def _lines_back(data: Path, feed: str | None, lines: int, durable: int) -> int:
    """The position from which on there are so many messages (of the feed) now."""
    with connect(data) as connection:
        found = connection.execute(
            "SELECT min(position) FROM (SELECT position FROM messages WHERE $feed IS NULL OR feed = $feed"
            " ORDER BY position DESC LIMIT $lines)",
            {"feed": feed, "lines": lines},
        ).fetchone()
    return found[0] if found and found[0] is not None else durable + 1


def _line_for_machines(row: dict[str, Any]) -> str:
    other = row.pop("bytes")
    if other is not None:
        row["text"] = other.decode(errors="backslashreplace")
    first = {"position": row["position"], "received_at": show.moment(row["received_ns"])}
    return show.json_line(first | row)


def _line_for_people(row: dict[str, Any]) -> str:
    text = row["text"] if row["text"] is not None else repr(row["bytes"])
    start = "".join(sign if sign.isprintable() else " " for sign in text[:TEXT_CHARACTERS])
    kind = row["kind"] if row["mark"] is None else f"{row['kind']} {row['mark']}"
    return f"{show.moment(row['received_ns'])} {row['position']} {row['feed']} {kind} {start}\n"
