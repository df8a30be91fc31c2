"""Messages as the fourth room passes them on: Arrow record batches, and objects where somebody asks. Pure.

In: rows of `messages`. Out: the wanted ones in BATCH_SCHEMA, cut to size without copying.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from recorder.message import Kind, Mark, Message, Stream
from recorder.partitions.schema import MESSAGES_SCHEMA
from recorder.replay.selection import Selection

# The columns of `messages`, but the receive time as what it is counted in: int64 nanoseconds since 1970 UTC.
BATCH_SCHEMA = pa.schema(
    [pa.field("received_ns", pa.int64()) if field.name == "received_at" else field for field in MESSAGES_SCHEMA]
)
Batch: TypeAlias = pa.RecordBatch  # in BATCH_SCHEMA

_KINDS = {kind.word: kind for kind in Kind}


def handed_out(
    read: pa.RecordBatch, first: int, last: int, selection: Selection, rows_max: int, bytes_max: int
) -> Iterator[pa.RecordBatch]:
    """Rows of `messages` as they are handed out: those wanted, in BATCH_SCHEMA, cut to size."""
    cut = _between(read, first, last)
    if not cut.num_rows:
        return
    columns = [cut["received_at"].view(pa.int64()) if f.name == "received_ns" else cut[f.name] for f in BATCH_SCHEMA]
    yield from _small(selection.rows(pa.RecordBatch.from_arrays(columns, schema=BATCH_SCHEMA)), rows_max, bytes_max)


def messages(batch: Batch) -> Iterator[Message]:
    """The rows as messages, some 1.5 us each."""
    payload = batch["text"].cast(pa.binary())
    if payload.null_count:
        payload = pc.coalesce(payload, batch["bytes"])
    offsets = _plain(payload, "i", extra=1)
    start = offsets[0] if len(batch) else 0
    data = memoryview(payload.buffers()[2] or b"")[start : offsets[-1] if len(batch) else 0].tobytes()
    stream = pc.dictionary_encode(
        pc.binary_join_element_wise(batch["feed"], batch["feed_kind"], batch["channel"], "\0")
    )
    kind = pc.dictionary_encode(batch["kind"])
    mark = pc.dictionary_encode(pc.fill_null(batch["mark"], ""))
    streams = [Stream(*key.split("\0", 2)) for key in stream.dictionary.to_pylist()]
    kinds = [_KINDS[word] for word in kind.dictionary.to_pylist()]
    marks = [_mark(words) for words in mark.dictionary.to_pylist()]
    return map(
        Message,
        _plain(batch["position"], "q"),
        map(streams.__getitem__, _plain(stream.indices, "i")),
        map(kinds.__getitem__, _plain(kind.indices, "i")),
        map(marks.__getitem__, _plain(mark.indices, "i")),
        _plain(batch["received_ns"], "q"),
        _plain(batch["monotonic_ns"], "q"),
        _plain(batch["connection"], "q"),
        (data[begin - start : end - start] for begin, end in pairwise(offsets)),
    )


def _plain(array: pa.Array, form: Literal["i", "q"], extra: int = 0) -> memoryview[int]:
    """The numbers of an array without nulls, or the offsets of a binary one, where they lie."""
    numbers: memoryview[int] = memoryview(array.buffers()[1] or b"").cast(form)
    return numbers[array.offset : array.offset + len(array) + extra]


def _mark(words: str) -> Mark:
    mark = Mark.NONE
    for word in words.split("+") if words else ():
        mark |= Mark[word.upper()]
    return mark


def _between(rows: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
    """Those of ordered rows with positions first to last."""
    position = rows["position"]
    start, stop = 0, rows.num_rows
    if stop and position[0].as_py() < first:
        start = _index_from(position, first)
    if stop > start and position[-1].as_py() > last:
        stop = _index_from(position, last + 1)
    return rows.slice(start, max(0, stop - start))


def _index_from(position: pa.Array, wanted: int) -> int:
    at: int = pc.index(pc.greater_equal(position, wanted), True).as_py()
    return at if at >= 0 else len(position)


def _small(batch: pa.RecordBatch, rows_max: int, bytes_max: int) -> Iterator[pa.RecordBatch]:
    """The batch in pieces, without copying: a row that is too long alone comes alone."""
    if batch.num_rows > 1 and (batch.num_rows > rows_max or batch.nbytes > bytes_max):
        half = batch.num_rows // 2
        yield from _small(batch.slice(0, half), rows_max, bytes_max)
        yield from _small(batch.slice(half), rows_max, bytes_max)
    elif batch.num_rows:
        yield batch
