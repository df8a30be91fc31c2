"""Every way in which a network or an upstream may fail, each as an order to break and an order to mend.

In: a place, which is one imitated upstream with a proxy before it and one feed that dials the proxy. Out: the place,
broken; later mended. Nothing is decided or measured here.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from recorder.demo.upstream import Upstream
from recorder.drill.proxy import LOOPBACK, Proxy

EVERY = 1_000_000  # times: until it is mended
HOSTS = Path("/etc/hosts")
NEW_MOUNTS = 0x20000  # CLONE_NEWNS


@dataclass(slots=True)
class Place:
    """`upstream` behind `proxy`, dialled by the feed of that name."""

    feed: str
    upstream: Upstream
    proxy: Proxy
    scheme: str = "ws"
    host: str = LOOPBACK

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.proxy.port}"


Order = Callable[[Place], object]


@dataclass(frozen=True, slots=True)
class Fault:
    name: str  # as part of a feed's name
    words: str
    begin: Order
    mend: Order = lambda place: place.proxy.heal()
    passing: bool = False  # over as soon as it has happened: nothing needs mending
    harmless: bool = False  # no reason to open a gap
    silent: bool = False  # nothing tells but silence
    tls: bool = False
    named: bool = False  # dialled by a host name


@dataclass(slots=True)
class Certificates:
    """One that is signed by an authority we trust, one that is signed by itself."""

    folder: Path
    server: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        _openssl(self.folder, "good", "/CN=upstream")
        _openssl(self.folder, "bad", "/CN=somebody else")
        os.environ["SSL_CERT_FILE"] = str(self.folder / "good.pem")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show("good")

    def show(self, which: str) -> None:
        """From the next handshake on."""
        self.server.load_cert_chain(self.folder / f"{which}.pem", self.folder / f"{which}.key")


def _openssl(folder: Path, name: str, subject: str) -> None:
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    subprocess.run(["openssl", *words.split(), "-subj", subject, *files], check=True, capture_output=True)


class Names:
    """Host names that come and go, for this process and those it starts: an own /etc/hosts. Needs root."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hosts"
        self._text = HOSTS.read_text()
        self._known: set[str] = set()
        self._write()
        if ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS):
            raise PermissionError("only root can have host names of its own")
        for words in (["--make-rprivate", "/"], ["--bind", str(self._file), str(HOSTS)]):
            subprocess.run(["mount", *words], check=True)

    def give(self, name: str) -> None:
        self._known.add(name)
        self._write()

    def take(self, name: str) -> None:
        self._known.discard(name)
        self._write()

    def _write(self) -> None:
        self._file.write_text(self._text + "".join(f"{LOOPBACK} {name}\n" for name in sorted(self._known)))


def faults(certificates: Certificates, names: Names | None) -> list[Fault]:
    """In the order of the table. Without `names` no host name is lost."""
    found = [
        Fault("reset", "reset (RST)", lambda place: place.proxy.reset(), passing=True),
        Fault("halfclose", "half-close (FIN, no close frame)", lambda place: place.proxy.half_close(), passing=True),
        Fault("closed", "closed with 1001", lambda place: place.upstream.close_all(1001), passing=True),
        Fault("down", "reset, then nobody listens", _then(lambda place: place.proxy.refuse())),
        Fault("halfopen", "half-open; new connections vanish too", lambda place: place.proxy.vanish(), silent=True),
        Fault(
            "unanswered",
            "half-open; no SYN is answered",
            lambda place: place.proxy.vanish(answering=False),
            silent=True,
        ),
        Fault("mute", "this connection is mute, pings answered", _mute, passing=True, silent=True),
        Fault("trickle", "trickle of 400 bytes/s", lambda place: place.proxy.throttle(400), harmless=True),
        Fault("fragments", "segments of 97 bytes", lambda place: place.proxy.fragment(97), harmless=True),
        Fault("coalesced", "held for 0.5 s, sent as one", lambda place: place.proxy.coalesce(0.5), harmless=True),
        Fault(
            "ignored",
            "reset, then handshakes are never answered",
            _then(lambda place: place.upstream.ignore(EVERY)),
            _heal_upstream,
        ),
        *(
            Fault(
                f"refused{status}",
                f"reset, then refused with {status}",
                _then(lambda place, status=status: place.upstream.refuse(status, EVERY)),  # type: ignore[misc]
                _heal_upstream,
            )
            for status in (401, 403, 429, 500, 503)
        ),
        Fault(
            "hangup",
            "reset, then accepted and hung up at once",
            _then(lambda place: place.upstream.hang_up(EVERY)),
            _heal_upstream,
        ),
        Fault(
            "certificate",
            "reset, then a certificate nobody signed",
            _then(lambda _: certificates.show("bad")),
            lambda _: certificates.show("good"),
            tls=True,
        ),
    ]
    if names is not None:
        found.append(
            Fault(
                "nameless",
                "reset, then its name has no address",
                _then(lambda place: names.take(place.host)),
                lambda place: names.give(place.host),
                named=True,
            )
        )
    return found


def _then(order: Order) -> Order:
    """First so that nothing gets in any more, then the connection is cut."""

    def begin(place: Place) -> None:
        order(place)
        place.proxy.reset()

    return begin


def _mute(place: Place) -> None:
    for number in place.upstream.connections:
        place.upstream.mute(connection=number)


def _heal_upstream(place: Place) -> None:
    place.upstream.heal()
