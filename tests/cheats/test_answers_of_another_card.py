from __future__ import annotations

from dataclasses import replace

from tests.cheats.rig import HonestCard, judge, with_card

OTHER_SEED = bytes(range(32))


class AnswersOfAnother(HonestCard):
    """Gives out the whole answers of a card with another seed."""

    def __init__(self, parameters: object, asked: object, card: object) -> None:
        super().__init__(parameters, replace(asked, seed=OTHER_SEED), card)


def test_answers_of_another_card_are_caught():
    """The places hang on the card's own seed, so another card opens elsewhere."""
    assert judge(with_card(AnswersOfAnother)).code == "WALK_PATH_WRONG"
