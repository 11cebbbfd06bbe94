"""Every way in which a proof can end badly: its code and what the miner does about it."""

from __future__ import annotations

from types import MappingProxyType

from storage.records import Reason, Severity

PROVED = "PROVED"
NOT_TRIED = "NOT_TRIED"

MENDS = MappingProxyType(
    {
        "PROVER_NOT_READY": "See that the cards are idle and fill at full speed; nothing else may use them during a proof.",
        "PROVER_LOST": "Keep the SSH connection up during the proof; check the machine's network and its SSH server.",
        "PROVER_FAILED": "Run the preflight of the machine; the detail tells what the prover ran into.",
        "BAD_REQUEST": "Leave the prover as it is sent; if it is, report this with the epoch's number.",
        "FORM_UNAVAILABLE": "Run the command that the detail tells; pip has to be that of the Python which you announce.",
        "CARD_NOT_FOUND": "List only cards that this machine has and that its driver shows.",
        "CARD_MEMORY_SHORT": "Free the card's memory: nothing else may hold it, and no card may be listed twice.",
        "PROOF_TOO_LATE": "Answer every step within its deadline: see that cards, CPU and network are not shared.",
        "PROOF_ABANDONED": "Keep the connection up from the first nonce to the end; hanging up counts as a failure.",
        "PROOF_MALFORMED": "Run the prover that the validator sends, unchanged.",
        "WALK_STATE_WRONG": "Run the prover unchanged; if it is, the card's memory returns wrong bytes: test it.",
        "WALK_PATH_WRONG": "Run the prover unchanged: what was opened is not what was promised before.",
        "TILE_ENTRY_WRONG": "Run the prover unchanged; if it is, the card computes wrong products: test it.",
        "TILE_PATH_WRONG": "Run the prover unchanged: what was opened is not what was promised before.",
        "BANDWIDTH_TOO_LOW": "Declare the model that the card is, and let it run at its full memory clock, alone.",
        "BANDWIDTH_IMPOSSIBLE": "Declare the model that the card is.",
    }
)


def reason(code: str, severity: Severity, got: str, wanted: str) -> Reason:
    """A reason of the proof with its mend."""
    return Reason(code, severity, got, wanted, MENDS[code])
