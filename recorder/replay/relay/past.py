"""What had been recorded before a position: looked for backwards, and no further than needed.

In: a timeline, a position, what is looked for. Out: the newest messages there are of it. Blocking, so it belongs in a
thread; reads in short transactions, as the timeline does, and writes nothing. The look goes back in windows that grow:
what is near is found in milliseconds, what is nowhere costs a bounded time, and in memory is one batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing

import pyarrow.compute as pc
import pyarrow.dataset as ds

from recorder.clock import SECOND_NS
from recorder.journal.database import STORE_FILE
from recorder.journal.store import Store
from recorder.message import Mark, Message, Stream
from recorder.partitions.schema import MESSAGES
from recorder.replay.batch import Batch, messages
from recorder.replay.selection import Selection
from recorder.replay.timeline import Timeline

FIRST_WINDOW = 1024  # positions
WINDOW_GROWTH = 8
POSITIONS_MAX = 200_000  # looked back over: a day or so of all feeds
SILENT_NS = 15 * 60 * SECOND_NS  # a stream that is silent for so much longer than others is not looked for


def windows(before: int) -> Iterator[tuple[int, int]]:
    """First and last position of stretches before a position, the last first, each longer than the one before."""
    floor = max(1, before - POSITIONS_MAX)
    length = FIRST_WINDOW
    while before > floor:
        first = max(floor, before - length)
        yield first, before - 1
        before, length = first, length * WINDOW_GROWTH


def newest(
    timeline: Timeline, before: int, selection: Selection, wanted: Callable[[Message], bool] = lambda _: True
) -> Message | None:
    """The newest wanted message before a position; None where there is none within the limit."""
    for first, last in windows(before):
        found = None
        for batch in _texts(timeline, first, last, selection):
            backwards = reversed(list(messages(batch)))
            found = next((message for message in backwards if wanted(message)), found)
        if found is not None:
            return found
    return None


def latest_of_each(
    timeline: Timeline, before: int, selection: Selection, enough: Callable[[Collection[Message]], bool]
) -> list[Message]:
    """The newest message of each stream before a position, those of odd shape left out: until that is `enough`, or
    nothing can come any more but what is SILENT_NS older than the newest of all."""
    found: dict[Stream, Message] = {}
    for first, last in windows(before):
        here: dict[Stream, Message] = {}
        since_ns = None
        for batch in _texts(timeline, first, last, selection):
            since_ns = since_ns or batch["received_ns"][0].as_py()
            here.update((message.stream, message) for message in messages(batch) if Mark.ODD not in message.mark)
        found = here | found
        if found and (enough(found.values()) or (since_ns and since_ns < max(_times(found)) - SILENT_NS)):
            break
    return list(found.values())


def _texts(timeline: Timeline, first: int, last: int, selection: Selection) -> Iterator[Batch]:
    """What can be sent in a text frame."""
    for batch in timeline.batches(first, selection, until_position=last):
        if (rows := texts(batch)).num_rows:
            yield rows


def texts(rows: Batch) -> Batch:
    """The rows that are UTF-8."""
    return rows if not rows["text"].null_count else rows.filter(pc.is_valid(rows["text"]))


def _times(found: dict[Stream, Message]) -> list[int]:
    return [message.received_ns for message in found.values()]


def streams(timeline: Timeline) -> Iterator[Iterable[Stream]]:
    """The streams of a recording, some after the other: what is sealed, then what is not."""
    data = timeline.data
    if (data / STORE_FILE).exists():
        # One transaction: a seal in between would take what is not sealed yet out of both places.
        with closing(Store.open_readonly(data)) as store, store.transaction():
            yield list(store.standing().streams)
            for group in store.each_group(store.sealed_position()):
                yield group.streams
    elif paths := [str(path) for path in data.glob(f"{MESSAGES}/*/*/*.parquet")]:
        named = ds.dataset(paths).to_table(columns=["feed", "feed_kind", "channel"])
        yield [Stream(**row) for row in named.group_by(named.column_names).aggregate([]).to_pylist()]
