"""How long a feed is usually silent at each hour of the week, so that a quiet night is no alarm and a quiet morning is.

In: when data came last, looked at every second or so. Out: whether the present silence is longer than this feed's ever
is at this hour. Pure; kept as JSON beside the journal. Silences that reach over several hours count for each of them.
Until two weeks are known of an hour nothing is called unusual: the protocol's own watchdogs do not need history.
A holiday, where a recorded feed of market hours says so, is as quiet as any hour of the week and teaches nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from recorder.clock import SECOND_NS

HOUR_NS = 3600 * SECOND_NS
HOURS = 168
WEEKS_MAX = 4  # of history: what a feed did last spring says little
WEEKS_MIN = 2
FLOOR_S = 900.0  # shorter silences are never worth waking anyone
MARGIN = 1.5  # how much longer than ever before
HOURS_KIND = "finance_query.hours"
HOLIDAYS = ("Holiday", "Early Close")  # how the reason of its frames begins on days that are not as their weekday is
HOLIDAY_NS = HOUR_NS  # how long a statement holds without another; they come every 5 s


@dataclass(slots=True)
class Rhythm:
    """One channel's. `weeks[h]` are the longest silences seen in hour h of the week, seconds, latest last."""

    weeks: list[list[float]] = field(default_factory=lambda: [[] for _ in range(HOURS)])
    hour: int = -1  # hours since 1970 of the last look
    longest_s: float = 0.0  # in that hour, so far

    def look(self, last_data_ns: int, now_ns: int, *, holiday: bool = False) -> None:
        """Take in how things are. `last_data_ns` 0: no data yet. A time for which nobody looked teaches nothing."""
        hour = now_ns // HOUR_NS
        if hour != self.hour:
            if hour == self.hour + 1 and last_data_ns and not holiday:
                slot = self.weeks[self.hour % HOURS]
                slot.append(round(self.longest_s, 1))
                del slot[:-WEEKS_MAX]
            self.hour, self.longest_s = hour, 0.0
        if last_data_ns:
            self.longest_s = max(self.longest_s, (now_ns - last_data_ns) / SECOND_NS)

    def unusual_s(self, last_data_ns: int, now_ns: int, *, holiday: bool = False) -> float:
        """Seconds of the present silence if it is longer than usual at this hour and the two around it; else 0.

        On a holiday: longer than usual at any hour of the week.
        """
        silence_s = (now_ns - last_data_ns) / SECOND_NS if last_data_ns else 0.0
        hour = now_ns // HOUR_NS
        if len(self.weeks[hour % HOURS]) < WEEKS_MIN:
            return 0.0
        like = range(HOURS) if holiday else (hour - 1, hour, hour + 1)
        usual_s = max(s for h in like for s in (*self.weeks[h % HOURS], 0.0))
        return silence_s if silence_s > max(FLOOR_S, MARGIN * usual_s) else 0.0

    def to_json(self) -> list[list[float]]:
        return self.weeks

    @classmethod
    def from_json(cls, weeks: list[list[float]]) -> Rhythm:
        """Raises ValueError where it is none."""
        if len(weeks) != HOURS:
            raise ValueError(f"a rhythm has {HOURS} hours, this has {len(weeks)}")
        return cls([[float(s) for s in slot[-WEEKS_MAX:]] for slot in weeks])


class Rhythms:
    """Every channel's, by the name `status` shows it under."""

    def __init__(self) -> None:
        self.of: dict[str, Rhythm] = {}
        self._holiday_ns: int | None = None  # UTC; when a market was last said to have one

    def market_hours(self, frame: bytes, now_ns: int) -> None:
        """A frame of a feed of market hours has come; one without their shape says nothing."""
        with suppress(ValueError, TypeError, KeyError, AttributeError):
            self._holiday_ns = now_ns if orjson.loads(frame)["reason"].startswith(HOLIDAYS) else None

    def look(self, name: str, last_data_ns: int, now_ns: int) -> float:
        """Take in how a channel is; seconds of its present silence if that is unusual, else 0."""
        rhythm = self.of.setdefault(name, Rhythm())
        holiday = self._holiday_ns is not None and now_ns - self._holiday_ns < HOLIDAY_NS
        rhythm.look(last_data_ns, now_ns, holiday=holiday)
        return rhythm.unusual_s(last_data_ns, now_ns, holiday=holiday)

    def to_json(self) -> dict[str, list[list[float]]]:
        return {name: rhythm.to_json() for name, rhythm in self.of.items()}

    def take(self, told: object) -> None:
        """Go on from what was known; what cannot be understood is forgotten and learned anew."""
        if isinstance(told, dict):
            for name, weeks in told.items():
                with suppress(ValueError, TypeError):
                    self.of[str(name)] = Rhythm.from_json(weeks)
