from __future__ import annotations

import pytest

from recorder.demo.check import Verdict
from recorder.drill.outcome import of_proof
from recorder.drill.rig import Proof


def test_a_recording_that_is_what_was_sent_holds_every_promise() -> None:
    proof = Proof(Verdict(sent=9, recorded=7, lost_in_gaps=2), (), True)
    outcomes = of_proof("x", proof)
    assert [outcome.holds for outcome in outcomes] == [True] * 3
    assert "0 lost outside, 2 within, of 9 sent" in [outcome.observed for outcome in outcomes]


@pytest.mark.parametrize(
    ("proof", "broken"),
    [
        (Proof(Verdict(altered=1), (), True), ["1 verbatim"]),
        (Proof(Verdict(lost=1), (), True), ["3 no silent gap"]),
        (Proof(Verdict(duplicated=1), (), True), ["4 one order"]),
        (Proof(Verdict(), (), False), ["4 one order"]),
        (Proof(Verdict(), ("part missing: x: y",), True), ["4 one order"]),
    ],
)
def test_what_is_wrong_breaks_the_promise_it_is_about(proof: Proof, broken: list[str]) -> None:
    assert [outcome.promise for outcome in of_proof("x", proof) if not outcome.holds] == broken
