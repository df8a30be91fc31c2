"""The recording, read as any user would read it: through views in DuckDB, here and in another process.

In: a data directory. Out: rows and gaps for the check, and whether plain DuckDB, elsewhere, sees the same. Reads only.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from recorder.demo.check import GapRow, Row
from recorder.errors import RecorderError
from recorder.partitions.catalog import CATALOG
from recorder.replay.upstreams.ledger import digest

BATCH_ROWS = 10_000
PLAIN_TIMEOUT_S = 60

# What was fetched over REST after a gap was never a frame.
ROWS = """
SELECT position, feed, channel, text, bytes FROM messages
WHERE position BETWEEN ? AND ? AND kind <> 'lifecycle' AND coalesce(NOT contains(mark, 'rest'), true)
ORDER BY position
"""
LAST = "SELECT coalesce(max(position), 0) FROM messages"
GAPS = "SELECT feed, channel, epoch_ns(since_at), epoch_ns(until_at) FROM gaps"
# One line that two recordings share only if they hold the same messages under the same positions.
FINGERPRINT = """
SELECT count(*), count(DISTINCT position), coalesce(min(position), 0), coalesce(max(position), 0),
    coalesce(bit_xor(hash(position, received_at, feed, channel, text, bytes)), 0) FROM messages
"""
ROTATIONS = """
SELECT coalesce(sum("both"), 0)::BIGINT, coalesce(sum(only_old), 0)::BIGINT, coalesce(sum(only_new), 0)::BIGINT
FROM lifecycle WHERE event = 'rotation.done'
"""
# The gap before a channel's first proof of life and the one that the end opens belong to every recording.
GAP_FIGURES = """
SELECT count(*), coalesce(sum(seconds), 0), coalesce(sum(recovered), 0)::BIGINT
FROM gaps WHERE cause <> 'start' AND until_at IS NOT NULL
"""
PLAIN = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as connection:
    print(*connection.execute(sys.argv[2]).fetchone())
"""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    messages: int
    distinct: int
    first: int
    last: int
    hashed: int

    @property
    def dense(self) -> bool:
        """Positions begin at 1, have no hole and none is there twice."""
        return self.messages == self.distinct == self.last and self.first == 1


def rows(connection: duckdb.DuckDBPyConnection) -> Iterator[Row]:
    """What came from the upstreams, in order of position, in batches: an hour's texts do not have to fit in memory."""
    ((last,),) = connection.execute(LAST).fetchall()
    for first in range(1, last + 1, BATCH_ROWS):  # one sort of all would hold all
        found = connection.execute(ROWS, [first, first + BATCH_ROWS - 1]).fetchall()
        for position, feed, channel, text, payload in found:
            yield Row(position, (feed, channel), digest(payload if text is None else text.encode()))


def gaps(connection: duckdb.DuckDBPyConnection) -> list[GapRow]:
    found = connection.execute(GAPS).fetchall()
    return [GapRow((feed, channel), since_ns, until_ns) for feed, channel, since_ns, until_ns in found]


def fingerprint(connection: duckdb.DuckDBPyConnection) -> Fingerprint:
    (row,) = connection.execute(FINGERPRINT).fetchall()
    return Fingerprint(*row)


def elsewhere(data: Path) -> Fingerprint:
    """The same, seen by plain DuckDB in a process of its own: what anybody has who opens `catalog.duckdb`."""
    command = [sys.executable, "-c", PLAIN, str(data / CATALOG), FINGERPRINT]
    done = subprocess.run(  # noqa: S603 - our own interpreter and text
        command, capture_output=True, text=True, timeout=PLAIN_TIMEOUT_S, start_new_session=True, check=False
    )
    if done.returncode:
        raise RecorderError(f"another process could not read {data / CATALOG}: {done.stderr.strip()[-300:]}")
    return Fingerprint(*map(int, done.stdout.split()))


def counted(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Figures that the recording itself has of its rotations and gaps."""
    ((both, only_old, only_new),) = connection.execute(ROTATIONS).fetchall()
    ((gap_count, gap_s, recovered),) = connection.execute(GAP_FIGURES).fetchall()
    return {
        "rotation_both": both,
        "rotation_only_old": only_old,
        "rotation_only_new": only_new,
        "gaps": gap_count,
        "gap_s": round(gap_s, 3),
        "recovered": recovered,
    }


def size_on_disk(data: Path) -> int:
    """Bytes of all files of the recording; names with `_` in front hold nothing recorded."""
    return sum(path.stat().st_size for path in data.rglob("[!_]*") if path.is_file())
