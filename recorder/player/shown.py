"""What a player shows of a replay: made of the frames it is sent, and of the keys that were pressed. Pure.

In: frames, monotonic times. Out: status, moment, speed, figures, the last messages. At full speed hundreds of thousands
of frames come between two pictures, so that a message is kept as it came and looked at only when it is to be seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from recorder.clock import SECOND_NS
from recorder.player import gist
from recorder.player.keys import SEEK_FAR_S, SEEK_S
from recorder.replay.moments import iso, point
from recorder.replay.playhead import MAX
from recorder.replay.wire import Options

MESSAGE = b'{"position"'  # how all messages begin, and nothing else
LINES_MAX = 200
RATE_OVER_NS = 3 * SECOND_NS
NOTICE_NS = 5 * SECOND_NS
AHEAD_NS = 2 * SECOND_NS  # without a state for longer, time is not taken to have gone on
SILENT_NS = 4 * SECOND_NS  # states come each second


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened in the replay."""

    time: str  # 12:00:00.123
    feed: str
    kind: str
    text: str
    position: int = 0  # of a message
    received_ns: int | None = None


@dataclass(slots=True)
class Range:
    """What is to be played, as far as it is known."""

    begin_ns: int | None = None
    end_ns: int | None = None
    begin_position: int | None = None
    end_position: int | None = None
    grows: bool = False  # it is being recorded, and there is no other end

    @classmethod
    def of(cls, options: Options, recorded: Mapping[str, Any] | None, *, running: bool) -> Range:
        """`recorded` as in `/status`."""
        if options.from_.live:
            return cls()
        recorded, to = recorded or {}, options.to
        found = cls(options.from_.ns, None, options.from_.position)
        if options.from_.start:
            found.begin_ns, found.begin_position = recorded.get("first_received_ns"), recorded.get("first_position")
        if to is not None:
            found.end_ns, found.end_position = to.ns, to.position
        else:
            found.end_ns, found.grows = recorded.get("last_received_ns"), running
        return found


class Shown:
    """The replay as it is known here."""

    def __init__(self, begin: str, range_: Range, now_ns: int) -> None:
        self.begin = begin
        self.range = range_
        self.state: dict[str, Any] = {}
        self.end: dict[str, Any] | None = None
        self.paused = False
        self.speed = 1.0
        self.messages = 0
        self.feed_width = 6  # of the longest name so far
        self._lines: deque[bytes | Line] = deque(maxlen=LINES_MAX)
        self._fresh = False  # a message has come since the last state
        self._moment_ns: int | None = None
        self._told_ns = self._heard_ns = now_ns
        self._counts: deque[tuple[int, int]] = deque([(now_ns, 0)])
        self._notice, self._notice_ns = "", now_ns
        self._asked = 0  # operations so far; the number of the last one is its request_id
        self._awaited: int | None = None

    # --- what comes -----------------------------------------------------------------------------------------------

    def take(self, frame: bytes, now_ns: int) -> None:
        self._heard_ns = now_ns
        if frame.startswith(MESSAGE):
            self.messages += 1
            self._lines.append(frame)
            self._fresh = True
            return
        told = orjson.loads(frame)
        if "state" in told:
            self._take_state(told["state"], now_ns)
        elif "gap" in told:
            gap = told["gap"]
            time = str(gap.get("until") or gap.get("since") or "")[11:23]
            self._lines.append(Line(time, gap["feed"], "gap", gist.of_gap(gap)))
        elif "error" in told:
            self.notice(gist.printable(str(told["error"].get("message"))), now_ns)
            if told["error"].get("request_id") == self._awaited:
                self._awaited = None
                self._settle()
        elif "end" in told:
            self.end = told["end"]

    def _take_state(self, state: dict[str, Any], now_ns: int) -> None:
        self.state = state
        self._told_ns, self._fresh = now_ns, False
        self._moment_ns = point("moment", state["moment"]).ns if state["moment"] else None
        if self.range.begin_ns is None:
            self.range.begin_ns = self._moment_ns
        if self.range.begin_position is None and state["position"]:
            self.range.begin_position = state["position"]
        if self._awaited is None or state.get("request_id") == self._awaited:
            self._awaited = None
            self._settle()

    def _settle(self) -> None:
        """From here on what the server says counts, and not what the keys have asked for."""
        speed = self.state.get("speed", self.speed)
        self.speed = MAX if speed == "max" else float(speed)
        self.paused = self.state.get("status") == "paused"

    # --- what is asked --------------------------------------------------------------------------------------------

    def asking(self, operation: dict[str, Any]) -> str:
        """An operation as it is sent. What it will lead to is shown at once, so that the next key builds on it."""
        self._asked += 1
        self._awaited = self._asked
        op = operation["op"]
        if op in ("pause", "resume", "step"):
            self.paused = op != "resume"
        elif op == "speed":
            self.speed = MAX if operation["speed"] == "max" else operation["speed"]
        return orjson.dumps({**operation, "request_id": self._asked}).decode()

    def notice(self, text: str, now_ns: int) -> None:
        """A sentence to be seen for a while."""
        self._notice, self._notice_ns = text, now_ns + NOTICE_NS

    def again(self, key: str) -> str | None:
        """Where a key wants to go when all has ended."""
        if key in ("0", "space"):
            return self.begin
        if key in ("left", "shift-left") and self._moment_ns is not None:
            back_s = SEEK_S if key == "left" else SEEK_FAR_S
            return iso(max(0, self._moment_ns - back_s * SECOND_NS))
        return None

    # --- what is to be seen ---------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        told: str = self.state.get("status", "connecting")
        if self.paused and told in ("playing", "live", "buffering"):
            return "paused"
        if told == "buffering" and self.speed == MAX:  # it waits for us, which is what max means
            return "playing"
        return "playing" if told == "paused" and not self.paused else told

    def said(self, now_ns: int) -> str:
        """What a person should read now, if anything."""
        if now_ns < self._notice_ns:
            return self._notice
        if self.end is not None:
            return f"{gist.printable(self.end['cause'])} · 0 again  ← {SEEK_S} s back  q quit"
        silent_ns = now_ns - self._heard_ns
        return f"nothing was heard from the server for {silent_ns // SECOND_NS} s" if silent_ns > SILENT_NS else ""

    def lines(self, count: int) -> list[Line]:
        """The last so many, the newest last."""
        first = max(0, len(self._lines) - count)
        for at in range(first, len(self._lines)):
            if isinstance(raw := self._lines[at], bytes):
                self._lines[at] = line = line_of(raw)
                self.feed_width = max(self.feed_width, len(line.feed))
        return [each for each in list(self._lines)[first:] if isinstance(each, Line)]

    @property
    def position(self) -> int:
        """Of the last message; as the server tells it where none was wanted for a while."""
        told: int = self.state.get("position", 0)
        newest = self._newest()
        return newest.position if newest else told

    def moment_ns(self, now_ns: int) -> int | None:
        """The recorded moment: as told, and gone on since."""
        moment_ns = self._moment_ns
        if moment_ns is not None and self.status in ("playing", "live") and self.speed != MAX:
            speed = min(1.0, self.speed) if self.status == "live" else self.speed
            moment_ns += int(min(now_ns - self._told_ns, AHEAD_NS) * speed)
        newest = self._newest()
        return max(newest.received_ns or 0, moment_ns or 0) if newest else moment_ns

    def rate(self, now_ns: int) -> float:
        """Messages a second, of late."""
        self._counts.append((now_ns, self.messages))
        while len(self._counts) > 2 and now_ns - self._counts[1][0] >= RATE_OVER_NS:
            self._counts.popleft()
        since_ns, before = self._counts[0]
        return (self.messages - before) * SECOND_NS / max(1, now_ns - since_ns)

    def share(self, now_ns: int, utc_ns: int) -> float | None:
        """How much of the range is played, 0 to 1; None where its ends are not known."""
        of = self.range
        moment_ns = self.moment_ns(now_ns)
        end_ns = utc_ns if of.grows else of.end_ns
        if end_ns is not None and of.begin_ns is not None and moment_ns is not None:
            return _share(of.begin_ns, moment_ns, end_ns)
        if of.end_position is not None and of.begin_position is not None:
            return _share(of.begin_position, self.position, of.end_position - 1)
        return None

    def _newest(self) -> Line | None:
        """The last message, if none but it says where the replay is."""
        if not self._fresh:
            return None
        return next((line for line in reversed(self.lines(3)) if line.received_ns is not None), None)


def line_of(raw: bytes) -> Line:
    """Of a message frame."""
    told = orjson.loads(raw)
    kind = told["kind"] if told["mark"] is None else f"{told['kind']} {told['mark']}"
    feed = f"{told['feed']}/{told['channel']}" if told["channel"] else told["feed"]
    received_ns = point("received_at", told["received_at"]).ns
    return Line(told["received_at"][11:23], feed, kind, gist.gist(told), told["position"], received_ns)


def _share(begin: int, here: int, end: int) -> float:
    return min(1.0, max(0.0, (here - begin) / (end - begin))) if end > begin else 1.0
