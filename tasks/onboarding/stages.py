"""What bringing machines in takes beside the steps on each of them (`steps.py`): on the miner's own computer, and in the end.

    look -> (plan, agreed to) -> keys -> authority -> (the machine's own steps) -> proof -> place -> offer -> agent -> verdict

Money comes after the proof: a machine that proves nothing costs no registration.
"""

from __future__ import annotations

from dataclasses import dataclass

from tasks.onboarding.steps import Step, StepState

LOOK = Step(
    "look", "Look at the machine", "With the facts and checks of validators, before anything is changed.", ""
)
KEYS = Step(
    "keys",
    "Have the miner's keys",
    "The hotkey signs for the miner; the coldkey, which may lie elsewhere, pays and earns.",
    "Keys are never removed.",
)
AUTHORITY = Step(
    "authority",
    "Have the authority for certificates",
    "It signs what lets validators in, for minutes; machines trust it alone.",
    "It is kept: other machines may trust it.",
)
PROOF = Step(
    "proof",
    "Prove the cards",
    "As a validator will, by the confined user's own way in.",
    "What it left lies in the folders that are removed.",
)
PLACE = Step(
    "place",
    "Have a place on the subnet",
    "Validators only ask who has one.",
    "A place is given up by nobody; it ends by itself.",
)
OFFER = Step(
    "offer",
    "Offer the machine",
    "The agent tells validators what stands in its file.",
    "Its table is taken out.",
)
AGENT = Step(
    "agent",
    "Run the agent",
    "It answers validators, at the address that the chain tells them.",
    "It is stopped with the last machine.",
)
VERDICT = Step(
    "verdict", "Wait for the first verdict", "Every validator tells what it found, once an epoch.", ""
)
WITHDRAW = Step("withdraw", "Take the machine out of the agent's file", "Validators find it no more.", "")
UNDO = Step("undo", "Undo what was done on the machine", "It is as it was before.", "")
HERE = "this computer"
"""What steps on the miner's own computer are told of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Something to show: a step of a machine, or of this computer, that begins or ends."""

    machine: str
    """As it was typed, or `HERE`."""
    step: str
    title: str
    state: StepState
    seconds: float = 0.0
    detail: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the step has ended."""
        return self.state is not StepState.BEGUN
