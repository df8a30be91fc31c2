"""The journal's one door: groups not sealed yet, beside the part registry, with one point of commit for all.

In: packed groups. Out: the same, in order, and positions. What `append` returned from has survived a power cut; it is
one transaction and one fsync. Every group is checked by its own checksum when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from recorder.errors import GroupDamaged
from recorder.journal.database import PAGE_BYTES
from recorder.journal.group import Group, unpack
from recorder.journal.registry import Registry

LOST = "lost"  # the fact


class Loss(NamedTuple):
    """Positions that were given out and are gone."""

    first_position: int
    last_position: int
    cause: str


class Span(NamedTuple):
    """What a group says of itself in its row: readers that seek need no more of it."""

    first_position: int
    last_position: int
    first_received_ns: int
    last_received_ns: int


class Snapshot(NamedTuple):
    """One moment of the journal: everything up to `sealed_position` is in parts, the rest in `groups`."""

    sealed_position: int
    durable_position: int
    groups: list[Group]


class Store(Registry):
    """Groups and positions. Raises what Database raises."""

    # --- groups ---------------------------------------------------------------------------------------------

    def append(self, packed: bytes, first: int, last: int, first_received_ns: int, last_received_ns: int) -> None:
        """Make one group durable: one transaction, one fsync."""
        self._db.execute(
            "INSERT INTO groups VALUES (?, ?, ?, ?, ?)", (first, last, first_received_ns, last_received_ns, packed)
        )
        self._unchecked_bytes += len(packed) + PAGE_BYTES

    def groups(self, after_position: int, limit_bytes: int) -> list[Group]:
        """Groups with messages behind a position, in order; stops when it has `limit_bytes`. GroupDamaged."""
        return list(self.each_group(after_position, limit_bytes))

    def each_group(self, after_position: int, limit_bytes: int = 1 << 62) -> Iterator[Group]:
        """The same one by one, all of one moment: a transaction is open as long as this is neither done nor closed."""
        found = self._reading().execute(
            "SELECT * FROM groups WHERE last_position > ?1 AND first_position >="
            " (SELECT coalesce(max(first_position), 0) FROM groups WHERE first_position <= ?1 + 1)"
            " ORDER BY first_position",
            (after_position,),
        )
        with closing(found):
            for first, *row, packed in found:
                group = unpack(packed, first)
                if row != [group.last_position, min(group.received_ns), max(group.received_ns)]:
                    raise GroupDamaged(first, "its row and itself do not agree where and when it ends")
                yield group
                limit_bytes -= len(packed)
                if limit_bytes <= 0:
                    return

    def group_from(self, position: int) -> Span | None:
        """Where the first group that reaches `position` begins and ends, without reading it."""
        return self._span(
            "WHERE last_position >= ?1 AND first_position >="
            " (SELECT coalesce(max(first_position), 0) FROM groups WHERE first_position <= ?1)"
            " ORDER BY first_position LIMIT 1",
            (position,),
        )

    def last_group(self) -> Span | None:
        """Where the last group begins and ends."""
        return self._span("ORDER BY first_position DESC LIMIT 1", ())

    def _span(self, wanted: str, values: tuple[object, ...]) -> Span | None:
        # `wanted` is one of the texts above; what varies is bound.
        found = self._reading().execute(
            f"SELECT first_position, last_position, first_received_ns, last_received_ns FROM groups {wanted}",  # noqa: S608
            values,
        )
        with closing(found):
            row = found.fetchone()
        return Span(*row) if row else None

    def forget_sealed(self, limit: int = 50) -> int:
        """Let a few sealed groups go; answers how many went. Call again, between commits, until it says 0."""
        return self._db.execute(
            "DELETE FROM groups WHERE first_position IN (SELECT first_position FROM groups"
            " WHERE first_position <= ?1 AND last_position <= ?1 ORDER BY first_position LIMIT ?2)",
            (self.sealed_position(), limit),
        ).rowcount

    # --- positions ------------------------------------------------------------------------------------------

    def positions(self) -> tuple[int, int]:
        """(first unsealed, durable): what a seal could take now; the second is below the first if nothing."""
        with self.transaction():
            return self.sealed_position() + 1, self.durable_position()

    def durable_position(self) -> int:
        """The highest position ever given out that is not waiting to be committed."""
        newest = self._reading().execute("SELECT last_position FROM groups ORDER BY first_position DESC LIMIT 1")
        with closing(newest):
            last = newest.fetchone()
        return max(last[0] if last else 0, self.sealed_position(), *(loss.last_position for loss in self.losses()), 0)

    def losses(self) -> list[Loss]:
        """Every range that was ever lost, by position: the only holes there may be."""
        return [Loss(*loss) for loss in self.fact(LOST) or ()]

    def snapshot(self, after: int = 0) -> Snapshot:
        """For readers that join parts and the unsealed tail: both as of one moment, the tail behind `after`."""
        with self.transaction():
            sealed = self.sealed_position()
            return Snapshot(sealed, self.durable_position(), list(self.each_group(max(after, sealed))))
