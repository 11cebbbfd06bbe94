from __future__ import annotations

from tests.cheats.rig import judge, with_frames


def test_yesterdays_answers_are_caught():
    """Answers recorded in one proof are good for no other, of the same machine or of another."""
    recorded: list[bytes] = []

    def record(_: int, frame: bytes) -> list[bytes]:
        recorded.append(frame)
        return [frame]

    assert judge(with_frames(record), seed=1).code == "PROVED"
    assert judge(with_frames(lambda n, _: [recorded[n]]), seed=2).code == "WALK_PATH_WRONG"
