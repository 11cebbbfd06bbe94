import json
import queue
import threading

import numpy as np
import pytest

from kernels import prover
from kernels.cards import FolderCards, UnlimitedCards, add_simulated_card
from kernels.cuda.needs import driver_version
from kernels.messages import CardSeed, End, Go, Multiply, Open, Walk, encode
from kernels.multiply import multiply
from kernels.protocol import Parameters, commitment
from kernels.walk import walk
from tests import naive

SECRET = naive.H("seed", b"secret")
SIZES = {
    "lines": 512,
    "chain_w": 2,
    "rounds": 2,
    "walkers": 3,
    "segments": 4,
    "segment_steps": 3,
    "rows": 16,
    "columns": 32,
    "tiles": 3,
}


def go(*uuids, form="cpu", **sizes):
    cards = tuple(CardSeed(i, uuid, naive.H("seed", uuid.encode())) for i, uuid in enumerate(uuids))
    return Go(form, Parameters(**{**SIZES, **sizes}), commitment(SECRET), cards)


def script(first):
    """Every request of one whole conversation."""
    rounds = [Walk(r, naive.H("nonce", bytes([r]))) for r in range(first.parameters.rounds)]
    return [first, *rounds, Multiply(naive.H("nonce", b"product")), Open(SECRET), End()]


def served(requests, cards=None):
    """What the prover answers to these frames or requests, one after the other."""
    frames = [r if isinstance(r, bytes) else encode(r) for r in requests]
    answers = []
    prover.serve(lambda: frames.pop(0) if frames else None, answers.append, cards or UnlimitedCards())
    return [json.loads(answer) for answer in answers]


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"rounds": 4, "tiles": 8, "walkers": 5, "segments": 3, "columns": 48},
        {"rounds": 1, "walkers": 1, "segments": 1, "columns": 16, "tiles": 1, "lines": 544},
        {"rounds": 1, "walkers": 40, "segments": 2, "segment_steps": 1},
    ],
    ids=["few", "four rounds", "one leaf", "many walkers"],
)
def test_conversation_equals_the_naive_prover(sizes):
    """Every answer to GO, WALK, MULTIPLY and OPEN is the naive prover's, for two cards at once."""

    requests = script(go("GPU-a", "GPU-b", **sizes))
    truth = naive.Prover()

    assert served(requests) == [truth.answer(encode(request)) for request in requests[:-1]]


def test_conversation_over_queues():
    """Requests are answered one by one while the other side waits, and END returns at once."""

    requests, answers = queue.Queue(), queue.Queue()
    thread = threading.Thread(target=prover.serve, args=(requests.get, answers.put, UnlimitedCards()))
    thread.start()
    kinds = []
    for request in script(go("GPU-a"))[:-1]:
        requests.put(encode(request))
        kinds.append(json.loads(answers.get(timeout=30))["type"])
    requests.put(encode(End()))
    thread.join(timeout=30)

    assert kinds == ["ready", "walked", "walked", "multiplied", "opened"]
    assert not thread.is_alive()
    assert answers.empty()


def failure(answers):
    assert answers[-1]["type"] == "failed"
    return answers[-1]["code"], answers[-1]["card"]


WHOLE = script(go("GPU-a"))
DISORDER = {
    "walk first": [WHOLE[1]],
    "GO twice": [WHOLE[0], WHOLE[0]],
    "round 1 first": [WHOLE[0], WHOLE[2]],
    "a round twice": [*WHOLE[:2], WHOLE[1]],
    "a round too many": [*WHOLE[:3], Walk(2, SECRET)],
    "product early": [*WHOLE[:2], WHOLE[3]],
    "open early": [*WHOLE[:3], WHOLE[4]],
    "open twice": [*WHOLE[:5], WHOLE[4]],
    "another secret": [*WHOLE[:4], Open(bytes(32))],
    "no JSON": [WHOLE[0], b"{"],
    "bad base64": [WHOLE[0], b'{"type":"walk","round":0,"nonce":"****","statement":""}'],
    "unknown key": [WHOLE[0], b'{"type":"end","now":1}'],
    "hostile number": [encode(WHOLE[0]).replace(b'"lines":512', b'"lines":4294967296')],
    "more than a CPU carries": [encode(go("GPU-a", walkers=1 << 20, segments=64))],
}


@pytest.mark.parametrize("requests", DISORDER.values(), ids=DISORDER)
def test_disorder(requests):
    """A request out of order or out of shape is answered by BAD_REQUEST, once, and ends the conversation."""

    answers = served([*requests, WHOLE[-2], WHOLE[-2]])

    assert failure(answers) == ("BAD_REQUEST", None)
    assert [a["type"] for a in answers[:-1]].count("failed") == 0
    assert len(answers) == len(requests)
    assert 0 < len(answers[-1]["detail"]) <= 200


def test_end_at_any_time():
    """END and hanging up are taken at any time, without an answer."""

    for upto in range(1, len(WHOLE)):
        assert len(served([*WHOLE[:upto], End()])) == upto
        assert len(served(WHOLE[:upto])) == upto
    assert served([]) == []


def test_no_driver():
    """The CUDA form on a machine without a driver is refused with what is missing and the command that mends it."""

    if driver_version() is not None:
        pytest.skip("this machine has a driver")
    (answer,) = served([go("GPU-a", form="cuda")])

    assert (answer["code"], answer["card"]) == ("FORM_UNAVAILABLE", None)
    assert answer["detail"].startswith("no NVIDIA driver: libcuda.so.1 does not load. Run: ")


def test_prepare():
    """Preparing never fails: what is missing is told after GO; simulated cards have nothing to prepare."""

    before = threading.active_count()

    prover.prepare("cpu", 30.0)
    prover.prepare("cuda", 30.0)

    assert threading.active_count() == before


def test_unknown_card(tmp_path):
    """A card that the machine does not have fails by its own index, and a machine without any says how to get one."""

    add_simulated_card(tmp_path, "GPU-a", 1 << 20)
    answers = []

    assert failure(served([go("GPU-a", "GPU-b")], FolderCards(tmp_path))) == ("CARD_NOT_FOUND", 1)
    frames = [encode(go("GPU-a"))]
    prover.serve(lambda: frames.pop() if frames else None, answers.append)
    assert "SUBNET_SIMULATED_CARDS" in json.loads(answers[0])["detail"]


def test_memory_short_frees_the_others(tmp_path):
    """A card too small for D fails by its own index, and what the other cards held is free again."""

    add_simulated_card(tmp_path, "GPU-a", 65_536)
    add_simulated_card(tmp_path, "GPU-b", 65_535)
    cards = FolderCards(tmp_path)

    assert failure(served([go("GPU-a", "GPU-b")], cards)) == ("CARD_MEMORY_SHORT", 1)
    assert served(script(go("GPU-a")), cards)[-1]["type"] == "opened"


def test_two_conversations_share_a_card(tmp_path):
    """While one conversation holds a card, another in the same process can't fill it; afterwards it can."""

    add_simulated_card(tmp_path, "GPU-a", 100_000)
    cards, seen = FolderCards(tmp_path), []

    def meddle():
        seen.append(failure(served([go("GPU-a")], cards)))

    frames = [encode(request) for request in script(go("GPU-a"))]
    answers = []

    def read():
        if len(answers) == 1:
            meddle()
        return frames.pop(0)

    prover.serve(read, answers.append, cards)

    assert seen == [("CARD_MEMORY_SHORT", 0)]
    assert json.loads(answers[-1])["type"] == "opened"
    assert served([go("GPU-a")], cards) == [{"type": "ready"}]


def test_cards_come_back_when_nobody_listens(tmp_path):
    """A broken channel, in reading or in writing, gives the cards back."""

    add_simulated_card(tmp_path, "GPU-a", 65_536)
    cards = FolderCards(tmp_path)

    def broken(*_):
        raise BrokenPipeError

    frames = [encode(go("GPU-a"))]
    prover.serve(frames.pop, broken, cards)
    answers = []
    script_ = iter([encode(go("GPU-a"))])
    prover.serve(lambda: next(script_, None) or broken(), answers.append, cards)

    assert failure([json.loads(a) for a in answers]) == ("PROVER_FAILED", None)
    assert served([go("GPU-a")], cards) == [{"type": "ready"}]


def test_a_card_that_breaks():
    """Trouble of our own in one card is told as PROVER_FAILED with its kind, after all cards have stopped."""

    closed = []

    class Broken:
        def allocate(self, lines):
            raise MemoryError(f"{lines} lines")

        def close(self):
            closed.append(self)

    class Source:
        def open(self, uuid):
            return Broken() if uuid else None

    (answer,) = served([go("GPU-a", "GPU-b")], Source())

    assert (answer["code"], answer["detail"]) == ("PROVER_FAILED", "MemoryError: 512 lines")
    assert len(closed) == 2


def test_one_wrong_byte_changes_the_root():
    """Roots commit to every line that is read: D with one other byte has other roots of walk and product."""

    memory = np.zeros((512, 32), dtype=np.uint32)
    nonce = np.arange(8, dtype=np.uint32)
    sizes = (0, 64, 1, 64)
    honest = walk(memory, nonce, *sizes)
    product = multiply(memory, bytes(32), 512 // 32, 16)
    memory[37, 5] ^= 1 << 17

    assert (walk(memory, nonce, *sizes) != honest).any()
    assert (multiply(memory, bytes(32), 512 // 32, 16) != product).any()


def test_warm():
    """Warming up holds a whole practice conversation, and leaves nothing."""

    before = threading.active_count()

    prover.warm()

    assert threading.active_count() == before
