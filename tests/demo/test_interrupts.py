from __future__ import annotations

import signal

import pytest

from recorder.demo.interrupts import SIGNALS, Interrupts


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks_and_the_others_insist(number: signal.Signals) -> None:
    reacted: list[str] = []
    with Interrupts() as interrupts:
        interrupts.ask = lambda: reacted.append("ask")
        interrupts.insist = lambda: reacted.append("insist")
        for _ in range(3):
            signal.raise_signal(number)
    assert reacted == ["ask", "insist", "insist"]


@pytest.mark.parametrize("number", SIGNALS)
def test_with_nobody_to_ask_work_is_broken_off(number: signal.Signals) -> None:
    with Interrupts(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_handlers_from_before_come_back_and_ignored_signals_stay_ignored() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            assert interrupts.count == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
