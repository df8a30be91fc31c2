"""The messages of one commit as bytes, and back.

In: batches of frames that arrived together. Out: one packed group, the value of one journal row; and from that the
columns again, which pyarrow can wrap without copying and which iterate as messages. The group is laid out by column,
because packing, sealing and folding are then a few C calls a group instead of a Python step a message.
Whether a torn or foreign value can be told from a whole one is decided here: the checksum covers every byte, the
header included. When it is written, and that it survives the power failing, is writer.py's and store.py's job.

    header   magic "RECGROUP", u32 version, u32 count n, i64 first position, u64 bytes of streams, u64 bytes of payload
    streams  JSON [[feed, feed_kind, channel], …], padded with blanks to a multiple of 8 bytes
    columns  i64 received_ns[n], monotonic_ns[n], connection[n]; u32 offsets[n + 1]; u16 stream[n]; u8 kind[n], mark[n]
    payload  all frames, one after the other; offsets[i]:offsets[i + 1] is the i-th
    crc32    u32 (zlib) over everything before it

All numbers are little-endian, as are all machines this runs on.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import le, mul

import orjson

from recorder.clock import Moment
from recorder.errors import GroupDamaged
from recorder.message import Kind, Mark, Message, Stream

MAGIC = b"RECGROUP"
VERSION = 1
HEADER = struct.Struct("<8sIIqQQ")
CRC = struct.Struct("<I")
I64 = struct.Struct("<q")
U16 = struct.Struct("<H")
MESSAGE_BYTES = 3 * 8 + 4 + 2 + 1 + 1  # what a message costs besides its payload
STREAMS_MAX = 1 << 16  # a stream's index is 16 bits

_KINDS = tuple(Kind)
_KIND_BYTES = bytes(_KINDS)
_MARKS = tuple(map(Mark, range(256)))  # making a flag costs 1 us, taking it from here 30 ns
_BYTES = tuple(bytes((value,)) for value in range(256))

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("recorder runs on little-endian machines only: its journal is read without conversion")


@dataclass(frozen=True, slots=True)
class Group:
    """An unpacked group: columns of `count` values each (`offsets` has one more), in position order."""

    first_position: int
    streams: tuple[Stream, ...]
    received_ns: memoryview[int]  # int64
    monotonic_ns: memoryview[int]  # int64
    connection: memoryview[int]  # int64
    offsets: memoryview[int]  # uint32, from 0 to the length of the payload, so they fit an Arrow binary array
    stream_index: memoryview[int]  # uint16, into `streams`
    kind: bytes  # uint8
    mark: bytes  # uint8
    payload: bytes

    @property
    def count(self) -> int:
        return len(self.kind)

    @property
    def last_position(self) -> int:
        return self.first_position + len(self.kind) - 1

    def __len__(self) -> int:
        return len(self.kind)

    def __iter__(self) -> Iterator[Message]:
        payload = self.payload
        return map(
            Message,
            range(self.first_position, self.last_position + 1),
            map(self.streams.__getitem__, self.stream_index),
            map(_KINDS.__getitem__, self.kind),
            map(_MARKS.__getitem__, self.mark),
            self.received_ns,
            self.monotonic_ns,
            self.connection,
            (payload[start:end] for start, end in pairwise(self.offsets)),
        )


class GroupBuilder:
    """A group being gathered. Frames that arrived together are one `add`, whatever their number."""

    __slots__ = ("_payloads", "_runs", "_streams", "byte_count", "count", "first_position")

    def __init__(self, first_position: int) -> None:
        self.first_position = first_position
        self.count = 0
        self.byte_count = 0  # what the group will weigh, but for some dozens of bytes
        self._streams: dict[Stream, int] = {}
        self._payloads: list[bytes] = []
        self._runs: list[tuple[int, int, int, int, int, int, int]] = []

    @property
    def last_position(self) -> int:
        return self.first_position + self.count - 1

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def first_monotonic_ns(self) -> int:
        """When the first message of this group arrived. There must be one."""
        return self._runs[0][2]

    @property
    def received_ns(self) -> tuple[int, int]:
        """The earliest and the latest receive time. There must be a message."""
        times = [run[1] for run in self._runs]
        return min(times), max(times)

    def arrivals(self) -> list[tuple[int, int]]:
        """(monotonic_ns, number of messages) of every batch, by time."""
        return sorted((run[2], run[0]) for run in self._runs)

    def add(
        self, stream: Stream, kind: Kind, connection: int, payloads: Sequence[bytes], mark: Mark, moment: Moment
    ) -> int:
        """Take frames that arrived together, at least one; answers by how many bytes the group grew."""
        count = len(payloads)
        index = self._streams.setdefault(stream, len(self._streams))
        self._runs.append((count, moment.utc_ns, moment.monotonic_ns, connection, index, int(kind), int(mark)))
        self._payloads.extend(payloads)
        grown = sum(map(len, payloads)) + MESSAGE_BYTES * count
        self.count += count
        self.byte_count += grown
        return grown

    def pack(self) -> bytes:
        """The group as it is journalled. There must be a message; payloads are at most 4 GiB together."""
        counts, received, monotonic, connection, index, kind, mark = zip(*self._runs, strict=True)
        names = orjson.dumps([(s.feed, s.feed_kind, s.channel) for s in self._streams])
        names += b" " * (-len(names) % 8)
        payload = b"".join(self._payloads)
        head = b"".join(
            (
                HEADER.pack(MAGIC, VERSION, self.count, self.first_position, len(names), len(payload)),
                names,
                *(b"".join(map(mul, map(I64.pack, c), counts)) for c in (received, monotonic, connection)),
                array("I", accumulate(map(len, self._payloads), initial=0)).tobytes(),
                b"".join(map(mul, map(U16.pack, index), counts)),
                *(b"".join(map(mul, map(_BYTES.__getitem__, c), counts)) for c in (kind, mark)),
            )
        )
        return b"".join((head, payload, CRC.pack(zlib.crc32(payload, zlib.crc32(head)))))


def unpack(packed: bytes, first_position: int) -> Group:
    """The group that was packed. Raises GroupDamaged for anything else, whatever it is."""

    def damaged(reason: str) -> GroupDamaged:
        return GroupDamaged(first_position, reason)

    if not isinstance(packed, bytes):
        raise damaged(f"its value is not bytes but {type(packed).__name__}")
    if len(packed) < HEADER.size + CRC.size:
        raise damaged(f"{len(packed)} bytes are too few for a header")
    magic, version, count, position, streams_bytes, payload_bytes = HEADER.unpack_from(packed)
    if magic != MAGIC:
        raise damaged("it does not begin as a group does")
    view = memoryview(packed)
    if CRC.unpack_from(packed, len(packed) - CRC.size)[0] != zlib.crc32(view[: -CRC.size]):
        raise damaged("its checksum does not hold")
    if version != VERSION:
        raise damaged(f"it has version {version}, this recorder reads version {VERSION}")
    if position != first_position:
        raise damaged(f"it says of itself that it begins at {position}")
    if count == 0 or position < 1:
        raise damaged("it holds no message")
    columns = HEADER.size + streams_bytes
    payload_start = columns + count * MESSAGE_BYTES + 4
    if streams_bytes % 8 or payload_start + payload_bytes + CRC.size != len(packed):
        raise damaged("its lengths do not add up")

    ends = accumulate((8 * count,) * 3 + (4 * count + 4, 2 * count, count, count), initial=columns)
    bounds = list(ends)
    received, monotonic, connection, offsets, index, kind, mark = (view[start:end] for start, end in pairwise(bounds))
    group = Group(
        first_position,
        _streams(packed[HEADER.size : columns], first_position),
        received.cast("q"),
        monotonic.cast("q"),
        connection.cast("q"),
        offsets.cast("I"),
        index.cast("H"),
        bytes(kind),
        bytes(mark),
        packed[payload_start : -CRC.size],
    )
    if (
        group.offsets[0] != 0
        or group.offsets[-1] != payload_bytes
        or not all(map(le, group.offsets, group.offsets[1:]))
    ):
        raise damaged("its offsets do not fit its payload")
    if max(group.stream_index) >= len(group.streams) or group.kind.translate(None, _KIND_BYTES):
        raise damaged("it names a stream or a kind that does not exist")
    return group


def _streams(names: bytes, first_position: int) -> tuple[Stream, ...]:
    try:
        streams = tuple(Stream(*names) for names in orjson.loads(names))
    except (ValueError, TypeError) as error:
        raise GroupDamaged(first_position, "its streams are unreadable") from error
    if not all(isinstance(name, str) for s in streams for name in (s.feed, s.feed_kind, s.channel)):
        raise GroupDamaged(first_position, "its streams are unreadable")
    return streams
