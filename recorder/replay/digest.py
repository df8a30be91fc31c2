"""A fingerprint of all messages and gap marks that one client was sent. Pure.

It does not depend on how they were cut into frames, batches and writes, so the same range with the same options has the
same one, at any speed. All are blake2b with 16 bytes.

json:   of the texts of all messages and gap marks, one after the other.
arrow:  of three such digests one after the other: of the texts of all rows and gap marks; of the values in `bytes`; of
        the positions, 8 bytes little-endian each.
"""

from __future__ import annotations

import hashlib

from recorder.replay.batch import Batch
from recorder.replay.encoding import int64s, values

DIGEST_BYTES = 16


class Digest:
    """One client's, so far."""

    def __init__(self, *, of_rows: bool) -> None:
        self._texts, self._bytes, self._positions = (_blake2b() for _ in range(3))
        self._of_rows = of_rows

    def take(self, texts: bytes | memoryview) -> None:
        """Texts of messages or gap marks, one after the other."""
        self._texts.update(texts)

    def take_rows(self, rows: Batch) -> None:
        self._texts.update(values(rows["text"]))
        self._bytes.update(values(rows["bytes"]))
        self._positions.update(int64s(rows["position"]))

    def hexdigest(self) -> str:
        if not self._of_rows:
            return self._texts.hexdigest()
        whole = _blake2b()
        for part in (self._texts, self._bytes, self._positions):
            whole.update(part.digest())
        return whole.hexdigest()


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)
