from __future__ import annotations

from dataclasses import replace

import pytest

from kernels import prover
from kernels.cards import Card, FolderCards, add_simulated_card
from kernels.messages import Request
from tests.cheats.cost import (
    PCIE_4,
    PCIE_5,
    Cards,
    CountedCard,
    Hardware,
    Machine,
    hardware,
    judge_timed,
    scale_of,
)
from tests.cheats.links import usd_per_hour
from tests.cheats.one_card import ManyListed
from tests.cheats.rig import QueueSession, judge


def test_eight_memories_do_not_fit_one(tmp_path):
    """Eight listed cards that share one card's memory: the real prover has no room for the second D."""

    class OneBudget(FolderCards):
        def open(self, uuid: str) -> Card:  # noqa: ARG002  all eight are this one
            return super().open("GPU-the-only-one")

    add_simulated_card(tmp_path, "GPU-the-only-one", 32 * 4_096)

    def serve(session: QueueSession) -> None:
        prover.serve(session.requests.get, session.answers.put, OneBudget(tmp_path))

    assert judge(serve, cards=8).code == "CARD_MEMORY_SHORT"


def _many_listed(_: object, has: Hardware) -> Machine:
    return ManyListed(has)


@pytest.mark.parametrize(
    ("name", "link", "cards", "code"),
    [
        ("H100 80GB HBM3", PCIE_5, 8, "PROOF_TOO_LATE"),
        ("A100-SXM4-80GB", PCIE_4, 8, "PROOF_TOO_LATE"),
        ("GeForce RTX 4090", PCIE_4, 8, "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 5090", PCIE_5, 8, "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 4090", PCIE_4, 2, "BANDWIDTH_TOO_LOW"),
        ("GeForce RTX 5080", PCIE_5, 2, "BANDWIDTH_TOO_LOW"),
    ],
)
def test_one_card_for_all_that_are_listed_takes_too_long(name, link, cards, code):
    """One card in turn for each listed one: every round it walks that often, and loads all D but one."""
    verdict = judge_timed(None, hardware(name, link), cards=cards, machine=_many_listed)
    assert verdict.code == code
    assert not any(card.passed for card in verdict.cards)


RESIDUE = [
    ("H200", "RTX 4000 Ada Generation", 7, 0.4),
    ("RTX PRO 6000 Blackwell", "L4", 4, 0.5),
    ("A40", "RTX 4000 Ada Generation", 2, 2.7),
    ("A100 80GB PCIe", "RTX 4000 Ada Generation", 4, 1.8),
]


@pytest.mark.parametrize(
    ("real", "claimed", "cards", "gain"), RESIDUE, ids=[f"{r} as {n} {c}" for r, c, n, _ in RESIDUE]
)
def test_one_large_card_passes_as_several_small_ones(real, claimed, cards, gain):
    """Not closed: memory and bandwidth for all are there; where the table pays the small ones better, it even gains."""
    has, claim = hardware(real), hardware(claimed)
    as_honest = claim.at(scale_of(claim))

    class Shared(Machine):
        """All listed cards are parts of one, which takes no less time than they would."""

        def seconds(self, request: Request, cards: Cards) -> float:  # noqa: ARG002  the same for all
            together = replace(
                self.has,
                bandwidth_bytes_s=self.has.bandwidth_bytes_s / len(cards),
                instructions_s=self.has.instructions_s / len(cards),
            )
            return max(card.seconds(together, as_honest) for card in cards)

    assert cards * claim.proved_bytes < has.proved_bytes
    assert judge_timed(CountedCard, claim, has, cards=cards, machine=Shared).code == "PROVED"
    assert cards * usd_per_hour(claimed) / usd_per_hour(real) == pytest.approx(gain, abs=0.06)
