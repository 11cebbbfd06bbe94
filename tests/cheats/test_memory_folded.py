from __future__ import annotations

from tests.cheats.rig import HonestCard, judge, with_card


class Folded(HonestCard):
    """Half the memory: line i is line i mod n / 2."""

    def fill(self) -> None:
        super().fill()
        half = len(self._memory) // 2
        self._memory[half:] = self._memory[:half]


def test_half_the_memory_is_caught():
    """A card that holds half of D and folds the addresses walks to other states than D gives."""
    assert judge(with_card(Folded)).code == "WALK_STATE_WRONG"


def test_folding_is_caught_with_any_challenge():
    """No luck with the places: thirty challenges, none passed."""
    assert {judge(with_card(Folded), seed).code for seed in range(30)} == {"WALK_STATE_WRONG"}
