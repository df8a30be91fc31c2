"""What is kept, and what is let go. Pure.

In: the part registry, the time, the settings. Out: which parts go altogether, the oldest first, and which are written
anew without the feeds whose own time is over. Only what compaction has made goes: hot parts of hours that are not done
with are never touched, however full it gets. `lifecycle` stays for ever, and its entries in what is written anew: it is
small, and without it a gap that is still open would be seen by nobody. Doing it is upkeep.py's job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from recorder.clock import SECOND_NS
from recorder.journal.registry import Part
from recorder.message import Kind
from recorder.partitions import layout
from recorder.partitions.compact import Output, Work
from recorder.partitions.schema import FEED, MESSAGES
from recorder.partitions.tables import LIFECYCLE

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class LetGo:
    """Everything up to a position, or a feed's messages up to there. Of a feed, `parts` are to be written anew."""

    feed: str | None
    first_position: int
    last_position: int
    until_ns: int  # when the last of it was received, UTC
    parts: tuple[Part, ...]

    @property
    def byte_count(self) -> int:
        """Of the whole parts, also where only a feed goes."""
        return sum(part.byte_count for part in self.parts)

    @property
    def fields(self) -> dict[str, object]:
        """What the recording says of it: the fields of its lifecycle entry."""
        span: dict[str, object] = {"first_position": self.first_position, "last_position": self.last_position}
        return ({} if self.feed is None else {"feed": self.feed}) | span | {"bytes": self.byte_count}


def plan(
    parts: Sequence[Part],
    now_ns: int,
    days: float,
    bytes_max: int,
    feeds: Mapping[str, float],
    gone: Mapping[str, int],
    hot_since: str | None,
) -> list[LetGo]:
    """What goes now. `days`, `bytes_max`: 0 for no limit. `feeds`: days by feed. `gone`: by feed, up to where it is."""
    settled = [part for part in parts if not layout.is_hot(part.path) or (_hour(part) < (hot_since or ""))]
    messages = sorted((part for part in settled if part.table_name == MESSAGES), key=lambda part: part.first_position)
    found = []
    left = list(settled)
    whole = _aged(messages, now_ns, days)
    if bytes_max:
        total = sum(part.byte_count for part in parts)
        while whole < len(messages) and total - sum(p.byte_count for p in _up_to(settled, messages, whole)) > bytes_max:
            whole += 1
    if going := _up_to(settled, messages, whole):
        found.append(_let_go(None, going, messages[whole - 1]))
        left = [part for part in settled if part not in set(going)]
    for feed, feed_days in sorted(feeds.items()):
        count = _aged(messages, now_ns, feed_days)
        old = _up_to(left, messages, count)
        thinned = [p for p in old if p.last_position > gone.get(feed, 0) and not layout.is_hot(p.path)]
        if thinned:
            found.append(_let_go(feed, thinned, messages[count - 1]))
    return found


def thinning(part: Part) -> Work:
    """The piece of work that writes a part anew, under a name that it never had."""
    path = layout.anew(part.path, {part.path})
    return Work(f"thinning {part.path}", (Output(part.table_name, path, (part,)),))


def without(rows: pa.Table, feed: str) -> pa.Table:
    """What is left of a table's rows when a feed's are gone. Of `messages`, the recorder's entries about it stay."""
    stays = pc.not_equal(rows[FEED.name], feed)
    if "kind" in rows.column_names:
        stays = pc.or_(stays, pc.equal(rows["kind"], Kind.LIFECYCLE.word))
    return rows.filter(stays)


def _hour(part: Part) -> str:
    return layout.hour_in(part.path) or ""


def _aged(messages: Sequence[Part], now_ns: int, days: float) -> int:
    """How many of the first parts are older than so many days."""
    if not days:
        return 0
    limit_ns = now_ns - int(days * DAY_S) * SECOND_NS
    return next((at for at, part in enumerate(messages) if _until_ns(part) >= limit_ns), len(messages))


def _until_ns(part: Part) -> int:
    """When its last message was received, or the end of its day where the registry was made again from names."""
    if part.last_received_ns:
        return part.last_received_ns
    date = next(f.removeprefix("date=") for f in part.path.split("/") if f.startswith("date="))
    end = datetime.fromisoformat(date).replace(tzinfo=UTC) + timedelta(days=1)
    return int(end.timestamp()) * SECOND_NS


def _up_to(parts: Sequence[Part], messages: Sequence[Part], count: int) -> list[Part]:
    """The parts of all tables that hold nothing behind the first `count` of `messages`."""
    reach = messages[count - 1].last_position if count else 0
    return [part for part in parts if part.last_position <= reach and part.table_name != LIFECYCLE.name]


def _let_go(feed: str | None, parts: Sequence[Part], last: Part) -> LetGo:
    first_position = min(part.first_position for part in parts)
    return LetGo(feed, first_position, last.last_position, _until_ns(last), tuple(parts))
