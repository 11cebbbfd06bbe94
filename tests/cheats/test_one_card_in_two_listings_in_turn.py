from __future__ import annotations

from functools import partial

import pytest

from tests.cheats.cost import (
    PCIE_4,
    PCIE_5,
    CountedCard,
    Machine,
    challenge_of,
    hardware,
    judge_wave,
    scale_of,
)
from tests.cheats.one_card import serve_in_turn

CARDS = [
    ("H100 80GB HBM3", PCIE_5),
    ("A100-SXM4-80GB", PCIE_4),
    ("RTX PRO 6000 Blackwell", PCIE_5),
    ("GeForce RTX 4090", PCIE_4),
    ("GeForce RTX 5090", PCIE_5),
    ("GeForce RTX 5080", PCIE_5),
    ("GeForce RTX 2080", 16e9),
]


@pytest.mark.parametrize(("name", "link"), CARDS, ids=[name for name, _ in CARDS])
def test_one_card_for_two_machines_of_a_wave_is_caught(name, link):
    """Both nonces come at one instant: one walks while the other waits, four times over, and both are too slow."""
    claim = hardware(name, link)
    has = claim.at(scale_of(claim))
    pair = [challenge_of(claim, at, executor_id=f"listing-{at}") for at in range(2)]
    honest = challenge_of(claim, 2, executor_id="honest")
    verdicts = judge_wave(
        [
            (pair, partial(serve_in_turn, has)),
            ([honest], lambda sessions: Machine(CountedCard, has).serve(sessions[0])),
        ]
    )
    assert [v.code for v in verdicts] == ["BANDWIDTH_TOO_LOW", "BANDWIDTH_TOO_LOW", "PROVED"]


def test_in_two_waves_one_card_would_do():
    """What catches it is the barrier: asked one after the other, the same card passes for both machines."""
    claim = hardware("GeForce RTX 5090")
    serve = partial(serve_in_turn, claim.at(scale_of(claim)))
    for at in range(2):
        challenge = challenge_of(claim, at, executor_id=f"listing-{at}")
        assert judge_wave([([challenge], serve)])[0].code == "PROVED"
