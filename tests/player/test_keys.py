from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.player.keys import PENDING_BYTES_MAX, SPEEDS, Keys, operation
from recorder.replay.playhead import MAX
from recorder.replay.wire import parse_operation


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        (b" ", ["space"]),
        (b"n.q?0+-=_", ["n", ".", "q", "?", "0", "+", "-", "=", "_"]),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", ["up", "down", "right", "left"]),
        (b"\x1bOA\x1bOB\x1bOC\x1bOD", ["up", "down", "right", "left"]),  # application mode
        (b"\x1b[1;2C\x1b[1;2D\x1b[c\x1b[d", ["shift-right", "shift-left", "shift-right", "shift-left"]),
        (b"\x1b[3~q", ["q"]),  # Delete means nothing, and its 3 is no key
        (b"\x1b[1;5Cn", ["n"]),
        (b"\xc3\xa4n", ["n"]),
        (b"\x1bq", []),  # Alt
    ],
)
def test_keys_have_names_on_every_terminal(typed: bytes, names: list[str]) -> None:
    assert Keys().typed(typed) == names
    keys = Keys()
    assert [name for byte in typed for name in keys.typed(bytes([byte]))] == names


def test_a_sequence_without_end_does_not_swallow_what_follows() -> None:
    keys = Keys()
    assert keys.typed(b"\x1b[" + b"1" * PENDING_BYTES_MAX) == ["[", *"1" * PENDING_BYTES_MAX]
    assert keys.typed(b"\x1b[A") == ["up"]


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_any_bytes_are_names_or_nothing_however_they_are_cut(pieces: list[bytes]) -> None:
    keys = Keys()
    for piece in pieces:
        for name in keys.typed(piece):
            assert name.isprintable() or len(name) == 1


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("space", {"op": "pause"}),
        ("+", {"op": "speed", "speed": 10.0}),
        ("up", {"op": "speed", "speed": 10.0}),
        ("-", {"op": "speed", "speed": 2.0}),
        ("left", {"op": "seek", "by": -10}),
        ("shift-right", {"op": "seek", "by": 300}),
        ("n", {"op": "step"}),
        ("0", {"op": "seek", "to": "@7"}),
        ("x", None),
        ("q", None),
    ],
)
def test_a_key_is_an_operation_that_the_server_understands(key: str, expected: dict[str, Any] | None) -> None:
    asked = operation(key, paused=False, speed=5.0, begin="@7")
    assert asked == expected
    if asked is not None:
        parse_operation(orjson.dumps(asked).decode())


def test_space_goes_on_when_paused() -> None:
    assert operation("space", paused=True, speed=1.0, begin="start") == {"op": "resume"}


def test_speed_goes_through_all_steps_and_stays_within() -> None:
    def walk(key: str, speed: float) -> list[float]:
        seen = []
        for _ in SPEEDS:
            asked = operation(key, paused=False, speed=speed, begin="start")
            assert asked is not None
            speed = MAX if asked["speed"] == "max" else asked["speed"]
            seen.append(speed)
        return seen

    assert walk("+", 0.1) == list(SPEEDS)
    assert walk("-", MAX) == [*reversed(SPEEDS[:-1]), SPEEDS[0]]
    assert walk("+", 7.0)[0] == 10.0
