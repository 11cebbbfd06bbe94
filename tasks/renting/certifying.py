"""A lease's certificate judged again by whoever has it, without the market: what was claimed, and what the proof says. Pure.

    claim (cards, machine, code) + transcript -> verdict by our own arithmetic -> objections; none: it holds

What a transcript can't tell stands in docs/gpu-proof.md: that the validator's instants are true, and that its secrets
were drawn and not chosen together with the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2s

from storage.records import CardProof, Verdict
from tasks.errors import BadAnswer
from tasks.proof import transcript
from tasks.proof.challenge import Challenge
from tasks.proof.conversation import Failure, Reply
from tasks.proof.evidence import MAX_COMPRESSIONS, compressions
from tasks.proof.verdict import verify_shard


@dataclass(frozen=True, slots=True)
class Claim:
    """What a certificate says of one proof."""

    executor_key: str
    card_uuids: tuple[str, ...]
    """Of the lease."""
    code: str
    """PROVED, or why not."""
    transcript: bytes
    digest: str
    """BLAKE2s-256 of the transcript, hex."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of judging a claim again."""

    objections: tuple[str, ...]
    """What does not hold, in words; none: all of it does."""
    code: str = ""
    """By our own arithmetic; empty: there is nothing that could be judged."""
    form: str = ""
    """`cuda`, or `cpu` for a simulated card."""
    kind: str = ""
    """`full`, or `leased` for the small proof of cards in use."""
    block: int = 0
    """Newer than the block of this number when it was begun."""
    cards: tuple[CardProof, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the certificate is what it says."""
        return not self.objections


def judge(claim: Claim) -> Judged:
    """Judge a claim again; never raises for what it holds. It takes up to half a second of one core."""
    try:
        challenge, reply = transcript.load(claim.transcript)
    except BadAnswer as error:
        return Judged((f"the transcript is none: {error}",))
    if len(challenge.cards) * compressions(challenge.parameters) > MAX_COMPRESSIONS:
        return Judged(("the transcript asks for more arithmetic than any machine's proof takes",))
    verdict = verify_shard([(challenge, reply)])[0]
    return Judged(
        objections=tuple(_objections(claim, challenge, reply, verdict)),
        code=verdict.code,
        form=challenge.form,
        kind=challenge.kind.value,
        block=challenge.origin.block,
        cards=verdict.cards,
    )


def _objections(
    claim: Claim, challenge: Challenge, reply: Reply | Failure, verdict: Verdict
) -> Iterator[str]:
    if blake2s(claim.transcript).hexdigest() != claim.digest:
        yield "the transcript's digest is another"
    if not transcript.is_canonical(claim.transcript):
        yield "the transcript is not written as transcripts are"
    if challenge.origin.executor_key != claim.executor_key:
        yield f"the proof is of {challenge.origin.executor_key}, not of {claim.executor_key}"
    yield from _cards(claim, [card.uuid for card in challenge.cards])
    if isinstance(reply, Failure):
        if claim.code == "PROVED":
            yield "it says PROVED, and the conversation broke off"
    elif verdict.code != claim.code:
        yield f"it says {claim.code}, our arithmetic says {verdict.code}"


def _cards(claim: Claim, proved: Sequence[str]) -> Iterator[str]:
    """The proof is of the very cards: none missing, none twice."""
    if len(set(proved)) != len(proved):
        yield "the proof lists a card twice"
    missing = sorted(set(claim.card_uuids) - set(proved))
    if missing:
        yield f"the proof is not of card {missing[0]}"
    if not claim.card_uuids:
        yield "the certificate names no card"
