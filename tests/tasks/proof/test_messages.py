from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.messages import Failed, OpenedCard, OpenedSegment, OpenedTile
from kernels.protocol import Parameters
from tasks.errors import BadAnswer
from tasks.proof import messages

ROOT = base64.b64encode(bytes(range(32))).decode()
SIZES = Parameters(
    lines=512, chain_w=1, rounds=2, walkers=4, segments=1, segment_steps=1, rows=16, columns=16, tiles=1
)


def _b64(size: int, fill: int = 7) -> str:
    return base64.b64encode(bytes([fill]) * size).decode()


def _opened(**changes: object) -> dict[str, object]:
    segment = {"before": None, "before_path": None, "after": _b64(128), "after_path": _b64(64)}
    tile = {"tile": _b64(512), "path": ""}
    card: dict[str, object] = {"segments": [segment, segment], "tiles": [tile]}
    return {"type": "opened", "cards": [{**card, **changes}]}


def _frame(value: object) -> bytes:
    return json.dumps(value).encode()


def test_honest_answers_are_read():
    """Each answer becomes its record: nothing, roots in order, openings."""
    assert messages.read_ready(_frame({"type": "ready"})) is None
    walked = _frame({"type": "walked", "round": 2, "roots": [ROOT, _b64(32)]})
    assert messages.read_walked(walked, 2, 2) == (bytes(range(32)), b"\x07" * 32)
    multiplied = _frame({"type": "multiplied", "roots": [ROOT]})
    assert messages.read_multiplied(multiplied, 1) == (bytes(range(32)),)
    segment = OpenedSegment(None, None, b"\x07" * 128, b"\x07" * 64)
    assert messages.read_opened(_frame(_opened()), 1, SIZES) == (
        OpenedCard((segment, segment), (OpenedTile(b"\x07" * 512, b""),)),
    )


def test_failure_may_stand_for_any_answer():
    """`failed` is read everywhere, with its text made harmless."""
    failed = {
        "type": "failed",
        "code": "CARD_MEMORY_SHORT",
        "card": 1,
        "detail": "3 MiB free\x1b[2J" + "x" * 300,
    }
    wanted = Failed("CARD_MEMORY_SHORT", 1, "3 MiB free?[2J" + "x" * (200 - 14))
    frame = _frame(failed)
    assert messages.read_ready(frame) == wanted
    assert messages.read_walked(frame, 0, 1) == wanted
    assert messages.read_multiplied(frame, 1) == wanted
    assert messages.read_opened(frame, 1, SIZES) == wanted


NOT_CANONICAL = ROOT[:-2] + chr(ord(ROOT[-2]) + 1) + "="
BAD_WALKED = {
    "no JSON": b"walked",
    "half a line": _frame({"type": "walked", "round": 0, "roots": [ROOT]})[:-3],
    "bytes after the end": _frame({"type": "walked", "round": 0, "roots": [ROOT]}) + b"{}",
    "no object": b"[]",
    "no UTF-8": b'{"type":"walked\xff"}',
    "a missing key": _frame({"type": "walked", "roots": [ROOT]}),
    "an unknown key": _frame({"type": "walked", "round": 0, "roots": [ROOT], "hint": 1}),
    "a key twice": b'{"type":"walked","round":0,"round":0,"roots":["' + ROOT.encode() + b'"]}',
    "another type": _frame({"type": "multiplied", "round": 0, "roots": [ROOT]}),
    "another round": _frame({"type": "walked", "round": 1, "roots": [ROOT]}),
    "a round of -1": _frame({"type": "walked", "round": -1, "roots": [ROOT]}),
    "a round of 2^64": _frame({"type": "walked", "round": 1 << 64, "roots": [ROOT]}),
    "a thousand digits": b'{"type":"walked","round":' + b"9" * 1000 + b',"roots":[]}',
    "a round that is true": _frame({"type": "walked", "round": False, "roots": [ROOT]}),
    "a round of 0.0": _frame({"type": "walked", "round": 0.0, "roots": [ROOT]}),
    "NaN": b'{"type":"walked","round":NaN,"roots":["' + ROOT.encode() + b'"]}',
    "1e999": b'{"type":"walked","round":1e999,"roots":["' + ROOT.encode() + b'"]}',
    "no root": _frame({"type": "walked", "round": 0, "roots": []}),
    "a root too many": _frame({"type": "walked", "round": 0, "roots": [ROOT, ROOT]}),
    "a short root": _frame({"type": "walked", "round": 0, "roots": [_b64(31)]}),
    "a long root": _frame({"type": "walked", "round": 0, "roots": [_b64(33)]}),
    "a root of numbers": _frame({"type": "walked", "round": 0, "roots": [[0] * 16]}),
    "base64 without padding": _frame({"type": "walked", "round": 0, "roots": [ROOT.rstrip("=")]}),
    "base64 with a space": _frame({"type": "walked", "round": 0, "roots": [" " + ROOT]}),
    "base64 with loose bits": _frame({"type": "walked", "round": 0, "roots": [NOT_CANONICAL]}),
    "URL base64": _frame(
        {"type": "walked", "round": 0, "roots": [base64.urlsafe_b64encode(b"\xff" * 32).decode()]}
    ),
    "a text beyond ASCII": _frame({"type": "walked", "round": 0, "roots": ["é" * 44]}),
    "a lone surrogate": b'{"type":"walked","round":0,"roots":["\\ud800"]}',
    "deep JSON": b"[" * 2_000 + b"]" * 2_000,
    "a long frame": _frame({"type": "walked", "round": 0, "roots": [ROOT], "x": "y" * 5_000}),
    "a failure of no known kind": _frame({"type": "failed", "code": "OUT_OF_LUCK", "card": 0, "detail": ""}),
    "a failure without detail": _frame({"type": "failed", "code": "PROVER_FAILED", "card": None}),
}


@pytest.mark.parametrize("name", BAD_WALKED)
def test_anything_else_is_refused(name):
    """What is not exactly the answer asked for is refused, never repaired."""
    with pytest.raises(BadAnswer):
        messages.read_walked(BAD_WALKED[name], 0, 1)


BAD_CARDS = {
    "no segment": {"segments": []},
    "no tile": {"tiles": []},
    "a tile twice": {"tiles": [{"tile": _b64(512), "path": ""}] * 2},
    "before without a path": {
        "segments": [{"before": _b64(128), "before_path": None, "after": _b64(128), "after_path": ""}] * 2
    },
    "a state of 64 bytes": {
        "segments": [{"before": None, "before_path": None, "after": _b64(64), "after_path": ""}] * 2
    },
    "a path of 33 bytes": {"tiles": [{"tile": _b64(512), "path": _b64(33)}]},
    "a path as a list": {"tiles": [{"tile": _b64(512), "path": [_b64(32)]}]},
    "a path of 50 digests": {"tiles": [{"tile": _b64(512), "path": _b64(32 * 50)}]},
    "an extra key": {"note": ""},
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_openings_have_their_exact_shape(name):
    """Counts and lengths are the validator's own."""
    messages.read_opened(_frame(_opened()), 1, SIZES)
    with pytest.raises(BadAnswer):
        messages.read_opened(_frame(_opened(**BAD_CARDS[name])), 1, SIZES)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_noise_never_gets_through(noise):
    """Random bytes raise BadAnswer and nothing else."""
    for read in (
        messages.read_ready,
        lambda f: messages.read_walked(f, 0, 1),
        lambda f: messages.read_multiplied(f, 1),
        lambda f: messages.read_opened(f, 1, SIZES),
    ):
        with pytest.raises(BadAnswer):
            read(noise)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(ROOT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(JSON_VALUES, JSON_VALUES)
def test_strange_values_never_get_through(first, second):
    """Any JSON in the place of a value raises BadAnswer, unless it is the one right value."""
    frame = _frame({"type": "walked", "round": first, "roots": second})
    try:
        assert messages.read_walked(frame, 0, 1) == (bytes(range(32)),)
    except BadAnswer:
        return
    assert (first, second) == (0, [ROOT])
