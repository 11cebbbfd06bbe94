from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from storage.records import Severity
from tests.cheats.rig import judge, with_frames


def _edited(edit: Callable[[dict], object]) -> Callable[[bytes], list[bytes]]:
    def change(frame: bytes) -> list[bytes]:
        answer = json.loads(frame)
        edit(answer)
        return [json.dumps(answer).encode()]

    return change


CHANGES: dict[str, tuple[int, Callable[[bytes], list[bytes]]]] = {
    "nothing in a frame": (1, lambda _: [b""]),
    "half a line": (1, lambda frame: [frame[: len(frame) // 2]]),
    "two answers": (1, lambda frame: [frame, frame]),
    "an answer before it is asked": (0, lambda frame: [frame, frame]),
    "bytes after the end": (6, lambda frame: [frame + b"{}"]),
    "a line of two MB": (6, lambda _: [b" " * 2_000_000]),
    "deep JSON": (2, lambda _: [b"[" * 4_000]),
    "NaN as a round": (1, lambda frame: [frame.replace(b'"round":0', b'"round":NaN')]),
    "-1 as a round": (1, _edited(lambda a: a.update(round=-1))),
    "2^64 as a round": (1, _edited(lambda a: a.update(round=1 << 64))),
    "the round before": (2, _edited(lambda a: a.update(round=0))),
    "an unknown key": (5, _edited(lambda a: a.update(note="trust me"))),
    "no roots": (5, _edited(lambda a: a.update(roots=[]))),
    "a root too many": (5, _edited(lambda a: a["roots"].append(a["roots"][0]))),
    "invalid base64": (5, _edited(lambda a: a.update(roots=["=" * 44]))),
    "no card opened": (6, _edited(lambda a: a.update(cards=[]))),
    "a card opened twice": (6, _edited(lambda a: a["cards"].append(a["cards"][0]))),
    "no tiles": (6, _edited(lambda a: a["cards"][0].update(tiles=[]))),
    "a tile left out": (6, _edited(lambda a: a["cards"][0]["tiles"].pop())),
    "a segment too many": (6, _edited(lambda a: a["cards"][0]["segments"].append(None))),
    "a state cut short": (6, _edited(lambda a: a["cards"][0]["segments"][0].update(after="AAAA"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_malformed_answers_fail(name):
    """What is not exactly the answer asked for ends the proof as a failure, never as an error of ours."""
    at, change = CHANGES[name]
    verdict = judge(with_frames(lambda n, frame: change(frame) if n == at else [frame]))
    assert (verdict.code, verdict.severity) == ("PROOF_MALFORMED", Severity.FAIL)
    assert [card.code for card in verdict.cards] == ["PROOF_MALFORMED"]
