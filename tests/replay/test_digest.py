from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence

import pyarrow as pa
import pytest

from recorder.replay.batch import BATCH_SCHEMA, Batch
from recorder.replay.digest import AT_ONCE_BYTES_MAX, BLOCK_BYTES, Digest


def rows(texts: Sequence[str | None], first: int = 1) -> Batch:
    plain = {"received_ns": 1, "monotonic_ns": 1, "feed": "f", "feed_kind": "k", "channel": "", "kind": "data"}
    return pa.RecordBatch.from_pylist(
        [
            {
                **plain,
                "position": first + n,
                "connection": 1,
                "text": text,
                "bytes": None if text is not None else b"\xff",
            }
            for n, text in enumerate(texts)
        ],
        schema=BATCH_SCHEMA,
    )


def checksums(data: bytes) -> bytes:
    blocks = [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]
    return b"".join(struct.pack("<I", zlib.crc32(block)) for block in blocks)


@pytest.mark.parametrize("size", [10, AT_ONCE_BYTES_MAX + 1])
async def test_of_texts_it_is_blake2b_of_all_of_them(size: int) -> None:
    digest = Digest(of_rows=False)
    for text in (b"a" * size, b"b", b"c" * size, b"d"):  # small ones wait behind large ones, which take a thread
        digest.take(memoryview(text))
    whole = b"a" * size + b"b" + b"c" * size + b"d"
    assert await digest.hexdigest() == hashlib.blake2b(whole, digest_size=16).hexdigest()
    assert digest.pending_bytes == 0


async def test_of_rows_it_is_what_its_page_says() -> None:
    texts = ["x" * 700_000, "ä" * 800_000, None, "y" * 10]
    digest = Digest(of_rows=True)
    digest.take_rows(rows(texts))
    parts = ["".join(filter(None, texts)).encode(), b"\xff", struct.pack("<4q", 1, 2, 3, 4)]
    expected = hashlib.blake2b(b"".join(map(checksums, parts)), digest_size=16).hexdigest()
    assert await digest.hexdigest() == expected


@pytest.mark.parametrize("cuts", [[], [1], [2, 3], [1, 2, 3, 4]])
async def test_cuts_do_not_matter_and_content_and_positions_do(cuts: list[int]) -> None:
    async def of(texts: Sequence[str | None], first: int = 1, cuts: Sequence[int] = ()) -> str:
        digest, whole, start = Digest(of_rows=True), rows(texts, first), 0
        for stop in (*cuts, len(texts)):
            digest.take_rows(whole.slice(start, stop - start))
            start = stop
        return await digest.hexdigest()

    texts = ["a" * 500_000, "b" * 900_000, None, "c", "d" * 100]
    assert await of(texts, cuts=cuts) == await of(texts)
    assert await of(texts, 2) != await of(texts)
    assert await of([*texts[:3], "C", texts[4]]) != await of(texts)
    assert await of([*texts[:2], "\xff", *texts[3:]]) != await of(texts)
