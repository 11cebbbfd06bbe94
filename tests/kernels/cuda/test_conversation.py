"""The CUDA form under the CUDA simulator, which needs a process of its own: one process holds all conversations."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernels import prover
from kernels.cards import UnlimitedCards
from kernels.cuda import launch
from kernels.messages import CardSeed, End, Go, Multiply, Open, Walk, encode
from kernels.protocol import Parameters, commitment, open_digest, place
from tests import naive

ROOT = Path(__file__).parents[3]
SECRET = naive.H("seed", b"secret4")
"""With it a card opens, of six segments a walker in groups of two: the first, one inside a group, one that begins one."""
SIZES = {
    "lines": 512,
    "chain_w": 1,
    "rounds": 2,
    "walkers": 3,
    "segments": 6,
    "segment_steps": 3,
    "rows": 16,
    "columns": 16,
    "tiles": 1,
}


def go(form, *uuids, **sizes):
    cards = tuple(CardSeed(i, uuid, naive.H("seed", uuid.encode())) for i, uuid in enumerate(uuids))
    return Go(form, Parameters(**{**SIZES, **sizes}), commitment(SECRET), cards)


def script(first):
    """Every request of one whole conversation."""
    rounds = [Walk(r, naive.H("nonce", bytes([r]))) for r in range(first.parameters.rounds)]
    return [first, *rounds, Multiply(naive.H("nonce", b"product")), Open(SECRET), End()]


def need_bytes(**sizes):
    need = launch.card_bytes(Parameters(**{**SIZES, **sizes}))
    return need.memory + need.beside


def scenario(requests, hears=None, **special):
    """A conversation with two cards of a MiB each, and what is special about one of them."""
    devices = [{"uuid": f"GPU-{c}", "budget_bytes": 1 << 20, **special.get(c, {})} for c in "ab"]
    frames = [base64.b64encode(encode(request)).decode() for request in requests]
    return {"devices": devices, "frames": frames, "hears": hears}


def run(scenarios):
    """Hold these conversations in one process with the simulator; what is told of each."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("conversing.py"))],
        input=json.dumps(list(scenarios.values())),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=dict(os.environ, NUMBA_ENABLE_CUDASIM="1", PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(scenarios, json.loads(done.stdout), strict=True))


def answers_of(told):
    return [base64.b64decode(answer) for answer in told["answers"]]


def by_cpu(requests):
    frames, answers = [encode(request) for request in requests], []
    prover.serve(lambda: frames.pop(0) if frames else None, answers.append, UnlimitedCards())
    return answers


def opened_segments(first, answers):
    """The opened segments of all rounds and cards, as the secret and the roots decide."""
    p, told = first.parameters, [json.loads(answer) for answer in answers]
    roots = [[base64.b64decode(r) for r in answer["roots"]] for answer in told if "roots" in answer]
    for card, (*walked, product) in zip(first.cards, zip(*roots, strict=True), strict=True):
        drawn = open_digest(card.seed, walked, product)
        yield from (place(SECRET, drawn, r).index(p.leaves) % p.segments for r in range(p.rounds))


@pytest.mark.slow
def test_a_card_answers_as_the_cpu_form():
    """A whole proof, opened within and across groups of segments: the CPU form's frames, byte for byte."""

    asked = go("cpu", "GPU-a", rounds=3)
    wanted = by_cpu(script(asked))
    told = run({"it": scenario(script(go("cuda", "GPU-a", rounds=3)))})["it"]

    assert launch.keep_for(SIZES["segments"]) == 1
    assert {0, 1, 2} <= set(opened_segments(asked, wanted))
    assert answers_of(told) == wanted
    assert told["devices"][0] == {"held": 0, "most": need_bytes(rounds=3), "resets": 1, "is_loaded": True}
    assert [d["resets"] for d in told["devices"]] == [1, 0]
    assert told["threads"] == 1


@pytest.mark.long
def test_two_cards_answer_as_the_cpu_form():
    """A whole proof of two cards at once: the CPU form's frames, byte for byte."""

    told = run({"it": scenario(script(go("cuda", "GPU-a", "GPU-b")))})["it"]

    assert answers_of(told) == by_cpu(script(go("cpu", "GPU-a", "GPU-b")))
    done = {"held": 0, "most": need_bytes(), "resets": 1, "is_loaded": True}
    assert told == {"answers": told["answers"], "devices": [done, done], "threads": 1}


ONE = go("cuda", "GPU-a", rounds=1, segments=3, lines=544)
"""With an odd number of segments every leaf is a node that is kept."""
TWO = go("cuda", "GPU-a", "GPU-b", rounds=1)
FIRST = go("cuda", "GPU-a", rounds=1)
ENDS = {
    "unknown card": (scenario([go("cuda", "GPU-a", "GPU-x")]), ["CARD_NOT_FOUND", 1], [0, 0]),
    "more than a host keeps": (
        scenario([go("cuda", "GPU-a", walkers=1 << 18, segments=1_023)]),
        ["BAD_REQUEST", None],
        [0, 0],
    ),
    "memory short": (
        scenario([TWO], b={"budget_bytes": need_bytes() - 1}),
        ["CARD_MEMORY_SHORT", 1],
        [1, 1],
    ),
    "memory refused": (scenario([TWO], b={"refuses_above": 65_535}), ["CARD_MEMORY_SHORT", 1], [1, 1]),
    "memory short for practice": (
        scenario([TWO], b={"budget_bytes": 65_536, "is_loaded": False}),
        ["CARD_MEMORY_SHORT", 1],
        [1, 1],
    ),
    "out of order": (scenario([FIRST, FIRST]), ["BAD_REQUEST", None], [1, 0]),
    "a card that breaks": (scenario(script(TWO), b={"breaks_at": 2}), ["PROVER_FAILED", None], [1, 1]),
    "hung up after READY": (scenario([FIRST]), ["ready"], [1, 0]),
    "nobody listens": (scenario(script(FIRST), hears=1), ["ready"], [1, 0]),
}
"""A conversation, how its last answer ends, and how often each card is reset: once, where it was used."""
LATE_ENDS = {
    "another secret": (scenario([*script(ONE)[:3], Open(bytes(32))]), ["BAD_REQUEST", None], [1, 0]),
}
"""The same, after a whole product, which takes the simulator long."""


@pytest.fixture(scope="module")
def ended():
    return run({name: it for name, (it, *_) in ENDS.items()})


@pytest.mark.slow
@pytest.mark.xdist_group("cuda_conversation")
@pytest.mark.parametrize("name", ENDS)
def test_whatever_happens_all_is_given_back(ended, name):
    """However a conversation ends, it says why; then every card is empty and reset, and no thread is left."""

    check_end(ended[name], *ENDS[name][1:])


@pytest.mark.long
@pytest.mark.parametrize("name", LATE_ENDS)
def test_whatever_happens_after_the_product_all_is_given_back(name):
    """The same, where the product is already there."""

    it, end, resets = LATE_ENDS[name]
    check_end(run({name: it})[name], end, resets)


def check_end(told, end, resets):
    last = json.loads(answers_of(told)[-1])

    assert [last.get("code", last["type"]), *([last["card"]] if "card" in last else [])] == end
    assert [d["held"] for d in told["devices"]] == [0, 0]
    assert [d["resets"] for d in told["devices"]] == resets
    assert told["threads"] == 1


@pytest.mark.slow
@pytest.mark.xdist_group("cuda_conversation")
def test_memory_short_tells_what_is_free_and_what_is_needed(ended):
    """The detail has the bytes that are free, those of D and those beside it."""

    detail = json.loads(answers_of(ended["memory short"])[-1])["detail"]

    assert (
        f"{need_bytes() - 1} bytes are free, 65536 are needed for D and {need_bytes() - 65_536} beside"
        in detail
    )


@pytest.mark.long
def test_every_leaf_kept_and_a_practice_before():
    """With an odd number of segments, and on a card that has to practise first, the answers are the CPU form's too."""

    sizes = {"rounds": 1, "segments": 3, "lines": 544}
    told = run({"it": scenario(script(ONE), a={"is_loaded": False})})["it"]

    assert answers_of(told) == by_cpu(script(go("cpu", "GPU-a", **sizes)))
    assert [d["is_loaded"] for d in told["devices"]] == [True, True]
    assert [(d["held"], d["resets"]) for d in told["devices"]] == [(0, 1), (0, 0)]


@pytest.mark.long
def test_many_tiles_and_rounds():
    """Tiles of several rows and columns of tiles and four rounds: the CPU form's frames, byte for byte."""

    sizes = {"rounds": 4, "segments": 4, "walkers": 5, "lines": 1_024, "rows": 32, "columns": 48, "tiles": 4}
    told = run({"it": scenario(script(go("cuda", "GPU-a", **sizes)))})["it"]

    assert answers_of(told) == by_cpu(script(go("cpu", "GPU-a", **sizes)))
