"""Cut a JSON array into its elements without re-writing them: number texts, key order and escapes stay as they came.

In: a frame's text. Out: each element as the very characters it was written in, and parsed. Pure. The cutting is done by
the standard library's scanner in C, some 2 us a row of quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

# Numbers stay text: nobody asks for their values here, and a number of 5,000 digits is no reason to fail.
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str)
_BLANK = re.compile(r"[ \t\n\r]*")


def elements(text: str) -> Iterator[tuple[str, Any]]:
    """The elements of a JSON array, each as it stands there and parsed. Raises ValueError where it is no JSON array."""
    at = _past_blanks(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("no JSON array")
    at = _past_blanks(text, at + 1)
    if text[at : at + 1] == "]":
        _end(text, at + 1)
        return
    while True:
        try:
            value, end = _SCANNER.raw_decode(text, at)
        except RecursionError:
            raise ValueError(f"nested too deeply at character {at}") from None
        yield text[at:end], value
        at = _past_blanks(text, end)
        mark = text[at : at + 1]
        if mark == "]":
            _end(text, at + 1)
            return
        if mark != ",":
            raise ValueError(f"neither , nor ] at character {at}")
        at = _past_blanks(text, at + 1)


def _past_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _end(text: str, at: int) -> None:
    if _past_blanks(text, at) != len(text):
        raise ValueError(f"more than an array at character {at}")
