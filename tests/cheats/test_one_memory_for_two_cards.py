from __future__ import annotations

from dataclasses import replace

from tests.cheats.rig import HonestCard, judge, with_card

OTHER_SEED = bytes(range(32))


class OneCardForTwo(HonestCard):
    """Lists two cards and fills one: the second's memory is the first's."""

    def fill(self) -> None:
        own = self._asked
        self._asked = replace(own, seed=OTHER_SEED)
        super().fill()
        self._asked = own


def test_one_memory_for_two_cards_is_caught():
    """Each card's lines come from its own seed."""
    verdict = judge(with_card(HonestCard, others=OneCardForTwo), cards=2)
    assert [card.code for card in verdict.cards] == ["PROVED", "WALK_STATE_WRONG"]
