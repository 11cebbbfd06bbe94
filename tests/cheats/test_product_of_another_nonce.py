from __future__ import annotations

from dataclasses import replace

from kernels.messages import Multiply
from tests.cheats.rig import HonestCard, judge, with_card


class OtherNonce(HonestCard):
    """Multiplies for a nonce of its own, before the validator's came."""

    def multiply(self, asked: Multiply) -> bytes:
        return super().multiply(replace(asked, nonce=bytes(32)))


def test_the_product_of_another_nonce_is_caught():
    """The nonce chooses rows and columns: another nonce gives another product."""
    assert judge(with_card(OtherNonce)).code == "TILE_ENTRY_WRONG"
