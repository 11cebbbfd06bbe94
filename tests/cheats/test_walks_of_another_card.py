from __future__ import annotations

from dataclasses import replace

from kernels.messages import Walk
from tests.cheats.rig import HonestCard, judge, with_card

OTHER_SEED = bytes(range(32))


class NonceOfAnother(HonestCard):
    """Has its own memory, but walks with another card's nonces."""

    def walk(self, asked: Walk) -> bytes:
        own = self._asked
        self._asked = replace(own, seed=OTHER_SEED)
        root = super().walk(asked)
        self._asked = own
        return root


def test_walks_of_another_card_are_caught():
    """The start of every segment hangs on the card's own nonce."""
    assert judge(with_card(NonceOfAnother)).code == "WALK_STATE_WRONG"
