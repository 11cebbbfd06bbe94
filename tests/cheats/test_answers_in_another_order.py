from __future__ import annotations

import json

from tests.cheats.rig import judge, with_frames


def _backwards(_: int, frame: bytes) -> list[bytes]:
    answer = json.loads(frame)
    for cards in answer.keys() & {"roots", "cards"}:
        answer[cards].reverse()
    return [json.dumps(answer).encode()]


def test_answers_in_another_order_are_caught():
    """Roots and openings stand in the order of GO: two cards in each other's place are both wrong."""
    verdict = judge(with_frames(_backwards), cards=2)
    assert {card.code for card in verdict.cards} == {"WALK_PATH_WRONG"}
