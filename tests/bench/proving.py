"""What a proof costs: the verdict of a card of each size, its bytes on the way up, and the CPU prover."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from kernels import prover
from kernels.blake2s import LANES
from kernels.cards import UnlimitedCards
from kernels.messages import (
    CardSeed,
    End,
    Go,
    Multiplied,
    Multiply,
    Open,
    Opened,
    OpenedCard,
    Ready,
    Request,
    Walk,
    Walked,
    encode,
    frame_header,
)
from kernels.protocol import Parameters, commitment
from tasks.inspection.models import Sku, find
from tasks.policy import LOCALNET
from tasks.proof.challenge import parameters_for
from tasks.proof.conversation import Reply
from tasks.proof.verdict import verify_shard
from tests.bench.full_size import FullSize, full_size_shard
from tests.bench.lanes import hash_in_lanes, verdict_compressions
from tests.bench.measure import cost_of, race
from tests.bench.rows import Group, Row, cpu_row

SHARD_CARDS = 64
FLEET_CARDS = 8_000
FLEET_SHARD_CARDS = 400
"""50 machines of 8 cards."""
SIZES = {
    "verify_card_8gb": (8, 448.0),
    "verify_card_24gb": (24, 1_008.0),
    "verify_card_80gb": (80, 3_350.0),
    "verify_card_192gb": (192, 8_000.0),
}
"""GB and GB/s, as an RTX 3070, an RTX 4090, an H100 and a B200 have them."""
LOCAL_MODEL = "NVIDIA H100 80GB HBM3"


# --- verdicts ----------------------------------------------------------------------------------------


def _verify_card(name: str) -> Iterator[Row]:
    made = full_size_shard(*SIZES[name], cards=SHARD_CARDS)
    parameters = made.shard[0][0].parameters
    count = verdict_compressions(parameters)
    lane_calls = -(-count * SHARD_CARDS // LANES)
    raced = race(partial(_verify, made), partial(hash_in_lanes, lane_calls))
    note = (
        f"verdict of one card taken with {SHARD_CARDS - 1} others; "
        f"floor: its {count:,} BLAKE2s compressions, {LANES} at a time"
    )
    yield cpu_row(name, raced, note, SHARD_CARDS)


def _verify(made: FullSize) -> None:
    verdicts = verify_shard(made.shard, made.places)
    assert all(v.proved for v in verdicts), [v.reasons for v in verdicts if not v.proved]


def _verify_fleet() -> Iterator[Row]:
    made = full_size_shard(*SIZES["verify_card_80gb"], cards=FLEET_SHARD_CARDS)
    shards = FLEET_CARDS // FLEET_SHARD_CARDS
    parameters = made.shard[0][0].parameters
    lane_calls = -(-verdict_compressions(parameters) * FLEET_CARDS // LANES)
    threads = len(os.sched_getaffinity(0))

    def everybody() -> None:
        with ThreadPoolExecutor(threads) as crew:
            for done in [crew.submit(_verify, made) for _ in range(shards)]:
                done.result()

    cost, floor = cost_of(everybody), cost_of(lambda: hash_in_lanes(lane_calls))
    note = (
        f"verdicts of 1,000 machines of 8 cards of 80 GB in one process of {threads} threads, shards of "
        f"{FLEET_SHARD_CARDS} cards, {cost.wall_s:.0f} s wall; floor: their BLAKE2s compressions, {LANES} at a time"
    )
    yield Row("verify_1000x8", cost.cpu_s, "core-s", floor.cpu_s, 1, note)


def _verify_memory() -> Iterator[Row]:
    made = full_size_shard(*SIZES["verify_card_192gb"], cards=SHARD_CARDS)
    _verify(made)
    tracemalloc.start()
    _verify(made)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sent = sum(len(v.transcript) for v in verify_shard(made.shard, made.places))
    note = f"the most that the verdicts of {SHARD_CARDS} cards of 192 GB hold at once in Python and NumPy; floor: their transcripts"
    yield Row(
        "verify_memory_per_card",
        peak_bytes / SHARD_CARDS / 2**20,
        "MiB",
        sent / SHARD_CARDS / 2**20,
        1,
        note,
    )


# --- bytes -------------------------------------------------------------------------------------------


def _proof_bytes() -> Iterator[Row]:
    _, reply = full_size_shard(*SIZES["verify_card_192gb"], cards=1).shard[0]
    assert isinstance(reply, Reply)
    answers = [
        Ready(),
        *(Walked(number, exchange.roots) for number, exchange in enumerate(reply.rounds)),
        Multiplied(reply.product.roots),
        Opened(reply.openings),
    ]
    sent = sum(len(frame_header(0)) + len(encode(answer)) for answer in answers)
    roots = sum(len(root) for exchange in (*reply.rounds, reply.product) for root in exchange.roots)
    bare = roots + sum(map(_bare_bytes, reply.openings))
    note = "every frame of one 192 GB card, executor to validator; floor: its roots, states, tiles and paths as bare bytes"
    yield Row("proof_bytes_per_card", sent / 1024, "KiB", bare / 1024, 1, note)


def _bare_bytes(card: OpenedCard) -> int:
    walked = sum(
        len(s.before or b"") + len(s.before_path or b"") + len(s.after) + len(s.after_path)
        for s in card.segments
    )
    return walked + sum(len(t.tile) + len(t.path) for t in card.tiles)


# --- the prover --------------------------------------------------------------------------------------


def _prover_local() -> Iterator[Row]:
    parameters = parameters_for(_local_sku(), LOCALNET.proof)
    count = prover_compressions(parameters)
    message = bytes(64 * count)
    raced = race(partial(_prove, parameters), lambda: hashlib.blake2s(message).digest())
    note = (
        f"one {LOCAL_MODEL} under policy localnet, {parameters.memory_bytes / 1e6:.1f} MB; "
        f"floor: its {count:,} BLAKE2s compressions as one message of hashlib"
    )
    yield cpu_row("prover_local", raced, note)


def prover_compressions(p: Parameters) -> int:
    """The compressions of an honest prover, from GO to what it opens, without those of any second walk."""
    filled = 4 * p.lines * p.chain_w
    round_ = p.leaves * (4 + 3) + (p.leaves - 1)
    product = 128 * p.columns + 8 * p.tile_count + (p.tile_count - 1)
    return filled + p.rounds * round_ + product


def _prove(parameters: Parameters) -> None:
    secret, nonce = bytes(32), bytes(range(32))
    go = Go("cpu", parameters, commitment(secret), (CardSeed(0, "GPU-bench", nonce),))
    walks = [Walk(number, nonce) for number in range(parameters.rounds)]
    script: list[Request] = [go, *walks, Multiply(nonce), Open(secret), End()]
    frames = [encode(request) for request in script]
    answers: list[bytes] = []
    prover.serve(lambda: frames.pop(0) if frames else None, answers.append, UnlimitedCards())
    assert answers[-1].startswith(b'{"type":"opened"'), answers[-1][:300]


def _local_sku() -> Sku:
    model = find(LOCAL_MODEL)
    assert model is not None
    return model.skus[0]


GROUPS = (
    *(Group((name,), partial(_verify_card, name)) for name in SIZES),
    Group(("verify_1000x8",), _verify_fleet),
    Group(("verify_memory_per_card",), _verify_memory),
    Group(("proof_bytes_per_card",), _proof_bytes),
    Group(("prover_local",), _prover_local),
)
