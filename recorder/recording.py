"""A recording in process, for notebooks and backtests that need no server.

In: a data directory, recorded to at this moment or not, writable or not. Out: its messages in order, as objects, as
Arrow batches or paced in time, and SQL over its tables. Everything durable is seen, sealed or not. Only reads, so
nothing done here can hurt the recording.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from recorder.clock import SECOND_NS, Clock
from recorder.errors import RequestInvalid
from recorder.message import Kind, Message
from recorder.partitions import catalog
from recorder.partitions.numbers import moment_ns
from recorder.replay.batch import Batch, messages
from recorder.replay.playhead import MAX, Playhead
from recorder.replay.timeline import Bounds, Selection, Timeline

if TYPE_CHECKING:
    import duckdb

When = datetime | date | str | int
Names = str | Iterable[str] | None

MOMENTS = (
    "a datetime or an ISO 8601 text (UTC where they name no zone), a date (its midnight) or nanoseconds since 1970"
)
EARLIEST_NS = 10**17  # 1973: a smaller number is in seconds, milliseconds or microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Recording:
    """What `recorder.open` gives. Also a context manager.

    The parameters that several methods share:

    `from_`, `to`   Receive times: from `from_` on, up to and without `to`; None: from the first message, up to what is
                    durable when the method is called. A datetime or an ISO 8601 text (UTC where they name no zone; a
                    text may have nine digits of a second), a date (its midnight UTC), or an int, ns since 1970 UTC.
    `feeds`         Names of feeds as in config.toml; one, several, or None for all.
    `kinds`         "data", "reply", "lifecycle"; one, several, or None for all.
    `symbols`       Messages about any of these symbols: a profile's channel, a row of a quotes frame (the frame comes
                    whole), a company of an article. Upper and lower case are the same.

    Raises RequestInvalid, which names the parameter, what was given and what is possible; Damaged where something on
    disk is not what was written, instead of leaving it out.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """`path` is a data directory. Raises RecorderError where nothing is recorded."""
        self.path = Path(path).absolute()  # a notebook may change its directory
        self._timeline = Timeline(self.path)
        self._timeline.bounds()
        self._db: duckdb.DuckDBPyConnection | None = None
        self._db_position = 0

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Recording {self.path}>"

    def close(self) -> None:
        """Let the connection of `sql` go. Relations made by it are of no use any more."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def bounds(self) -> Bounds | None:
        """First and last position, and receive time in ns UTC, as of now; None before the first message."""
        return self._timeline.bounds()

    @property
    def feeds(self) -> list[str]:
        """Names of the feeds that have messages, the recorder's own (`recorder`) among them."""
        return sorted(self._timeline.feeds())

    def messages(
        self,
        from_: When | None = None,
        to: When | None = None,
        feeds: Names = None,
        kinds: Names = ("data",),
        symbols: Names = None,
    ) -> Iterator[Message]:
        """Messages in order of position, each once, as objects. See the class for the parameters.

        `message.payload` are the bytes of the frame, `message.text` the same as str, `message.received_ns` is UTC.
        """
        return chain.from_iterable(map(messages, self.batches(from_, to, feeds, kinds, symbols)))

    def batches(
        self,
        from_: When | None = None,
        to: When | None = None,
        feeds: Names = None,
        kinds: Names = ("data",),
        symbols: Names = None,
    ) -> Iterator[Batch]:
        """The same messages as `pyarrow.RecordBatch`es, none empty, of at most 65,536 rows and about 4 MiB.

        Columns: position, received_ns (UTC), monotonic_ns, connection: int64; feed, feed_kind, channel, kind, mark
        (NULL for none): string; text: string, or bytes: binary where the frame is not UTF-8; the other one is NULL.
        """
        selection = Selection(
            self._known_feeds(feeds), None, _kinds(kinds), _names("symbols", symbols)
        )  # before the range, so that what is wrong is said now and not at the first batch
        first, last = self._positions(from_, to)
        return self._timeline.batches(first, selection, until_position=last)

    def replay(
        self,
        from_: When | None = None,
        to: When | None = None,
        feeds: Names = None,
        kinds: Names = ("data",),
        symbols: Names = None,
        *,
        speed: float | Literal["max"] = "max",
    ) -> Iterator[Message]:
        """The same messages as `messages`, each when it is due: the first at once, the others as far apart as they
        were received, divided by `speed` (0.01 to 1,000,000; 60: an hour a minute; "max": no pause at all).

        Sleeps between messages. Due times are counted from the first message, so a slow reader's delay is made up for
        and nothing drifts; no message is left out for being late.
        """
        wanted = self.messages(from_, to, feeds, kinds, symbols)
        try:
            head = Playhead(0, MAX if speed == "max" else float(speed), 0)
        except (ValueError, TypeError):
            raise RequestInvalid("speed", speed, 'possible are 0.01 to 1000000, or "max"') from None
        return wanted if head.speed == MAX else _paced(wanted, head.speed, Clock().monotonic_ns)

    def sql(self, statement: str, params: object = None) -> duckdb.DuckDBPyRelation:
        """A relation (`.fetchall()`, `.to_arrow_table()`, `.df()`, …) over the tables and views of `recorder sql`.

        `params`: values for `?` (a list) or `$name` (a dict). Sees everything durable now; relations can be used with
        each other as long as nothing has come between them. Raises duckdb.Error where the statement is wrong.
        """
        span = self.bounds
        position = span.last_position if span else 0
        if self._db is None or position != self._db_position:
            # The connection of before is not closed: relations made by it hold it, and may be in use.
            self._db, self._db_position = catalog.connect(self.path), position
            self._db.execute("SET python_enable_replacements = false")  # a name in SQL is not a variable in here
        return self._db.sql(statement, params=params)

    def _positions(self, from_: When | None, to: When | None) -> tuple[int, int | None]:
        """The first and the last position of a range of time; the second below the first where it is empty."""
        span = self.bounds
        recorded = f"recorded is {span}" if span else "nothing is recorded yet"
        since_ns, until_ns = _ns("from_", from_, recorded), _ns("to", to, recorded)
        if span is None:
            return 1, 0
        if since_ns is not None and since_ns > span.last_received_ns:
            raise RequestInvalid("from_", from_, recorded)
        if until_ns is not None and until_ns <= max(span.first_received_ns, since_ns or 0):
            raise RequestInvalid("to", to, f"it is not included and has to be later than from_; {recorded}")
        first = span.first_position if since_ns is None else self._timeline.position_at(since_ns)
        last = span.last_position if until_ns is None else self._timeline.position_at(until_ns) - 1
        return first, min(last, span.last_position)

    def _known_feeds(self, feeds: Names) -> frozenset[str] | None:
        asked = _names("feeds", feeds)
        if asked and not asked <= (known := self._timeline.feeds(asked)):
            unknown = ", ".join(sorted(asked - known))
            raise RequestInvalid("feeds", unknown, f"recorded are {', '.join(sorted(known)) or 'none yet'}")
        return asked


def _paced(wanted: Iterator[Message], speed: float, monotonic_ns: Callable[[], int]) -> Iterator[Message]:
    head: Playhead | None = None
    for message in wanted:
        now_ns = monotonic_ns()
        if head is None:
            head = Playhead(message.received_ns, speed, now_ns)
        if (wait_ns := head.due_ns(message.received_ns) - now_ns) > 0:
            time.sleep(wait_ns / SECOND_NS)
        yield message


def _ns(parameter: str, given: When | None, recorded: str) -> int | None:
    """A moment as nanoseconds since 1970 UTC. Raises RequestInvalid."""
    ns: int | None = None
    if given is None:
        return None
    if isinstance(given, datetime):
        aware = given if given.tzinfo is not None else given.replace(tzinfo=UTC)
        ns = (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    elif isinstance(given, date):
        ns = moment_ns(given.isoformat())
    elif isinstance(given, str):
        ns = moment_ns(given.strip())
    elif isinstance(given, int) and not isinstance(given, bool) and (given >= EARLIEST_NS or given == 0):
        ns = given
    if ns is None:
        raise RequestInvalid(parameter, given, f"possible is {MOMENTS}; {recorded}")
    return ns


def _names(parameter: str, given: Names) -> frozenset[str] | None:
    """Names given one or many; None for all. Raises RequestInvalid."""
    if given is None:
        return None
    names: list[Any] = [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) and name and _is_text(name) for name in names):
        raise RequestInvalid(parameter, given, "possible is a name, several names, or None for all")
    return frozenset(names)


def _is_text(name: str) -> bool:
    """Whether UTF-8 can say it; Python's str can also hold halves of characters."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def _kinds(given: Names) -> frozenset[Kind]:
    asked = _names("kinds", given) or frozenset()
    words = {kind.word: kind for kind in Kind}
    if unknown := asked - set(words):
        raise RequestInvalid("kinds", ", ".join(sorted(unknown)), f"possible are {', '.join(words)}")
    return frozenset(words[word] for word in asked)
