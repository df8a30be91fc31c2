"""What a server published, when, and on which connections it was written: the other side of a recording.

In: every message as it is handed to the sockets, every connection as it opens and ends. Out: entries for a checker,
in memory or as NDJSON. Kept in memory up to `entries_max`; a process that dies takes its ledger with it. Handed to a
socket is not yet received: what was written shortly before a cut may be lost on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from recorder.errors import RecorderError
from recorder.replay.upstreams.imitation import Send

ENTRIES_MAX = 1_000_000  # about 300 bytes each


class LedgerFull(RecorderError):
    """The ledger has reached its limit; nothing more is sent, since nobody could check it."""

    def __init__(self, entries_max: int) -> None:
        self.entries_max = entries_max
        super().__init__(
            f"the ledger holds its {entries_max} entries. Run for less time, or give it a higher entries_max."
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One published message. `to` are the connections it was written to; empty: published for nobody."""

    sequence: int
    utc_ns: int
    upstream: str
    channel: str
    role: str
    digest: str
    length: int  # bytes
    to: tuple[int, ...]


@dataclass(slots=True)
class Connection:
    """One accepted connection. `closed_ns` 0: still open. `code` 1006: no close frame was seen from either side."""

    number: int
    upstream: str
    path: str
    opened_ns: int
    closed_ns: int = 0
    code: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Knock:
    """One handshake and how it was answered; status 0: not at all."""

    utc_ns: int
    upstream: str
    path: str
    status: int


def digest(payload: bytes) -> str:
    """What identifies a message's bytes here: 128 bits of BLAKE2b, as hex."""
    return hashlib.blake2b(payload, digest_size=16).hexdigest()


class Ledger:
    """Entries in order of publication, connections in order of opening, handshakes in order of arrival."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.entries_max = entries_max
        self.entries: list[Entry] = []
        self.connections: dict[int, Connection] = {}
        self.knocks: list[Knock] = []
        self.overflowed = False  # something was published that is not in here

    def published(self, utc_ns: int, upstream: str, send: Send, to: Sequence[int]) -> None:
        """A message went out, written to these connections. Raises LedgerFull."""
        self._limit()
        sequence, payload = len(self.entries), send.payload
        entry = Entry(sequence, utc_ns, upstream, send.channel, send.role, digest(payload), len(payload), tuple(to))
        self.entries.append(entry)

    def knocked(self, utc_ns: int, upstream: str, path: str, status: int) -> None:
        """A handshake was answered. Raises LedgerFull."""
        self._limit()
        self.knocks.append(Knock(utc_ns, upstream, path, status))

    def _limit(self) -> None:
        if len(self.entries) + len(self.knocks) >= self.entries_max:
            self.overflowed = True
            raise LedgerFull(self.entries_max)

    def write(self, path: Path) -> None:
        """All of it as NDJSON: one object a line, `of` says what it is."""
        with path.open("wb") as file:
            for of, rows in (
                ("knock", self.knocks),
                ("connection", self.connections.values()),
                ("entry", self.entries),
            ):
                for row in rows:
                    file.write(b'{"of":"%b",%b\n' % (of.encode(), orjson.dumps(row)[1:]))

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """What `write` wrote."""
        ledger = cls()
        with path.open("rb") as file:
            for line in file:
                row = orjson.loads(line)
                of = row.pop("of")
                if of == "knock":
                    ledger.knocks.append(Knock(**row))
                elif of == "connection":
                    ledger.connections[row["number"]] = Connection(**row)
                else:
                    ledger.entries.append(Entry(**{**row, "to": tuple(row["to"])}))
        return ledger
