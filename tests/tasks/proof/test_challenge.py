from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest

from kernels.messages import encode, parse_request
from tasks.inspection.models import MODELS
from tasks.policy import DEFAULT, LOCALNET
from tasks.proof.bounds import bandwidth_bounds
from tasks.proof.challenge import Origin, ProofKind, challenge_for, parameters_for, proof_kind
from tasks.proof.population import Population
from tests.cheats.rig import TinyModel, tiny_challenge

GB = 1_000_000_000
GIB = 1 << 30
ORIGIN = Origin(51, 1_000, "0x" + "ab" * 32, "5Validator", "5Miner", "machine", 1)


def test_an_80_gb_card_has_the_sizes_of_the_document():
    """0.92 of 80 GB in whole pages; passes for 0.375 s at 3,350 GB/s; a thirty-second of the pages as rows."""
    p = parameters_for(TinyModel(80 * GB, 3_350.0), DEFAULT.proof)
    assert p.lines * 128 == 80 * GB * 92 // 100 // 4_096 * 4_096
    assert (p.chain_w, p.rounds, p.walkers, p.segment_steps, p.tiles) == (32, 4, 65_536, 128, 8)
    passes = -(-0.375 * 3_350 * GB // (p.lines * 128))
    assert p.leaves * p.segment_steps >= passes * p.lines > (p.leaves - 64 * p.walkers) * p.segment_steps
    assert p.rows == p.pages // 32 // 16 * 16
    assert p.rounds * p.segment_steps * 4 * p.chain_w == 65_536
    assert p.tiles * (128 * p.chain_w + 128) == 33_792


def test_a_small_card_keeps_its_reserve():
    """Where 8 % are less than the reserve, the reserve counts."""
    p = parameters_for(TinyModel(8 * GIB, 300.0), DEFAULT.proof)
    assert p.lines * 128 == 7 * GIB


def test_fast_cards_have_more_walkers():
    """Above 4,000 GB/s a round needs more walkers to be bound by bandwidth."""
    assert parameters_for(TinyModel(80 * GB, 4_000.0), DEFAULT.proof).walkers == 65_536
    assert parameters_for(TinyModel(192 * GB, 8_000.0), DEFAULT.proof).walkers == 131_072


@pytest.mark.parametrize(
    ("memory_gb", "bandwidth"), [(8, 300.0), (24, 1_008.0), (80, 3_350.0), (288, 8_000.0)]
)
@pytest.mark.parametrize("policy", [DEFAULT.proof, LOCALNET.proof], ids=["default", "localnet"])
def test_every_card_size_makes_a_possible_proof(memory_gb, bandwidth, policy):
    """From 8 to 288 GB the sizes stay within the protocol's ranges, under both policies."""
    p = parameters_for(TinyModel(memory_gb * GB, bandwidth), policy)
    assert p.lines % 32 == 0
    assert 16 <= p.rows <= p.pages
    if policy.form == "cpu":
        p.check_cpu()


@pytest.mark.parametrize("memory_gb", [8, 24, 80, 288])
def test_a_leased_machine_is_asked_for_64_mib_whatever_its_card(memory_gb):
    """One pass over 64 MiB a round, without bounds of speed: what a renter does not miss."""
    model = TinyModel(memory_gb * GB, 3_350.0)
    challenge = challenge_for(ORIGIN, model, [(0, "GPU-0")], DEFAULT.proof, bytes, kind=ProofKind.LEASED)
    p = challenge.parameters
    assert p.memory_bytes == 64 << 20
    assert p.leaves * p.segment_steps == 65_536 * 128
    assert (challenge.kind, challenge.bounds.is_enforced) == ("leased", False)
    full = challenge_for(ORIGIN, model, [(0, "GPU-0")], DEFAULT.proof, bytes)
    assert (full.kind, full.bounds.is_enforced) == ("full", True)
    assert full.parameters == parameters_for(model, DEFAULT.proof)


def test_the_leased_are_proved_small_and_nobody_else():
    """The kind hangs on the lease alone: nothing that a machine says about itself makes its proof small."""
    assert proof_kind("5Miner/a", frozenset({"5Miner/a"})) is ProofKind.LEASED
    assert proof_kind("5Miner/b", frozenset({"5Miner/a"})) is ProofKind.FULL


@pytest.mark.parametrize(
    ("passes", "segments"), [(1, 1), (63, 63), (64, 64), (65, 128), (128, 128), (129, 192)]
)
def test_segments_come_in_units_of_64(passes, segments):
    """From 64 a walker on they are rounded up to whole groups, which a card need not keep; fewer stay as they are."""
    policy = replace(
        DEFAULT.proof, memory_share=1.0, reserve_bytes=0, walkers=1, segment_steps=1_024, round_s=1.0
    )
    model = TinyModel(memory_bytes=1_024 * 128, bandwidth_gb_s=(passes - 0.5) * 1_024 * 128 / GB)
    assert parameters_for(model, policy).segments == segments


@pytest.mark.parametrize("size", sorted({s for m in MODELS for s in m.skus}, key=str))
def test_every_model_proves_in_whole_units_and_in_time(size):
    """A card of any model in the table keeps a sixty-fourth of its leaves, and its round stays far below the deadline."""
    p = parameters_for(size, DEFAULT.proof)
    round_s = p.leaves * p.segment_steps * 128 / (size.bandwidth_gb_s * GB)
    assert p.segments % 64 == 0
    assert DEFAULT.proof.round_s <= round_s < DEFAULT.proof.round_deadline_s / 10


def test_a_tiny_card_still_has_a_product():
    """However small the memory, there are sixteen pages: a tile is sixteen rows high."""
    policy = replace(LOCALNET.proof, memory_scale=1 << 30)
    p = parameters_for(TinyModel(8 * GIB, 300.0), policy)
    assert (p.pages, p.rows, p.segments) == (16, 16, 1)


def test_seed_is_the_documents_hash():
    """The seed hashes every field with its length, integers as u64, texts as UTF-8."""
    card = tiny_challenge(cards=2).cards[1]
    texts = [b"0x" + b"ab" * 32, b"5Validator", b"5Miner", b"machine", b"GPU-1"]
    numbers = [struct.pack("<Q", n) for n in (51, 1_000, 1, 2, 1)]
    parts = [*numbers[:2], *texts, *numbers[2:], card.fresh]
    message = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    assert card.seed == hashlib.blake2s(message, person=b"seed").digest()


@pytest.mark.parametrize(
    "other",
    [
        {"netuid": 52},
        {"block": 1_001},
        {"block_hash": "0x" + "ac" * 32},
        {"validator_hotkey": "5Other"},
        {"miner_hotkey": "5Other"},
        {"executor_id": "other"},
        {"attempt": 2},
    ],
    ids=lambda other: next(iter(other)),
)
def test_seed_binds_its_origin(other):
    """With the same random bytes, another origin gives other seeds."""
    made = [
        challenge_for(origin, TinyModel(), [(0, "GPU-0")], LOCALNET.proof, bytes)
        for origin in (ORIGIN, replace(ORIGIN, **other))
    ]
    assert made[0].cards[0].seed != made[1].cards[0].seed
    assert made[0].cards[0].fresh == made[1].cards[0].fresh


def test_cards_and_challenges_share_no_randomness():
    """Every card has bytes of its own, every challenge a secret of its own."""
    one, other = tiny_challenge(seed=1, cards=3), tiny_challenge(seed=2, cards=3)
    drawn = [c.fresh for c in (*one.cards, *other.cards)] + [one.secret, other.secret]
    assert len(set(drawn)) == 8


def test_go_tells_the_sizes_and_keeps_the_secret():
    """The prover reads GO as it was meant; of the secret it has the promise only."""
    challenge = tiny_challenge(cards=2)
    frame = encode(challenge.go)
    assert parse_request(frame) == challenge.go
    assert challenge.go.commitment == hashlib.blake2s(challenge.secret + bytes(32), person=b"commit").digest()
    assert challenge.secret not in frame
    assert [(c.index, c.uuid, c.seed) for c in challenge.go.cards] == [
        (c.index, c.uuid, c.seed) for c in challenge.cards
    ]


def test_the_bounds_are_those_of_the_model_and_its_history():
    """A challenge holds its cards to what the archive knows of their model, and to the static floor without."""
    known = Population(median_gb_s=0.9, proofs=40, machines=5, miners=3)
    for population in (None, known):
        challenge = challenge_for(
            ORIGIN, TinyModel(), [(0, "GPU-0")], DEFAULT.proof, bytes, population=population
        )
        assert challenge.bounds == bandwidth_bounds(TinyModel(), DEFAULT.proof, population)
