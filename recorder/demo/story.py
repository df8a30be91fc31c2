"""What happened, one sentence an event: faults as they are ordered, and what the recorder notes of itself.

In: sentences, and the recorder's log records. Out: lines with seconds since the start, oldest first. What happens to
several feeds within half a second is one line. Nothing reaches the terminal from here. The last `LINES_MAX` are kept.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from recorder.clock import SECOND_NS, Clock

LINES_MAX = 1000
TOGETHER_S = 0.5
LOOK_BACK = 8  # lines, for one that says the same
DETAIL_CHARACTERS_MAX = 90


@dataclass(slots=True)
class Line:
    at_s: float
    text: str
    whom: list[str] = field(default_factory=list)
    is_fault: bool = False
    was_shown: bool = False

    def __str__(self) -> str:
        whom = f": {', '.join(self.whom)}" if self.whom else ""
        return f"{self.at_s:5.1f} s  {'✗' if self.is_fault else ' '} {self.text}{whom}"


class Story(logging.Handler):
    """A log handler that keeps what a person wants to know."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.lines: deque[Line] = deque(maxlen=LINES_MAX)
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Seconds count from here."""
        self._began_ns = self._clock.now().monotonic_ns

    @property
    def seconds(self) -> float:
        return (self._clock.now().monotonic_ns - self._began_ns) / SECOND_NS

    def add(self, text: str, whom: str = "", *, is_fault: bool = False) -> None:
        at_s = self.seconds
        for line in islice(reversed(self.lines), LOOK_BACK):
            if whom and line.text == text and at_s - line.at_s < TOGETHER_S and not line.was_shown:
                line.whom.append(whom)
                return
        self.lines.append(Line(at_s, text, [whom] if whom else [], is_fault))

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None)
        if fields is None:
            if record.levelno >= logging.WARNING:
                self.add(f"{record.name}: {record.getMessage()}")
        elif (told := sentence(record.getMessage(), fields)) is not None:
            self.add(*told)


def sentence(event: str, fields: dict[str, Any]) -> tuple[str, str] | None:
    """What an entry of the recorder means, and for whom; None for what needs no telling."""
    who = "/".join(filter(None, (fields.get("feed"), fields.get("channel"))))
    cause = str(fields.get("cause", ""))[:DETAIL_CHARACTERS_MAX]
    match event:
        case "gap.closed" if cause != "start":
            seconds = (fields["until_ns"] - fields["since_ns"]) / SECOND_NS
            return f"gap on record, {cause}", f"{who} {seconds:.2f} s"
        case "gap.repaired" if fields.get("recovered"):
            return "fetched over REST what was missed in a gap", f"{who} {fields['recovered']} articles"
        case "rotation.done":
            return "rotated, new before old", f"{who} ({_proof(fields)})"
        case "rotation.failed":
            return f"a rotation has to be tried again, {cause}", who
        case "connection.refused":
            return f"{cause}, dialling again", f"{who} in {fields.get('retry_s', 0.0):.2f} s"
        case "connection.failed":
            return str(fields.get("error", ""))[:DETAIL_CHARACTERS_MAX], who
        case "feed.odd":
            return "kept a frame of no known shape as it came", who
        case _ if event.startswith(("feed.", "journal.", "clock.", "job.")):
            detail = fields.get("detail") or cause or ", ".join(f"{key} {value}" for key, value in fields.items())
            return f"{event}: {detail}"[:DETAIL_CHARACTERS_MAX], who
    return None


def _proof(fields: dict[str, Any]) -> str:
    alone = [f"{fields[key]} {words}" for key, words in _ALONE.items() if fields.get(key)]
    seen = {"overlap": f"{fields.get('both', 0)} seen on both", "data": "the new one delivers"}
    return ", ".join([seen.get(fields.get("proof", ""), "the new one is admitted"), *alone])


_ALONE = {"only_old": "only on the old one", "only_new": "only on the new one", "variants": "in two versions"}
