from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tasks.proof.challenge import CardChallenge, Challenge, seed_of
from tasks.proof.verdict import verify_shard
from tests.cheats.rig import Serve, honest, talk, tiny_challenge, with_frames

OTHERS: dict[str, dict[str, object]] = {
    "another network": {"netuid": 52},
    "another block": {"block": 1_001},
    "another block's hash": {"block_hash": "0x" + "ac" * 32},
    "another validator": {"validator_hotkey": "5Another"},
    "another miner": {"miner_hotkey": "5Another"},
    "another machine": {"executor_id": "another"},
    "another attempt": {"attempt": 2},
}


def _recorded() -> tuple[Challenge, list[bytes]]:
    """An honest proof and the frames that it was made of."""
    challenge, frames = tiny_challenge(), []

    def record(_: int, frame: bytes) -> list[bytes]:
        frames.append(frame)
        return [frame]

    assert _code(with_frames(record), challenge) == "PROVED"
    return challenge, frames


def _code(serve: Serve, challenge: Challenge) -> str:
    """Secret, nonces and fresh bytes are drawn alike each time: only what a test changes is different."""
    return verify_shard([(challenge, talk(serve, challenge))])[0].code


def _for(challenge: Challenge, card: CardChallenge, **origin: object) -> Challenge:
    """The same challenge, every byte that is drawn included, for another origin or card."""
    other = replace(challenge.origin, **origin)
    seed = seed_of(other, card.index, card.uuid, 1, card.fresh)
    return replace(challenge, origin=other, cards=(replace(card, seed=seed),))


def test_the_same_answers_to_the_same_challenge_are_good():
    """Nothing but the challenge decides: the recorded frames are a proof of the very challenge that they answer."""
    challenge, frames = _recorded()
    assert _code(with_frames(lambda n, _: [frames[n]]), challenge) == "PROVED"


@pytest.mark.parametrize("name", OTHERS)
def test_answers_for_another_origin_are_caught(name):
    """The seed binds network, block, both hotkeys, machine and attempt: a proof of one is none of another."""
    challenge, frames = _recorded()
    other = _for(challenge, challenge.cards[0], **OTHERS[name])
    assert _code(honest, other) == "PROVED"
    assert _code(with_frames(lambda n, _: [frames[n]]), other) == "WALK_PATH_WRONG"


@pytest.mark.parametrize(
    "changes",
    [{"uuid": "GPU-another"}, {"index": 1}, {"fresh": random.Random(9).randbytes(32)}],
    ids=["uuid", "index", "fresh"],
)
def test_answers_for_another_card_are_caught(changes):
    """And it binds the card, its place in the machine, and bytes that were drawn for this proof alone."""
    challenge, frames = _recorded()
    other = _for(challenge, replace(challenge.cards[0], **changes))
    assert _code(honest, other) == "PROVED"
    assert _code(with_frames(lambda n, _: [frames[n]]), other) == "WALK_PATH_WRONG"
