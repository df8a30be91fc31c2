"""A timer of the kernel for the event loop: on time to some 0.05 ms.

In: a monotonic time. Out: a call on the loop. asyncio's own timers count in whole milliseconds of epoll and wake up to
2.7 ms late (p99); a timerfd is one more file that epoll waits for. Python has it from 3.13 on, so libc is asked.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable

from recorder.clock import SECOND_NS

_CLOCK_MONOTONIC, _ABSOLUTE = 1, 1  # <time.h>, TFD_TIMER_ABSTIME
_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec"""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Timer:
    """Calls `on_time` once after each `set`, unless set anew before. Belongs to the running loop until it is closed."""

    def __init__(self, on_time: Callable[[], None]) -> None:
        self._on_time = on_time
        self._descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no timer could be made")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._ready)

    def set(self, due_ns: int) -> None:
        """At that monotonic time, or at once if it has passed."""
        seconds, ns = divmod(max(1, due_ns), SECOND_NS)
        _libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(_Spec(0, 0, seconds, ns)), None)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _ready(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # set anew in the same turn
        self._on_time()
