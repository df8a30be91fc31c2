"""Rows of a SQLite file, read without SQLite: for a file SQLite itself refuses, or finds damaged.

In: a database file and its write-ahead log. Out: every row of every table leaf page that can still be taken apart.
Pages the log holds newer versions of are taken from there, as far as SQLite itself would trust it (committed, every
checksum in the chain). Nothing here is proof of anything: freed pages still hold old rows, damaged ones wrong values,
so a caller takes only rows that carry a checksum of their own. Format: sqlite.org/fileformat2.html, 1.6, 2.1 and 4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

Value = int | bytes | None

_WAL_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_WAL_MAGIC = 0x377F0682  # the lowest bit says whether checksums are over big-endian words
_LEAF = 0x0D
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


class Unreadable(Exception):
    """This row or page cannot be taken apart."""


class Pages:
    """A database as numbered pages of `page_bytes`, the newest committed version of each. Use as a context."""

    def __init__(self, path: Path, page_bytes: int) -> None:
        self._size = page_bytes
        self._files = [_open(path), _open(path.with_name(path.name + "-wal"))]
        self._bytes = [os.fstat(file.fileno()).st_size for file in self._files]
        self._newer = _committed(self._files[1], page_bytes)  # page number -> where in the log it is

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def rows(self) -> Iterator[tuple[int, tuple[Value, ...]]]:
        """(rowid, values) of all that is readable; text comes as bytes, floating point as None."""
        count = max(self._bytes[0] // self._size, 0, *self._newer)
        for number in range(1, count + 1):
            page = self._page(number)
            start = 100 if number == 1 else 0
            if len(page) < self._size or page[start] != _LEAF:
                continue
            cells = int.from_bytes(page[start + 3 : start + 5], "big")
            pointers = page[start + 8 : start + 8 + 2 * cells]
            for at in range(0, len(pointers) - 1, 2):
                try:
                    yield self._row(page, int.from_bytes(pointers[at : at + 2], "big"))
                except (Unreadable, IndexError):
                    continue

    def _page(self, number: int) -> bytes:
        newer = self._newer.get(number)
        file, at = (self._files[0], (number - 1) * self._size) if newer is None else (self._files[1], newer)
        try:
            return os.pread(file.fileno(), self._size, at)
        except OSError:  # a sector the disk cannot read any more costs the rows on it and no others
            return b""

    def _row(self, page: bytes, at: int) -> tuple[int, tuple[Value, ...]]:
        length, at = _varint(page, at)
        rowid, at = _varint(page, at)
        local_max = self._size - 35
        local = length
        if length > local_max:
            local_min = (self._size - 12) * 32 // 255 - 23
            local = local_min + (length - local_min) % (self._size - 4)
            if local > local_max:
                local = local_min
        pieces = [page[at : at + local]]
        missing = length - local
        if length < 0 or missing > sum(self._bytes):
            raise Unreadable
        follow = page[at + local : at + local + 4]
        while missing > 0:
            number = int.from_bytes(follow, "big")
            overflow = self._page(number) if number else b""
            if len(overflow) < self._size:
                raise Unreadable
            pieces.append(overflow[4 : 4 + missing])
            missing -= len(pieces[-1])
            follow = overflow[:4]
        return rowid, _values(b"".join(pieces))


def _values(record: bytes) -> tuple[Value, ...]:
    header_bytes, at = _varint(record, 0)
    body = header_bytes
    values: list[Value] = []
    while at < header_bytes:
        kind, at = _varint(record, at)
        if kind >= 12:
            size = (kind - 12) // 2
            values.append(record[body : body + size])
        elif kind <= 6:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(record[body : body + size], "big", signed=True) if kind else None)
        else:
            size = 8 if kind == 7 else 0
            values.append({8: 0, 9: 1}.get(kind))
        body += size
    if body != len(record) or at != header_bytes:
        raise Unreadable
    return tuple(values)


def _open(path: Path) -> BinaryIO:
    return path.open("rb") if path.exists() else TemporaryFile()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    value = value << 8 | data[at]
    return (value - (1 << 64) if value >> 63 else value), at + 1


def _committed(wal: BinaryIO, page_bytes: int) -> dict[int, int]:
    """Where the newest version of each page is, up to the last commit before the first frame that does not hold."""
    header = wal.read(_WAL_HEADER.size)
    if len(header) < _WAL_HEADER.size:
        return {}
    magic, _, size, _, salt1, salt2, sum1, sum2 = _WAL_HEADER.unpack(header)
    order = ">" if magic & 1 else "<"
    sums = _checksum(header[:24], (0, 0), order)
    if magic & ~1 != _WAL_MAGIC or size != page_bytes or sums != (sum1, sum2):
        return {}
    committed: dict[int, int] = {}
    pending: dict[int, int] = {}
    while len(frame := wal.read(_FRAME_HEADER.size + page_bytes)) == _FRAME_HEADER.size + page_bytes:
        number, commit, one, two, sum1, sum2 = _FRAME_HEADER.unpack_from(frame)
        sums = _checksum(frame[_FRAME_HEADER.size :], _checksum(frame[:8], sums, order), order)
        if (one, two, *sums) != (salt1, salt2, sum1, sum2):
            break
        pending[number] = wal.tell() - page_bytes
        if commit:
            committed |= pending
            pending = {}
    return committed


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = sums
    for x0, x1 in struct.iter_unpack(f"{order}II", data):
        one = (one + x0 + two) & 0xFFFFFFFF
        two = (two + x1 + one) & 0xFFFFFFFF
    return one, two
