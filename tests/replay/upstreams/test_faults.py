from __future__ import annotations

from recorder.replay.port.handshake import Answer
from recorder.replay.upstreams.faults import IGNORED, Faults
from recorder.replay.upstreams.imitation import Close, Cut, Send


def test_without_orders_nothing_happens() -> None:
    faults = Faults()
    assert faults.handshake() is None
    assert faults.opened(1) is None
    assert faults.sent(1) is None
    assert faults.recipients(Send((1, 2), b"x", "hours")) == [1, 2]


def test_refusals_are_used_up_one_a_handshake_in_the_order_given() -> None:
    faults = Faults()
    faults.refuse(429, times=2)
    faults.ignore()
    assert [faults.handshake() for _ in range(4)] == [Answer(429), Answer(429), IGNORED, None]


def test_a_hang_up_ends_as_many_connections_as_ordered() -> None:
    faults = Faults()
    faults.hang_up(times=2, code=1006)
    assert [faults.opened(number) for number in (1, 2, 3)] == [Cut(1), Cut(2), None]


def test_a_hang_up_can_wait_for_messages() -> None:
    faults = Faults()
    faults.hang_up(after_messages=2, code=1012, reason="restart")
    assert faults.opened(1) is None
    assert [faults.sent(1), faults.sent(2), faults.sent(1)] == [None, None, Close(1, 1012, "restart")]


def test_mute_stops_data_but_no_replies() -> None:
    faults = Faults(muted=True)
    assert faults.recipients(Send((1,), b"x", "hours", "data")) == []
    assert faults.recipients(Send((1,), b"x", "hours", "initial")) == []
    assert faults.recipients(Send((1,), b"x", "", "reply")) == [1]
    assert faults.recipients(Send((1,), b"x", "", "odd")) == [1]


def test_mute_can_be_for_one_connection_or_one_channel() -> None:
    faults = Faults(muted_connections={1}, muted_channels={"hours"})
    assert faults.recipients(Send((1, 2), b"x", "market")) == [2]
    assert faults.recipients(Send((1, 2), b"x", "hours")) == []


def test_what_was_ordered_for_a_connection_goes_with_it() -> None:
    faults = Faults(muted_connections={1})
    faults.hang_up(after_messages=1)
    faults.opened(1)
    faults.closed(1)
    assert faults.sent(1) is None
    assert faults.muted_connections == set()


def test_orders_can_be_withdrawn() -> None:
    faults = Faults(muted=True, answers_pings=False)
    faults.refuse(500, times=9)
    faults.hang_up(times=9)
    faults.forget()
    assert faults == Faults()
