"""Speak to the service manager: one datagram of `NAME=value` lines to the socket that systemd names in NOTIFY_SOCKET.

In: words such as READY, STATUS, WATCHDOG. Out: a datagram, or nothing where no service manager listens. It never waits
and never raises: what systemd cannot take now is not worth a stalled event loop. The protocol is sd_notify(3)'s. What
to say is service.py's business.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

STATUS_CHARACTERS_MAX = 500


class Notify:
    """The service manager of this process. `listens` is False where there is none."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # @: Linux's abstract namespace
        self.listens = address[:1] in ("/", "@")

    def tell(self, **words: object) -> None:
        """Say all of it at once; a value becomes one line."""
        if not self.listens:
            return
        lines = (f"{word}={' '.join(str(value).split())[:STATUS_CHARACTERS_MAX]}" for word, value in words.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
            end.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
