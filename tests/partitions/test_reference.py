"""docs/format.md is what the declarations say, and a reader that knows nothing else reads everything."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recorder.journal.store import Store
from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions import seal as seal_module
from recorder.partitions.reference import markdown

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")

Row = tuple[Any, ...]


# --- the reader: written from the page alone -----------------------------------------------------------------

KINDS = {0: "data", 1: "reply", 2: "lifecycle"}
MARKS = {1: "initial", 2: "double", 4: "odd", 8: "binary", 16: "variant", 32: "rest"}


def read_everything(data: Path) -> list[Row]:
    """(position, received, monotonic, feed, feed kind, channel, kind, connection, mark, frame) of each message."""
    with closing(sqlite3.connect(f"file:{data}/recorder.sqlite?mode=ro", uri=True)) as journal:
        journal.execute("BEGIN")
        (fact,) = journal.execute("SELECT value, crc FROM facts WHERE key = 'sealed_position'").fetchall() or [
            (b"0", None)
        ]
        assert fact[1] in (None, zlib.crc32(b"sealed_position" + fact[0]))
        sealed = json.loads(fact[0])
        paths = journal.execute(
            "SELECT path FROM parts WHERE table_name = 'messages' ORDER BY first_position"
        ).fetchall()
        groups = journal.execute(
            "SELECT packed FROM groups WHERE first_position > ? ORDER BY first_position", (sealed,)
        ).fetchall()
    found: list[Row] = []
    for (path,) in paths:
        rows = pq.ParquetFile(data / path).read()
        received = rows["received_at"].cast("int64").to_pylist()
        for row, received_ns in zip(rows.drop(["received_at"]).to_pylist(), received, strict=True):
            if row["position"] <= sealed:
                frame = row["text"].encode() if row["bytes"] is None else row["bytes"]
                words = [row[name] for name in ("feed", "feed_kind", "channel", "kind", "connection", "mark")]
                found.append((row["position"], received_ns, row["monotonic_ns"], *words, frame))
    for (packed,) in groups:
        found += read_group(packed)
    return found


def read_group(packed: bytes) -> list[Row]:
    assert struct.unpack("<I", packed[-4:]) == (zlib.crc32(packed[:-4]),)
    magic, version, n, first, streams_bytes, payload_bytes = struct.unpack_from("<8sIIqQQ", packed)
    assert (magic, version) == (b"RECGROUP", 1)
    at = 40 + streams_bytes
    streams = json.loads(packed[40:at])
    columns = []
    for count, of in ((n, "q"), (n, "q"), (n, "q"), (n + 1, "I"), (n, "H"), (n, "B"), (n, "B")):
        columns.append(struct.unpack_from(f"<{count}{of}", packed, at))
        at += struct.calcsize(f"<{count}{of}")
    payload = packed[at : at + payload_bytes]
    received, monotonic, connection, offsets, stream, kind, mark = columns
    return [
        (
            first + i,
            received[i],
            monotonic[i],
            *streams[stream[i]],
            KINDS[kind[i]],
            connection[i],
            "+".join(word for bit, word in MARKS.items() if mark[i] & bit) or None,
            payload[offsets[i] : offsets[i + 1]],
        )
        for i in range(n)
    ]


# --- what it has to read -------------------------------------------------------------------------------------


def as_row(m: Message) -> Row:
    words = m.stream.feed, m.stream.feed_kind, m.stream.channel, m.kind.word, m.connection, m.mark.words
    return (m.position, m.received_ns, m.monotonic_ns, *words, m.payload)


def message(position: int) -> Message:
    """One a second over the end of an hour, of every kind and mark, some of them no text."""
    stream = (Stream("prices", "finance_query.quotes"), Stream("profiles", "finance_query.profile", "NVDA"))[
        position % 2
    ]
    payload = b"\xff%d" % position if position % 5 == 0 else f"främe {position}".encode()
    kind, mark = Kind(position % 3), Mark(position % 64)
    return Message(position, stream, kind, mark, 1_732_222_800 * 10**9 + 10**9 * (position - 30), position, 7, payload)


def test_a_reader_written_from_the_page_gets_every_message_once(
    tmp_path: Path, journal: Callable[[Path, Iterable[Message], int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal_module, "HOUR_PAUSE_S", 0.0)
    messages = [message(position) for position in range(1, 61)]
    data = tmp_path / "data"
    data.mkdir()
    journal(data, messages[:40], 7)
    made = seal_module.seal(data, 1, 40)
    with closing(Store.open(data)) as store:
        store.register([replace(part, registered_ns=1) for part in made.parts], 40, made.standing)
    journal(data, messages[40:], 7)
    assert len({part.path for part in made.parts if part.table_name == "messages"}) == 2
    assert read_everything(data) == [as_row(m) for m in messages]


def test_the_page_lists_every_column_as_it_is_declared() -> None:
    assert PAGE.partition("<!-- tables -->\n")[2] == markdown(), "python -m recorder.partitions.reference prints it"


def test_the_page_names_every_kind_and_mark_with_its_number() -> None:
    assert [f"{kind.value} {kind.word}" in PAGE for kind in Kind] == [True] * len(Kind)
    assert [f"{mark.value} {mark.words}" in PAGE and f"| {mark.words} |" in PAGE for mark in Mark] == [True] * len(Mark)
