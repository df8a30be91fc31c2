"""`recorder tail`: messages as they become durable.

In: a position. Out: every durable message behind it, once, in order: from parts as far as they are sealed, then from
the journal, asked again every `POLL_S`. Reads in short transactions and bounded pieces, so that neither a slow terminal
nor a fast feed can hurt the recording. Ends with Ctrl-C, or when nobody reads on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recorder.commands import show
from recorder.journal.store import Store
from recorder.partitions.catalog import connect
from recorder.partitions.messages import table_of
from recorder.partitions.schema import MESSAGES

POLL_S = 0.1
PIECE_BYTES = 1 << 20  # of the journal
PIECE_ROWS = 1_000  # of a part
TEXT_CHARACTERS = 120


def main(data: Path, *, feed: str | None, lines: int, from_position: int | None, as_json: bool) -> int:
    """Returns 0 at Ctrl-C. Raises RecorderError where nothing was recorded."""
    write = _line_for_machines if as_json else _line_for_people
    with closing(Store.open_readonly(data)) as store:
        after = from_position - 1 if from_position is not None else _lines_back(data, store, feed, lines)
        try:
            for piece in pieces(data, store, after):
                if piece is None:
                    sys.stdout.flush()
                    time.sleep(POLL_S)
                    continue
                for row in piece.to_pylist():
                    if feed is None or row["feed"] == feed:
                        sys.stdout.write(write(row))
        except KeyboardInterrupt:
            return 0
    raise AssertionError("pieces never ends")


def pieces(data: Path, store: Store, after: int) -> Iterator[pa.Table | None]:
    """Messages behind `after`, in pieces as `messages` has them but `received_at` in nanoseconds; None: no more yet."""
    while True:
        sealed = store.sealed_position()
        if after < sealed:
            for part in store.parts(MESSAGES):
                if part.last_position > after:
                    yield from _part(data / part.path, after)
                    after = part.last_position
            after = max(after, sealed)  # what was lost is in no part
        groups = store.groups(after, PIECE_BYTES)
        if store.sealed_position() > sealed:
            continue  # some of the groups may have been let go before we looked; now they are in a part
        if groups:
            yield _readable(table_of(groups), after)
            after = groups[-1].last_position
        else:
            yield None


def _part(path: Path, after: int) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(PIECE_ROWS):
            yield _readable(pa.Table.from_batches([batch]), after)


def _readable(messages: pa.Table, after: int) -> pa.Table:
    later = messages.filter(pc.greater(messages["position"], after))
    where = later.schema.get_field_index("received_at")
    return later.set_column(where, "received_at", later["received_at"].cast(pa.int64()))


def _lines_back(data: Path, store: Store, feed: str | None, lines: int) -> int:
    """The position behind which there are so many messages (of the feed) now."""
    with connect(data) as connection:
        found = connection.execute(
            "SELECT min(position) - 1 FROM (SELECT position FROM messages WHERE $feed IS NULL OR feed = $feed"
            " ORDER BY position DESC LIMIT $lines)",
            {"feed": feed, "lines": lines},
        ).fetchone()
    return found[0] if found and found[0] is not None else store.durable_position()


def _line_for_machines(row: dict[str, Any]) -> str:
    other = row.pop("bytes")
    if other is not None:
        row["text"] = other.decode(errors="backslashreplace")
    return show.json_line(row | {"received_at": show.moment(row["received_at"]), "received_ns": row["received_at"]})


def _line_for_people(row: dict[str, Any]) -> str:
    text = row["text"] if row["text"] is not None else repr(row["bytes"])
    start = "".join(sign if sign.isprintable() else " " for sign in text[:TEXT_CHARACTERS])
    kind = row["kind"] if row["mark"] is None else f"{row['kind']} {row['mark']}"
    return f"{show.moment(row['received_at'])} {row['position']} {row['feed']} {kind} {start}\n"
