"""Ctrl-C and SIGTERM for a command that has to tidy up: the first one asks, the others insist.

In: signals. Out: calls of `ask`, then of `insist`, while somebody has set them, KeyboardInterrupt otherwise. The
handlers from before come back at the end.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """`with Interrupts() as interrupts:` in the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self.ask: Callable[[], object] | None = None  # both called between any two bytecodes of the main thread
        self.insist: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's wish is respected
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        react = self.ask if self.count == 1 else self.insist
        if react is None:
            raise KeyboardInterrupt
        react()
