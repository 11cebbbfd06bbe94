"""Every way in which a proof can end badly: its code and what the miner does about it."""

from __future__ import annotations

from types import MappingProxyType

from storage.records import Reason, Severity

PROVED = "PROVED"
NOT_TRIED = "NOT_TRIED"
MODEL_UNPROVEN = "MODEL_UNPROVEN"

MENDS = MappingProxyType(
    {
        "PROVER_NOT_READY": "See that the cards are idle and fill at full speed; nothing else may use them during a proof.",
        "PROVER_LOST": "Keep the SSH connection up during the proof; check the machine's network and its SSH server.",
        "PROVER_REFUSED": "Give the announced Python NumPy and Numba (`pip install numba`), and its user a home it may write to.",
        "PROVER_FAILED": "Run the preflight of the machine; the detail tells what the prover ran into.",
        "BAD_REQUEST": "Leave the prover as it is sent; if it is, report this with the epoch's number.",
        "LOCK_UNAVAILABLE": "Let the announced user write to /run/lock or /tmp, or name a folder with SUBNET_PROOF_LOCKS.",
        "BUSY": "Nothing to do: another validator was proving the machine; it is asked again in the next epoch.",
        "BUSY_OUR_OWN": "Run the prover unchanged: what this validator says itself is no other one's word.",
        "BUSY_WITHOUT_HOLDER": "See that no program but the prover holds the cards' locks (/run/lock/subnet-*.lock).",
        "BUSY_MALFORMED": "Run the prover unchanged, and let no other user of the machine write to the cards' locks.",
        "BUSY_OTHER_MACHINE": "List a card in one machine only: it was held for a proof of another one.",
        "BUSY_NO_PERMIT": "Open the miner's door only to validators with a permit.",
        "BUSY_FORGED": "Run the prover unchanged, and let no other user of the machine write to the cards' locks.",
        "BUSY_TOO_OLD": "See that a proof that is over gives the cards back: end a prover that hangs.",
        "BUSY_NOT_YET": "Run the prover unchanged; if it is, the other validator's clock is wrong: report it.",
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
        MODEL_UNPROVEN: "Nothing to do: the model is paid as unproven until enough machines of other miners prove it too.",
    }
)


def reason(code: str, severity: Severity, got: str, wanted: str) -> Reason:
    """A reason of the proof with its mend."""
    return Reason(code, severity, got, wanted, MENDS[code])
