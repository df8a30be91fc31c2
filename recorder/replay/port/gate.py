"""Who may come in: the token, and the web pages that browsers come from. Pure.

In: a handshake. Out: nothing, or the HTTP answer that turns it away. A browser names the page it is on in `Origin`, and
any page may try to reach this machine; other programs send none. Pages of this machine itself are always let in.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from recorder.replay.port.handshake import Answer, Handshake

OPEN_PATHS = ("/healthz",)  # says nothing that a stranger could use, and load balancers have no token
ASKED_BELOW = "/page/"  # what is answered there could be read by a page of anywhere, see Gate._knows
TOKEN_CHARACTERS_MIN = 16


class Gate:
    """Asked before any place of the server. `open_paths`: files of the page, which asks for the token itself."""

    def __init__(self, token: str | None, origins: Collection[str], open_paths: Collection[str] = ()) -> None:
        self._token = token.encode() if token else None
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._open_paths = frozenset((*OPEN_PATHS, *open_paths))

    def __call__(self, request: Handshake) -> Answer | None:
        headers = {name.lower(): text for name, text in request.headers}
        origin = headers.get("origin")
        if origin is not None and not self._welcomes(origin):
            return Answer(403, b"pages of this origin may not connect; see origins in [replay]\n", "text/plain")
        if request.path in self._open_paths:
            return None
        if self._token is None:
            if request.path.startswith(ASKED_BELOW) and not self._knows(headers.get("host", "localhost")):
                return Answer(403, b'{"error":"this is no name of the recorder; see origins in [replay]"}')
            return None
        given = _given(headers, request)
        # All are compared, so that how long it takes tells nothing.
        if not any([hmac.compare_digest(each.encode(errors="replace"), self._token) for each in given]):  # noqa: C419
            return Answer(401, b"needs the token: Authorization: Bearer ..., or ?token=...\n", "text/plain")
        return None

    def _knows(self, host: str) -> bool:
        """Whether a browser may call us by that name: any page could make its own name point to this machine, and then
        the browser would take our answers for that page's."""
        return self._welcomes(f"http://{host}") or self._welcomes(f"https://{host}")

    def _welcomes(self, origin: str) -> bool:
        try:
            host = urlsplit(origin).hostname
        except ValueError:
            return False
        return origin.rstrip("/").lower() in self._origins or (host is not None and is_loopback(host))


def is_loopback(host: str) -> bool:
    """Whether an address or a name is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() in ("localhost", "localhost.")


def _given(headers: dict[str, str], request: Handshake) -> list[str]:
    """Where a token may stand. Clients of the imitated upstreams can only send the key they know of."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return [
        bearer.strip() if scheme.lower() == "bearer" else "",
        request.query.get("token", ""),
        headers.get("x-api-key", ""),
        request.query.get("apiKey", ""),
    ]
