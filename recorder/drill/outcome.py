"""What a drill says: one promise, what was promised, what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from recorder.drill.rig import Proof

VERBATIM, DURABLE, NO_SILENT_GAP, ONE_ORDER, BOUNDED = (
    "1 verbatim",
    "2 durable",
    "3 no silent gap",
    "4 one order",
    "7 bounded",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`promise`: as README has it, with its number. `holds`: what was seen is what was promised."""

    drill: str
    promise: str
    promised: str
    observed: str
    holds: bool


def of_proof(drill: str, proof: Proof) -> list[Outcome]:
    """What every drill has to leave behind, whatever it broke."""
    verdict = proof.verdict
    found = f"{len(proof.findings)} findings of verify" if proof.findings else "verify found nothing"
    return [
        Outcome(
            drill,
            VERBATIM,
            "0 altered",
            f"{verdict.altered} altered of {verdict.recorded} recorded",
            verdict.altered == 0,
        ),
        Outcome(
            drill,
            NO_SILENT_GAP,
            "0 lost outside recorded gaps",
            f"{verdict.lost} lost outside, {verdict.lost_in_gaps} within, of {verdict.sent} sent",
            verdict.lost == 0,
        ),
        Outcome(
            drill,
            ONE_ORDER,
            "0 doubled, 0 missing",
            f"{verdict.duplicated} doubled, positions {'dense' if proof.dense else 'NOT DENSE'}, {found}",
            verdict.duplicated == 0 and proof.dense and not proof.findings,
        ),
    ]
