"""Messages as they leave: WebSocket text frames of JSON, or Arrow. Pure, and without a Python step a message but one.

In: a batch of the timeline. Out: the bytes to write, and where each message begins in them. The same messages give the
same bytes, however they are cut into batches. A frame that is JSON stands in its message as it came, byte for byte;
that it is JSON is checked here, one by one (0.5 µs), since not every feed parses what it records.

    {"position":7,"received_at":"2026-01-31T12:00:00.123456789Z","feed":"news","kind":"data","channel":"",
     "connection":3,"mark":null,"data":{…}}        or "text":"…" where it is no JSON, "bytes":"<base64>" where no UTF-8
    {"gap":{"feed":"news","channel":"","since":"…Z","until":"…Z" or null,"cause":"…","position":8}}
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from recorder import lifecycle
from recorder.message import Kind
from recorder.partitions.schema import MOMENT
from recorder.replay.batch import Batch
from recorder.replay.moments import iso
from recorder.replay.selection import Selection

_GAP_EVENT = '{"event":"gap.'  # how the recorder's own entries about gaps begin
_LIFECYCLE = Kind.LIFECYCLE.word
_WORDS = ("feed", "kind", "channel", "mark")  # columns of few different values; with the connection, a message's stem
_KEYS = ("data", "text", "bytes")


@dataclass(frozen=True)
class Wanted:
    """What a listener wants to hear of: messages and, if `gaps`, the recorder's entries that say where gaps are."""

    selection: Selection = field(default_factory=Selection)
    gaps: bool = False

    @property
    def reads(self) -> Selection:
        """What has to be read for it."""
        kinds = self.selection.kinds
        if not self.gaps or not kinds:
            return self.selection
        return replace(self.selection, kinds=kinds | {Kind.LIFECYCLE})

    @property
    def shows_lifecycle(self) -> bool:
        return not self.selection.kinds or Kind.LIFECYCLE in self.selection.kinds

    def rows(self, batch: Batch) -> Batch:
        """Those of a batch that it wants, entries about gaps among them."""
        return self.shown(self.reads.rows(batch))

    def shown(self, read: Batch) -> Batch:
        """The same where `read` is nothing but what `reads` selects."""
        if not self.gaps or self.shows_lifecycle or not has_entries(read):
            return read
        own = pc.equal(read["kind"], _LIFECYCLE)
        of_gap = pc.fill_null(pc.starts_with(read["text"], _GAP_EVENT), False)
        return read.filter(pc.or_(pc.invert(own), of_gap))


@dataclass(frozen=True, slots=True)
class GapMark:
    """A gap that begins (`until_ns` None) or has ended, announced in place of its entry or behind it."""

    position: int
    is_message: bool  # the entry itself is shown, too
    cause: str
    until_ns: int | None
    text: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """Messages next to each other, ready to be written. `payload` is their texts without the frames' heads."""

    frames: memoryview
    payload: memoryview
    messages: int
    gaps: int


class Encoded:
    """Messages as JSON in WebSocket frames. `rows` are all wanted."""

    def __init__(self, wanted: Wanted, rows: Batch) -> None:
        self.gaps = gap_marks(rows, wanted) if wanted.gaps else []
        self._positions = int64s(rows["position"])
        self._gap_positions = [gap.position for gap in self.gaps]
        self._hidden = [gap.position for gap in self.gaps if not gap.is_message]
        payload = _payload(rows)
        frames = _framed(payload)
        if self.gaps:
            at = [bisect_left(self._positions, position) for position in self._gap_positions]
            texts = [
                [payload[i].as_py(), gap.text] if gap.is_message else [gap.text]
                for i, gap in zip(at, self.gaps, strict=True)
            ]
            payload = _with(payload, at, [b"".join(each) for each in texts])
            frames = _with(frames, at, [b"".join(head(len(text)) + text for text in each) for each in texts])
        self._frames, self._frame_offsets = _bytes_of(frames)
        self._payload, self._payload_offsets = _bytes_of(payload)

    def cut(self, first: int, last: int) -> Cut:
        """What lies between two positions, both included."""
        start, stop = bisect_left(self._positions, first), bisect_right(self._positions, last)
        frames = self._frames[self._frame_offsets[start] : self._frame_offsets[stop]]
        payload = self._payload[self._payload_offsets[start] : self._payload_offsets[stop]]
        hidden = _between(self._hidden, first, last)
        return Cut(frames, payload, stop - start - hidden, _between(self._gap_positions, first, last))


def gap_marks(rows: Batch, wanted: Wanted) -> list[GapMark]:
    """The gaps that these rows tell of."""
    if not has_entries(rows):
        return []
    entries = rows.filter(pc.equal(rows["kind"], _LIFECYCLE))
    told = entries.filter(pc.fill_null(pc.starts_with(entries["text"], _GAP_EVENT), False))
    return [_gap_mark(row, wanted) for row in told.to_pylist()]


def has_entries(rows: Batch) -> bool:
    """Whether any of them is the recorder's own."""
    return bool(pc.index(rows["kind"], _LIFECYCLE).as_py() >= 0)


def _gap_mark(row: dict[str, Any], wanted: Wanted) -> GapMark:
    try:
        entry = lifecycle.read(row["text"].encode())
    except ValueError:
        entry = {}
    since_ns, until_ns, cause = entry.get("since_ns"), entry.get("until_ns"), str(entry.get("cause", "unknown"))
    gap = {
        "feed": row["feed"],
        "channel": row["channel"],
        "since": iso(since_ns) if isinstance(since_ns, int) else None,
        "until": iso(until_ns) if isinstance(until_ns, int) else None,
        "cause": cause,
        "position": row["position"],
    }
    return GapMark(row["position"], wanted.shows_lifecycle, cause, until_ns, orjson.dumps({"gap": gap}))


def int64s(column: pa.Array) -> memoryview:
    """The values of an int64 column without nulls, without copying."""
    data = memoryview(column.buffers()[1]).cast("B").cast("q")
    return data[column.offset : column.offset + len(column)]


def values(column: pa.Array) -> memoryview:
    """The values of a text or binary column one after the other, without copying."""
    data, ends = _bytes_of(column)
    return data[ends[0] : ends[-1]]


# --- JSON -------------------------------------------------------------------------------------------------------


def _payload(rows: Batch) -> pa.BinaryArray:
    """Each message as one JSON object."""
    if not rows.num_rows:
        return pa.array([], pa.binary())
    value, key = _values(rows)
    text = rows["received_ns"].view(MOMENT).cast(pa.string())  # "2026-01-31 12:00:00.123456789"
    received_at = pc.binary_replace_slice(text, 10, 11, "T")
    position = rows["position"].cast(pa.string())
    joined = pc.binary_join_element_wise(
        '{"position":', position, ',"received_at":"', received_at, 'Z"', _stems(rows, key), value, "}", ""
    )
    return joined.cast(pa.binary())


def _stems(rows: Batch, key: pa.Array) -> pa.Array:
    """`,"feed":…,"connection":3,"mark":null,"data":` of each message, made once for all that have the same."""
    kinds_of_stem = []
    code = key.cast(pa.int64())
    for name in (*_WORDS, "connection"):
        column = rows[name]
        known = (column.fill_null("") if name == "mark" else column).dictionary_encode()
        kinds_of_stem.append((name, known.dictionary.to_pylist()))
        code = pc.add(pc.multiply(code, len(known.dictionary)), known.indices.cast(pa.int64()))
    stems = code.dictionary_encode()
    made = [_stem(number, kinds_of_stem) for number in stems.dictionary.to_pylist()]
    return pa.array(made, pa.string()).take(stems.indices)


def _stem(code: int, known: list[tuple[str, list[Any]]]) -> str:
    values = {}
    for name, words in reversed(known):
        code, index = divmod(code, len(words))
        values[name] = words[index]
    values["mark"] = values["mark"] or None
    order = ("feed", "kind", "channel", "connection", "mark")
    return "," + orjson.dumps({name: values[name] for name in order})[1:-1].decode() + f',"{_KEYS[code]}":'


def _values(rows: Batch) -> tuple[pa.Array, pa.Array]:
    """What stands behind the last key, and which key that is, as an index into _KEYS."""
    text = rows["text"]
    frames = text.to_pylist()
    odd = [index for index, frame in enumerate(frames) if frame is None or not _is_json(frame)]
    if not odd:
        return text, pa.repeat(pa.scalar(0, pa.int8()), len(text))
    keys = [1 if frames[index] is not None else 2 for index in odd]
    values = [
        orjson.dumps(frame).decode()
        if (frame := frames[index]) is not None
        else f'"{base64.b64encode(rows["bytes"][index].as_py() or b"").decode()}"'
        for index in odd
    ]
    of_all = [0] * len(frames)
    for index, key in zip(odd, keys, strict=True):
        of_all[index] = key
    return _with(text, odd, values), pa.array(of_all, pa.int8())


def _is_json(frame: str) -> bool:
    try:
        orjson.loads(frame)
    except ValueError:
        # Half a surrogate pair, written as \ud83d, is JSON all the same; NaN is not.
        try:
            json.loads(frame, parse_constant=_no_json)
        except (ValueError, RecursionError):
            return False
    return True


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


# --- WebSocket frames -------------------------------------------------------------------------------------------


def head(size: int, opcode: int = 0x1) -> bytes:
    """What stands before a whole message of so many bytes from a server (RFC 6455 5.2); 1 is text, 2 binary."""
    first = bytes((0x80 | opcode,))
    if size < 126:
        return first + bytes((size,))
    if size < 1 << 16:
        return first + b"\x7e" + size.to_bytes(2, "big")
    return first + b"\x7f" + size.to_bytes(8, "big")


def _framed(payload: pa.BinaryArray) -> pa.BinaryArray:
    sizes = pc.binary_length(payload).dictionary_encode()
    heads = pa.array([head(size) for size in sizes.dictionary.to_pylist()], pa.binary())
    return pc.binary_join_element_wise(heads.take(sizes.indices), payload, b"")


def _with(column: pa.Array, at: list[int], values: list[Any]) -> pa.Array:
    """The column with other values at these few places."""
    chosen = pc.is_in(pa.array(range(len(column)), pa.int32()), value_set=pa.array(at, pa.int32()))
    return pc.replace_with_mask(column, chosen, pa.array(values, column.type))


def _bytes_of(column: pa.BinaryArray) -> tuple[memoryview, memoryview]:
    """All values one after the other, and where each begins and the last one ends."""
    _, offsets, data = column.buffers()
    if not len(column):
        return memoryview(b""), memoryview(bytes(4)).cast("i")
    ends = memoryview(offsets).cast("B").cast("i")[column.offset : column.offset + len(column) + 1]
    return memoryview(data or b""), ends


def _between(positions: list[int], first: int, last: int) -> int:
    return bisect_right(positions, last) - bisect_left(positions, first)
