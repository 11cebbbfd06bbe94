"""The challenge: everything that V fixes before GO, and what it keeps to itself until OPEN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kernels import protocol
from kernels.messages import CardSeed, Go
from kernels.protocol import LINE_BYTES, PAGE_BYTES, PAGE_LINES, TILE_SIDE, Parameters
from tasks.policy import ProofPolicy
from tasks.proof.bounds import Bounds, Model, bandwidth_bounds
from tasks.proof.population import Population

Draw = Callable[[int], bytes]
"""So many fresh random bytes: `secrets.token_bytes`, or a test's own."""

MIN_PAGES = TILE_SIDE
"""Fewer have no product: a tile is 16 rows high."""
FAST_GB_S = 4_000.0
"""Above it a card needs more walkers to be bound by bandwidth and not by latency."""
SEGMENT_UNIT = 64
"""A card with real kernels keeps of a round only the nodes above groups of 2^k segments of one walker, k at most 6 and
2^k a divisor of their number: it walks the opened walker again for what is below. With an odd number it would hold every
leaf: 79 GB of host memory for eight H100 and four rounds, where nodes above 64 take 1.3 GB. It makes a round a little
longer, by less than one unit."""


class ProofKind(StrEnum):
    """How much of a machine's cards is proved."""

    FULL = "full"
    LEASED = "leased"
    """While a renter has the machine: that the cards are still there, in little memory and without bounds of speed."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the seeds bind beside the card: who proves to whom, when, and which attempt it is."""

    netuid: int
    block: int
    block_hash: str
    validator_hotkey: str
    miner_hotkey: str
    executor_id: str
    attempt: int

    @property
    def executor_key(self) -> str:
        """As `Executor.key`."""
        return f"{self.miner_hotkey}/{self.executor_id}"


@dataclass(frozen=True, slots=True)
class CardChallenge:
    """One card of the machine and its seed."""

    index: int
    uuid: str
    fresh: bytes
    """32 random bytes, drawn for this card and attempt."""
    seed: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """All that a verdict needs besides the reply."""

    origin: Origin
    form: str
    """`cuda`, or `cpu` for a simulated card."""
    parameters: Parameters
    cards: tuple[CardChallenge, ...]
    secret: bytes
    """s: decides what is opened; revealed at OPEN."""
    bounds: Bounds
    latency_credit_s: float
    kind: ProofKind = ProofKind.FULL

    @property
    def commitment(self) -> bytes:
        """The promise of `secret` in GO."""
        return protocol.commitment(self.secret)

    @property
    def go(self) -> Go:
        """What the executor is told of it."""
        cards = tuple(CardSeed(card.index, card.uuid, card.seed) for card in self.cards)
        return Go(self.form, self.parameters, self.commitment, cards)


def proof_kind(executor_key: str, leased_keys: frozenset[str]) -> ProofKind:
    """A leased machine is spared the full proof; when its lease begins or ends it is not among the leased."""
    return ProofKind.LEASED if executor_key in leased_keys else ProofKind.FULL


def challenge_for(  # noqa: PLR0917  who, what, how and chance
    origin: Origin,
    model: Model,
    cards: Sequence[tuple[int, str]],
    policy: ProofPolicy,
    draw: Draw,
    kind: ProofKind = ProofKind.FULL,
    population: Population | None = None,
) -> Challenge:
    """The challenge for a machine's cards, given as (index, UUID), all of one model, whose history is `population`."""
    bounds = bandwidth_bounds(model, policy, population)
    return Challenge(
        origin=origin,
        form=policy.form,
        parameters=parameters_for(model, policy, kind),
        cards=tuple(_card(origin, index, uuid, len(cards), draw(32)) for index, uuid in cards),
        secret=draw(32),
        bounds=bounds if kind is ProofKind.FULL else replace(bounds, is_enforced=False),
        latency_credit_s=policy.latency_credit_s,
        kind=kind,
    )


def parameters_for(model: Model, policy: ProofPolicy, kind: ProofKind = ProofKind.FULL) -> Parameters:
    """The sizes of the proof for a model: |D|, the walk, the product."""
    pages = pages_for(model, policy, kind)
    lines = pages * PAGE_LINES
    walkers = policy.fast_walkers if model.bandwidth_gb_s > FAST_GB_S else policy.walkers
    # A renter's card is not kept busy for a measurement that nobody looks at.
    round_s = policy.round_s if kind is ProofKind.FULL else 0.0
    passes = max(1, math.ceil(round_s * model.bandwidth_gb_s * 1e9 / (lines * LINE_BYTES)))
    rows = min(pages, max(TILE_SIDE, int(pages * policy.multiply_row_share)))
    return Parameters(
        lines=lines,
        chain_w=policy.chain_w,
        rounds=policy.rounds,
        walkers=walkers,
        segments=_whole_units(math.ceil(passes * lines / (walkers * policy.segment_steps))),
        segment_steps=policy.segment_steps,
        rows=rows // TILE_SIDE * TILE_SIDE,
        columns=policy.multiply_columns,
        tiles=policy.opened_tiles,
    )


def pages_for(model: Model, policy: ProofPolicy, kind: ProofKind = ProofKind.FULL) -> int:
    """Pages of 4,096 bytes in D: min(share x M, M - reserve), or a leased machine's, over the scale, rounded down."""
    memory = min(policy.memory_share * model.memory_bytes, model.memory_bytes - policy.reserve_bytes)
    if kind is ProofKind.LEASED:
        memory = min(memory, policy.leased_proof_bytes)
    return max(MIN_PAGES, int(memory / policy.memory_scale) // PAGE_BYTES)


def _whole_units(segments: int) -> int:
    """Up to whole units, where there is at least one of them: a tiny proof stays tiny."""
    return segments if segments < SEGMENT_UNIT else -(-segments // SEGMENT_UNIT) * SEGMENT_UNIT


def seed_of(origin: Origin, index: int, uuid: str, card_count: int, fresh: bytes) -> bytes:
    """The card's seed, 32 bytes: binds network, block, both hotkeys, machine, card, attempt and fresh bytes."""
    return protocol.seed(
        origin.netuid,
        origin.block,
        origin.block_hash,
        origin.validator_hotkey,
        origin.miner_hotkey,
        origin.executor_id,
        uuid,
        index,
        card_count,
        origin.attempt,
        fresh,
    )


def _card(origin: Origin, index: int, uuid: str, card_count: int, fresh: bytes) -> CardChallenge:
    return CardChallenge(index, uuid, fresh, seed_of(origin, index, uuid, card_count, fresh))
