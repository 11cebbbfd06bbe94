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


def _with_round(written: str) -> Callable[[bytes], list[bytes]]:
    """The round's number as it is written here, JSON or not."""
    return lambda frame: [frame.replace(b'"round":0', f'"round":{written}'.encode())]


CHANGES: dict[str, tuple[int, Callable[[bytes], list[bytes]]]] = {
    "nothing in a frame": (1, lambda _: [b""]),
    "half a line": (1, lambda frame: [frame[: len(frame) // 2]]),
    "two answers": (1, lambda frame: [frame, frame]),
    "an answer before it is asked": (0, lambda frame: [frame, frame]),
    "bytes after the end": (6, lambda frame: [frame + b"{}"]),
    "a line of two MB": (6, lambda _: [b" " * 2_000_000]),
    "deep JSON": (2, lambda _: [b"[" * 4_000]),
    "deep JSON in a value": (6, lambda frame: [frame.replace(b'"tiles":[', b'"tiles":' + b"[" * 5_000, 1)]),
    "NaN as a round": (1, _with_round("NaN")),
    "Infinity as a round": (1, _with_round("Infinity")),
    "-1 as a round": (1, _with_round("-1")),
    "2^64 as a round": (1, _with_round(str(1 << 64))),
    "a round of 4,000 digits": (1, _with_round("9" * 4_000)),
    "1e400 as a round": (1, _with_round("1e400")),
    "0.0 as a round": (1, _with_round("0.0")),
    "-0.0 as a round": (1, _with_round("-0.0")),
    "a text as a round": (1, _with_round('"0"')),
    "false as a round": (1, _with_round("false")),
    "null as a round": (1, _with_round("null")),
    "a round twice": (1, _with_round('0,"round":0')),
    "no JSON": (1, lambda _: [b"walked"]),
    "a list": (1, lambda frame: [b"[" + frame + b"]"]),
    "JSON in UTF-16": (1, lambda frame: [frame.decode().encode("utf-16")]),
    "bytes that are no text": (1, lambda frame: [frame[:-1] + b"\xff}"]),
    "a zero byte at the end": (1, lambda frame: [frame + bytes(1)]),
    "the round before": (2, _edited(lambda a: a.update(round=0))),
    "an unknown key": (5, _edited(lambda a: a.update(note="trust me"))),
    "no roots": (5, _edited(lambda a: a.update(roots=[]))),
    "a root too many": (5, _edited(lambda a: a["roots"].append(a["roots"][0]))),
    "invalid base64": (5, _edited(lambda a: a.update(roots=["=" * 44]))),
    "base64 of the URL alphabet": (5, _edited(lambda a: a.update(roots=["-" * 42 + "A="]))),
    "base64 with a line break": (5, _edited(lambda a: a.update(roots=["\n" + a["roots"][0][1:]]))),
    "base64 without its padding": (5, _edited(lambda a: a.update(roots=[a["roots"][0][:-1]]))),
    "base64 with loose bits": (5, _edited(lambda a: a.update(roots=["A" * 42 + "B="]))),
    "a root of 31 bytes": (5, _edited(lambda a: a.update(roots=["A" * 42 + "=="]))),
    "a root that is a number": (5, _edited(lambda a: a.update(roots=[7]))),
    "no card opened": (6, _edited(lambda a: a.update(cards=[]))),
    "a card opened twice": (6, _edited(lambda a: a["cards"].append(a["cards"][0]))),
    "no tiles": (6, _edited(lambda a: a["cards"][0].update(tiles=[]))),
    "a tile left out": (6, _edited(lambda a: a["cards"][0]["tiles"].pop())),
    "a segment too many": (6, _edited(lambda a: a["cards"][0]["segments"].append(None))),
    "a tile too many": (6, _edited(lambda a: a["cards"][0]["tiles"].append(a["cards"][0]["tiles"][0]))),
    "a tile of numbers": (6, _edited(lambda a: a["cards"][0]["tiles"][0].update(tile=[0] * 256))),
    "a path of half a digest": (6, _edited(lambda a: a["cards"][0]["tiles"][0].update(path="A" * 22 + "=="))),
    "a path of 41 digests": (6, _edited(lambda a: a["cards"][0]["tiles"][0].update(path="A" * 1_750 + "=="))),
    "an index beside a tile": (6, _edited(lambda a: a["cards"][0]["tiles"][0].update(index=0))),
    "a path and no state before": (6, _edited(lambda a: a["cards"][0]["segments"][0].update(before=None))),
    "a state cut short": (6, _edited(lambda a: a["cards"][0]["segments"][0].update(after="AAAA"))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_malformed_answers_fail(name):
    """What is not exactly the answer asked for ends the proof as a failure, never as an error of ours."""
    at, change = CHANGES[name]
    changed: list[bool] = []

    def write(n: int, frame: bytes) -> list[bytes]:
        if n != at:
            return [frame]
        changed.append(change(frame) != [frame])
        return change(frame)

    verdict = judge(with_frames(write))
    assert changed == [True]
    assert (verdict.code, verdict.severity) == ("PROOF_MALFORMED", Severity.FAIL)
    assert [card.code for card in verdict.cards] == ["PROOF_MALFORMED"]
