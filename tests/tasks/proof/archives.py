"""Archived epochs whose proofs are real conversations with the CPU prover, under the policy of the local subnet."""

from __future__ import annotations

import json
import random
from dataclasses import replace

from storage.records import Card, EpochOutcome, HostFacts, HostReport, Severity, Verdict
from tasks.inspection.models import find, sku
from tasks.policy import LOCALNET
from tasks.proof.challenge import Challenge, Origin, challenge_for
from tasks.proof.conversation import Failure, Reply
from tasks.proof.reasons import reason
from tasks.proof.verdict import verify_shard
from tests.cheats.rig import Serve, hanging_up_at, honest, talk
from tests.storage.outcomes import executor, small_outcome

MODEL, VRAM_MIB = "NVIDIA GeForce RTX 3050", 8_192
HASH = "0x" + "ab" * 32
Talk = tuple[Challenge, Reply | Failure]


def challenge_to(key: str, epoch: int = 7, cards: int = 1, seed: int = 0) -> Challenge:
    """What the policy `localnet` asks of a machine with so many of the smallest cards."""
    miner, _, name = key.partition("/")
    origin = Origin(3, epoch * 50 + 2, HASH, "5Validator", miner, name, 1)
    model = find(MODEL)
    assert model is not None
    size = sku(model, VRAM_MIB, LOCALNET.inspection.vram_window)
    assert size is not None
    named = [(index, f"GPU-{miner}-{name}-{index}") for index in range(cards)]
    return challenge_for(origin, size, named, LOCALNET.proof, random.Random(f"{key} {seed}").randbytes)


def talk_to(key: str, serve: Serve = honest, cards: int = 1, epoch: int = 7) -> Talk:
    """A whole conversation with a machine."""
    challenge = challenge_to(key, epoch, cards)
    return challenge, talk(serve, challenge, LOCALNET.proof, seed=random.Random(key).randrange(1 << 30))


def never_begun(key: str) -> Talk:
    """A machine that was lost before the first nonce."""
    why = reason("PROVER_LOST", Severity.NO_VERDICT, "start: gone", "a prover that starts")
    return challenge_to(key), Failure(why, "start", None, 0)


def some_talks() -> list[Talk]:
    """Two machines that are honest, one that hangs up, one that was never there."""
    return [
        talk_to("5Alice/m-0", cards=2),
        talk_to("5Alice/m-1"),
        talk_to("5Bob/m-0", hanging_up_at(3)),
        never_begun("5Bob/m-1"),
    ]


def archived(talks: list[Talk], epoch: int = 7) -> EpochOutcome:
    """The outcome of an epoch with these conversations, as the steps would have left it."""
    verdicts = tuple(verify_shard(talks))
    machines = [
        executor(int(challenge.origin.executor_id.removeprefix("m-")), challenge.origin.miner_hotkey)
        for challenge, _ in talks
    ]
    proved = {v.executor_key for v in verdicts if v.proved}
    sample = small_outcome(epoch)
    return replace(
        sample,
        block=epoch * 50 + 1,
        block_hash="0x" + "cd" * 32,
        policy=LOCALNET.name,
        policy_digest=LOCALNET.digest(),
        executors=tuple(machines),
        replies=(),
        reports=tuple(_report(challenge) for challenge, _ in talks),
        verdicts=verdicts,
        scores=tuple(
            replace(sample.scores[0], executor_key=m.key, score=0.3 if m.key in proved else 0.0)
            for m in machines
        ),
    )


def _report(challenge: Challenge) -> HostReport:
    cards = tuple(Card(c.index, c.uuid, MODEL, VRAM_MIB, "580.1", *[None] * 8) for c in challenge.cards)
    return HostReport(challenge.origin.executor_key, HostFacts(cards=cards), (), None, (), 0.1, 0.2)


def with_verdict(outcome: EpochOutcome, key: str, **changes: object) -> EpochOutcome:
    """The outcome with one machine's archived verdict changed."""
    return replace(
        outcome,
        verdicts=tuple(replace(v, **changes) if v.executor_key == key else v for v in outcome.verdicts),
    )


def verdict_of(outcome: EpochOutcome, key: str) -> Verdict:
    """One machine's archived verdict."""
    return next(v for v in outcome.verdicts if v.executor_key == key)


def edited(outcome: EpochOutcome, key: str, *edits: tuple[tuple[str | int, ...], object]) -> EpochOutcome:
    """The outcome with one machine's transcript changed at these paths, and written canonically again."""
    document = json.loads(verdict_of(outcome, key).transcript)
    for path, value in edits:
        at = document
        for step in path[:-1]:
            at = at[step]
        assert at[path[-1]] != value
        at[path[-1]] = value
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return with_verdict(outcome, key, transcript=content)
