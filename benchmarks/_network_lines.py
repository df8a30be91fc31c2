"""What one fault came to: a line of the table in docs/faults.md. Pure but for reading the recording.

In: when a fault began and ended, what was sent, what was recorded. Out: lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import orjson
from _network import Fault, Place

from recorder.clock import MS_NS, SECOND_NS, Moment
from recorder.demo import evidence
from recorder.demo.check import Span, Verdict, check
from recorder.demo.upstreams import Upstreams
from recorder.partitions.catalog import connect
from recorder.replay.upstreams.ledger import digest

NEWS_SILENCE_S = 20.0  # without an article, where a connection is mute; the default of an hour is for quiet nights
DIAL_NS = SECOND_NS // 2  # a dial that comes later is not the first one
EVENTS = """
SELECT monotonic_ns, text FROM messages
WHERE feed = ? AND kind = 'lifecycle' AND monotonic_ns >= ? ORDER BY position
"""
ARRIVALS = "SELECT epoch_ns(received_at), text FROM messages WHERE feed = ? AND kind = 'data'"
NOTICES = ("gap.opened", "rotation.started")
SILENCE_S = {"news": 60.0, "quotes": 30.0}  # the defaults: pong_timeout_s, silence_s


@dataclass(slots=True)
class Course:
    """One fault at one place, and when it began and ended."""

    fault: Fault
    place: Place
    sent: Upstreams
    begun: Moment | None = None
    mended: Moment | None = None
    well: Moment | None = None

    @property
    def kind(self) -> str:
        return self.place.feed.partition("-")[0]

    @property
    def threshold_s(self) -> float:
        """So long a silence is none yet."""
        return NEWS_SILENCE_S if self.place.feed == "news-mute" else SILENCE_S[self.kind]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. None: it did not happen, and should not."""

    fault: str
    feed: str
    noticed_s: float | None  # from the fault to the entry that tells of it
    cause: str
    noted_ms: float | None  # from the entry that the connection ended to the entry that the next was dialled
    dialled_ms: float | None  # from the fault to the next SYN at the proxy, where the kernel tells of the fault
    vain: int  # dials that led to nothing
    receiving_s: float | None  # from the end of the fault to proof of life
    late_s: float  # from sent to received, the longest
    sent: int
    lost_in_gaps: int
    lost: int
    doubled: int


def lines(courses: list[Course], data: Path, end_ns: int) -> Iterator[Line]:
    with connect(data) as connection:
        rows, gaps = list(evidence.rows(connection)), evidence.gaps(connection)
        for course in courses:
            assert course.begun
            channel = (course.place.feed, "")
            path = ("finlight", "/") if course.kind == "news" else ("finance_query", "/quotes")
            verdict = check(
                course.sent.ledger,
                {path: channel},
                [row for row in rows if row.channel == channel],
                [gap for gap in gaps if gap.channel == channel],
                Span(course.begun.utc_ns - SECOND_NS, end_ns),
            )[channel]
            yield _line(course, verdict, connection)


def _line(course: Course, verdict: Verdict, connection: duckdb.DuckDBPyConnection) -> Line:
    assert course.begun and course.mended and course.well
    begun_ns, mended_ns, well_ns = (each.monotonic_ns for each in (course.begun, course.mended, course.well))
    found = connection.execute(EVENTS, [course.place.feed, begun_ns]).fetchall()
    events: list[dict[str, Any]] = [{"ns": ns, **orjson.loads(text)} for ns, text in found]

    def first(*names: str, since_ns: int = 0) -> dict[str, Any] | None:
        return next((e for e in events if e["event"] in names and e["ns"] >= since_ns), None)

    noticed = None if course.fault.harmless else first(*NOTICES)
    ended = first("connection.closed")
    dialled = ended and first("connection.dialled", since_ns=ended["ns"])
    proven = first("gap.closed", since_ns=mended_ns)
    syn_ns = next((ns for ns in course.place.proxy.taken_ns if ns > begun_ns), None)
    told_at_once = not (course.fault.silent or course.fault.harmless)
    vain = sum(e["event"] in ("connection.failed", "connection.refused") and e["ns"] < well_ns for e in events)
    return Line(
        fault=course.fault.words,
        feed=course.kind,
        noticed_s=(noticed["ns"] - begun_ns) / SECOND_NS if noticed else None,
        cause=noticed["cause"] if noticed else "",
        noted_ms=(dialled["ns"] - ended["ns"]) / MS_NS if ended and dialled and told_at_once else None,
        dialled_ms=(syn_ns - begun_ns) / MS_NS if syn_ns and told_at_once and syn_ns < mended_ns + DIAL_NS else None,
        vain=vain,
        receiving_s=(proven["ns"] - mended_ns) / SECOND_NS if proven else None,
        late_s=_late_s(course, connection),
        sent=verdict.sent,
        lost_in_gaps=verdict.lost_in_gaps,
        lost=verdict.lost,
        doubled=verdict.duplicated + verdict.altered,
    )


def _late_s(course: Course, connection: duckdb.DuckDBPyConnection) -> float:
    """What a connection brought is as old as its youngest sending that can be meant."""
    assert course.begun
    sent_ns: dict[str, list[int]] = defaultdict(list)
    for entry in course.sent.ledger.entries:
        sent_ns[entry.digest].append(entry.utc_ns)
    late_ns = [
        min((received_ns - each for each in sent_ns[digest(text.encode())] if each <= received_ns), default=0)
        for received_ns, text in connection.execute(ARRIVALS, [course.place.feed]).fetchall()
        if received_ns >= course.begun.utc_ns
    ]
    return max(late_ns, default=0) / SECOND_NS


HEAD = (
    "fault",
    "feed",
    "noticed",
    "`gaps` says",
    "next dial",
    "in vain",
    "receiving again",
    "late",
    "lost in gaps",
    "outside",
)


def as_markdown(found: list[Line]) -> str:
    """The table as it stands in docs/faults.md."""
    rows = [
        (
            line.fault,
            line.feed,
            _seconds(line.noticed_s),
            line.cause,
            "" if line.dialled_ms is None else f"{line.dialled_ms:.1f} ms",
            str(line.vain or ""),
            _seconds(line.receiving_s),
            _seconds(line.late_s),
            f"{line.lost_in_gaps} of {line.sent}",
            str(line.lost),
        )
        for line in found
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ["---"] * len(HEAD), *rows))


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
