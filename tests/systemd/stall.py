"""As sitecustomize on the PYTHONPATH of a unit it is imported by its interpreter: SIGUSR2 stalls the main thread.

The other threads live on, so that the process is alive, its journal works, and only the event loop turns no more.
"""

from __future__ import annotations

import signal
import time

signal.signal(signal.SIGUSR2, lambda number, frame: time.sleep(3600))
