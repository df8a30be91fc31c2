"""Keys: from a terminal's bytes to names, and from names to what they ask of the replay. Pure.

In: bytes as a terminal in cbreak mode gives them, cut anywhere. Out: names of keys; operations of the native protocol.
Escape sequences that mean nothing here are passed over as a whole, so that no letter in them is taken for a key.
"""

from __future__ import annotations

import re
from typing import Any

from recorder.replay.playhead import MAX

SPEEDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 100.0, 300.0, 1000.0, MAX)
SEEK_S, SEEK_FAR_S = 10, 300
PENDING_BYTES_MAX = 16  # no sequence is longer: what is, is none

HELP = (
    ("space", "pause, go on"),
    ("+  -", "faster, slower: 0.25 to 1000, then max; also up and down"),
    ("left  right", f"{SEEK_S} s back, ahead; with shift {SEEK_FAR_S // 60} min"),
    ("n", "the next message, and stand still; also ."),
    ("0", "to where it began"),
    ("?", "this help"),
    ("q", "quit"),
)

_KEY = re.compile(rb"\x1b\[[0-9;?]*[@-~]|\x1bO[@-~]|\x1b?[^\x1b]", re.DOTALL)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-9;?]*|O)?")
_ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}
_NAMES: dict[bytes, str] = {
    **{f"\x1b{kind}{end}".encode(): name for end, name in _ARROWS.items() for kind in "[O"},
    **{f"\x1b[1;2{end}".encode(): f"shift-{name}" for end, name in _ARROWS.items()},
    **{f"\x1b[{end.lower()}".encode(): f"shift-{name}" for end, name in _ARROWS.items()},  # rxvt
    b" ": "space",
}


class Keys:
    """Names of the keys in what was typed; a sequence that is not complete waits for its rest."""

    def __init__(self) -> None:
        self._pending = b""

    def typed(self, data: bytes) -> list[str]:
        data, self._pending = self._pending + data, b""
        names, at = [], 0
        while at < len(data):
            unfinished = _UNFINISHED.fullmatch(data, at)
            found = None if unfinished else _KEY.match(data, at)
            if found is None:
                if unfinished and len(data) - at <= PENDING_BYTES_MAX:
                    self._pending = data[at:]
                    break
                at += 1
                continue
            at = found.end()
            name = _NAMES.get(found[0]) or (found[0].decode("ascii", "ignore") if len(found[0]) == 1 else "")
            if name:
                names.append(name)
        return names


def operation(key: str, *, paused: bool, speed: float, begin: str) -> dict[str, Any] | None:
    """What a key asks of the replay as it is shown; None where it asks nothing. `begin`: where it began."""
    match key:
        case "space":
            return {"op": "resume" if paused else "pause"}
        case "+" | "=" | "up":
            faster = next((each for each in SPEEDS if each > speed), MAX)
            return {"op": "speed", "speed": "max" if faster == MAX else faster}
        case "-" | "_" | "down":
            return {"op": "speed", "speed": next((each for each in reversed(SPEEDS) if each < speed), SPEEDS[0])}
        case "left" | "right" | "shift-left" | "shift-right":
            far_s = SEEK_FAR_S if key.startswith("shift") else SEEK_S
            return {"op": "seek", "by": -far_s if key.endswith("left") else far_s}
        case "n" | ".":
            return {"op": "step"}
        case "0":
            return {"op": "seek", "to": begin}
    return None
