from __future__ import annotations

from tests.cheats.rig import HonestCard, judge, with_card


class WrongByte(HonestCard):
    """One wrong bit in each line of 128 bytes, as a cheaper fill would leave it."""

    def fill(self) -> None:
        super().fill()
        self._memory[:, 31] ^= 0x80000000


def test_a_wrong_bit_in_every_line_is_caught():
    """The state takes in all of a line, so the last bit of it counts."""
    assert judge(with_card(WrongByte)).code == "WALK_STATE_WRONG"
