from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.notify import STATUS_CHARACTERS_MAX, Notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.setblocking(False)
        yield end


def test_all_words_are_one_datagram_of_lines(manager: socket.socket) -> None:
    Notify({"NOTIFY_SOCKET": manager.getsockname()}).tell(READY=1, STATUS="2/2 receiving")
    assert manager.recv(1000) == b"READY=1\nSTATUS=2/2 receiving"


def test_an_abstract_socket_is_spoken_to_as_well() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("")  # Linux chooses an abstract name
        end.setblocking(False)
        name = end.getsockname()
        Notify({"NOTIFY_SOCKET": "@" + name[1:].decode()}).tell(WATCHDOG=1)
        assert end.recv(1000) == b"WATCHDOG=1"


def test_no_value_can_say_another_word_or_grow_without_bound(manager: socket.socket) -> None:
    Notify({"NOTIFY_SOCKET": manager.getsockname()}).tell(STATUS="bad\nREADY=1 " + "x" * 10_000)
    said = manager.recv(100_000).decode()
    assert said.startswith("STATUS=bad READY=1 xxx")
    assert len(said) == len("STATUS=") + STATUS_CHARACTERS_MAX


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    notify = Notify(environ)
    assert not notify.listens
    notify.tell(READY=1)


def test_a_manager_that_is_gone_or_does_not_read_stops_nothing(manager: socket.socket, tmp_path: Path) -> None:
    Notify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell(READY=1)
    busy = Notify({"NOTIFY_SOCKET": manager.getsockname()})
    for number in range(2000):  # more than any queue of datagrams holds
        busy.tell(STATUS=number)
    assert manager.recv(100) == b"STATUS=0"
