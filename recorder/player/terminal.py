"""Keys from a terminal, one by one as they are pressed, and the terminal as it was afterwards.

In: a terminal's descriptor. Out: bytes typed, on the event loop. In cbreak mode Ctrl-C and Ctrl-Z are signals as ever;
whoever opens it handles those that end the program, so that everything but `kill -9` passes `close`.
"""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Keyboard:
    """`with Keyboard(0, typed)`: `typed` is called with what was typed, and with nothing when the terminal is gone."""

    def __init__(self, descriptor: int, typed: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._typed = typed
        self._was: list[Any] | None = None

    def __enter__(self) -> Keyboard:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """No waiting for Enter, and nothing typed is shown."""
        self._was = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor)
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """As it was."""
        if self._was is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            was, self._was = self._was, None
            with suppress(termios.error):  # it is gone
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, was)

    def _read(self) -> None:
        try:
            typed = os.read(self._descriptor, 1024)
        except OSError:
            typed = b""
        if not typed:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._typed(typed)
