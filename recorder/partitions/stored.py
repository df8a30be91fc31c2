"""How much is stored, by table, and how fast it grows. Pure.

In: the part registry and the time. Out: counts for `status`. Nothing is opened for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TypedDict

from recorder.clock import SECOND_NS
from recorder.journal.registry import Part, Retired
from recorder.journal.store import Store
from recorder.partitions import layout

WEEK_NS = 7 * 86_400 * SECOND_NS


class Figures(TypedDict):
    """Bytes are those of files. `week_bytes`: of what was received in the last seven days."""

    tables: dict[str, dict[str, int]]
    bytes: int
    hot_parts: int
    week_bytes: int
    retired_files: int
    retired_bytes: int


def figures(parts: Sequence[Part], retired: Sequence[Retired], now_ns: int) -> Figures:
    """Parts, rows and bytes of each table and altogether; what was replaced and waits for its grace to end."""
    tables: dict[str, dict[str, int]] = {}
    for part in parts:
        table = tables.setdefault(part.table_name, {"parts": 0, "rows": 0, "bytes": 0})
        table["parts"] += 1
        table["rows"] += part.row_count
        table["bytes"] += part.byte_count
    return {
        "tables": tables,
        "bytes": sum(part.byte_count for part in parts),
        "hot_parts": sum(layout.is_hot(part.path) for part in parts),
        "week_bytes": sum(part.byte_count for part in parts if part.last_received_ns > now_ns - WEEK_NS),
        "retired_files": len(retired),
        "retired_bytes": sum(one.byte_count for one in retired),
    }


def stored(data: Path, now_ns: int) -> Figures:
    """The figures of a data directory, as of one moment."""
    with closing(Store.open_readonly(data)) as store, store.transaction():
        parts, retired = store.parts(), store.retired()
    return figures(parts, retired, now_ns)
