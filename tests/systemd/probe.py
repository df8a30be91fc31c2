"""What a process in the recorder's unit can do, tried from inside it: a JSON object of deed and outcome on stdout."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
AF_PACKET = 17
libc = ctypes.CDLL(None, use_errno=True)


def call(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def others() -> None:
    """Raises unless another user's process can be seen."""
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    if all(process.stat().st_uid == os.getuid() for process in processes):
        raise FileNotFoundError("no process of another user")


DEEDS: dict[str, Callable[[], object]] = {
    "write its data": lambda: Path("/var/lib/recorder/_probe").write_text("x"),
    "read its credential": lambda: Path(os.environ["CREDENTIALS_DIRECTORY"], "finlight").read_text(),
    "read the key's file": lambda: Path("/etc/recorder/finlight.key").read_text(),
    "read /etc/shadow": lambda: Path("/etc/shadow").read_text(),
    "write /etc": lambda: Path("/etc/_probe").write_text("x"),
    "write its configuration": lambda: Path("/etc/recorder/config.toml").open("a").close(),
    "write its program": lambda: Path("/opt/recorder/_probe").write_text("x"),
    "see the others' /tmp": lambda: Path("/tmp/of-others").read_text(),
    "write /var/lib": lambda: Path("/var/lib/_probe").write_text("x"),
    "see /home": lambda: list(Path("/home/analyst").iterdir()),
    "see processes of others": others,
    "write the kernel's settings": lambda: Path("/proc/sys/vm/swappiness").write_text("1"),
    "open a disk": lambda: os.open("/dev/vda", os.O_RDONLY),
    "open a raw socket": lambda: socket.socket(AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a TCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a namespace": lambda: call(libc.unshare(CLONE_NEWUSER)),
    "mount": lambda: call(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "become root": lambda: os.setuid(0),
    "set the clock": lambda: call(libc.settimeofday(ctypes.create_string_buffer(16), None)),
    "write code and run it": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "make a set-uid file": lambda: Path("/var/lib/recorder/_probe").chmod(0o4755),
}


def outcome(deed: Callable[[], object]) -> str:
    try:
        deed()
    except (OSError, PermissionError) as error:
        return type(error).__name__
    return "done"


if __name__ == "__main__":
    json.dump({name: outcome(deed) for name, deed in DEEDS.items()}, sys.stdout)
    Path("/var/lib/recorder/_probe").unlink(missing_ok=True)
