"""The verdict: all conversations of a shard judged together, so that their arithmetic fills the lanes.

One failed card fails its executor; every card keeps its own figures and its own first finding.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernels.protocol import LINE_BYTES, PAGE_BYTES
from storage.records import CardProof, Reason, Severity, Verdict
from tasks.proof import transcript
from tasks.proof.challenge import CardChallenge, Challenge
from tasks.proof.checks import Finding, findings
from tasks.proof.conversation import Exchange, Failure, Reply
from tasks.proof.opening import PlacedCard, PlaceRule, drawn_places, placed_card
from tasks.proof.reasons import MODEL_UNPROVEN, NOT_TRIED, PROVED, reason


def verify_shard(
    shard: Sequence[tuple[Challenge, Reply | Failure]], places: PlaceRule = drawn_places
) -> list[Verdict]:
    """A verdict for each conversation, in their order; never raises for what an executor sent."""
    cards: list[PlacedCard] = []
    numbers: list[range] = []
    for challenge, reply in shard:
        first = len(cards)
        if isinstance(reply, Reply):
            cards += [
                placed_card(first + at, challenge, reply, at, places(challenge, reply, at))
                for at in range(len(challenge.cards))
            ]
        numbers.append(range(first, len(cards)))
    found = findings(cards)
    return [
        _judged(challenge, reply, [found.get(n) for n in mine])
        if isinstance(reply, Reply)
        else _failed(challenge, reply)
        for (challenge, reply), mine in zip(shard, numbers, strict=True)
    ]


def verify_transcript(content: bytes) -> Verdict:
    """Judge an archived conversation again: everything but the clock, which is V's word; `BadAnswer` when it is none."""
    return verify_shard([transcript.load(content)])[0]


def proved_bandwidth_gb_s(challenge: Challenge, reply: Reply) -> float:
    """10^9 bytes a second that each card read at random, over all rounds."""
    p = challenge.parameters
    read_bytes = p.rounds * p.walkers * p.segments * p.segment_steps * LINE_BYTES
    return read_bytes / walk_s(challenge, reply) / 1e9


def proved_operations_tera_s(challenge: Challenge, reply: Reply) -> float:
    """10^12 operations a second, a multiply-add counted as two."""
    p = challenge.parameters
    return 2 * PAGE_BYTES * p.rows * p.columns / _credited_s(challenge, reply.product) / 1e12


def walk_s(challenge: Challenge, reply: Reply) -> float:
    """Seconds of all rounds by V's clock, less the credit for the way."""
    return sum(_credited_s(challenge, exchange) for exchange in reply.rounds)


def _credited_s(challenge: Challenge, exchange: Exchange) -> float:
    elapsed_s = max(exchange.elapsed_s, 1e-6)
    # Never more than half: a credit must not turn a quick answer into an endless speed.
    return elapsed_s - min(challenge.latency_credit_s, elapsed_s / 2)


def _judged(challenge: Challenge, reply: Reply, found: Sequence[Finding | None]) -> Verdict:
    out_of_bounds = _out_of_bounds(challenge, reply)
    proofs, reasons = [], []
    for card, first_found in zip(challenge.cards, found, strict=True):
        finding = first_found or out_of_bounds
        proofs.append(_card_proof(challenge, reply, card, finding))
        if finding is not None:
            reasons.append(_reason(card, finding))
    if challenge.bounds.is_unproven:
        reasons.append(_unproven(challenge))
    return _verdict(challenge, reply, tuple(proofs), tuple(reasons))


def _out_of_bounds(challenge: Challenge, reply: Reply) -> Finding | None:
    bounds, got = challenge.bounds, proved_bandwidth_gb_s(challenge, reply)
    if bounds.is_enforced and got < bounds.min_gb_s:
        return Finding("BANDWIDTH_TOO_LOW", f"{got:.0f} GB/s", f"at least {bounds.min_gb_s:.0f} GB/s")
    if bounds.is_enforced and got > bounds.max_gb_s:
        return Finding("BANDWIDTH_IMPOSSIBLE", f"{got:.0f} GB/s", f"at most {bounds.max_gb_s:.0f} GB/s")
    return None


def _card_proof(
    challenge: Challenge, reply: Reply, card: CardChallenge, finding: Finding | None
) -> CardProof:
    return CardProof(
        card_uuid=card.uuid,
        card_index=card.index,
        passed=finding is None,
        code=PROVED if finding is None else finding.code,
        detail="" if finding is None else f"{finding.got}, wanted {finding.wanted}",
        memory_bytes=challenge.parameters.memory_bytes,
        walk_s=walk_s(challenge, reply),
        multiply_s=_credited_s(challenge, reply.product),
        bandwidth_gb_s=proved_bandwidth_gb_s(challenge, reply),
        operations_tera_s=proved_operations_tera_s(challenge, reply),
    )


def _reason(card: CardChallenge, finding: Finding) -> Reason:
    return reason(finding.code, Severity.FAIL, f"card {card.index}, {finding.got}", finding.wanted)


def _unproven(challenge: Challenge) -> Reason:
    bounds = challenge.bounds
    known = bounds.population
    got = (
        f"{known.proofs} proofs of {known.machines} machines of {known.miners} miners"
        if known
        else "no proof"
    )
    wanted = f"{bounds.wanted_machines} machines of {bounds.wanted_miners} miners that have proved the model"
    return reason(MODEL_UNPROVEN, Severity.WARN, got, wanted)


def _failed(challenge: Challenge, failure: Failure) -> Verdict:
    named = failure.card if failure.card in {card.index for card in challenge.cards} else None
    proofs = tuple(
        _unproved(card, failure.reason) if named in {None, card.index} else _not_tried(card)
        for card in challenge.cards
    )
    return _verdict(challenge, failure, proofs, (failure.reason,))


def _unproved(card: CardChallenge, why: Reason) -> CardProof:
    return CardProof(card.uuid, card.index, False, why.code, why.got, 0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003  passed


def _not_tried(card: CardChallenge) -> CardProof:
    return CardProof(card.uuid, card.index, False, NOT_TRIED, "", 0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003  passed


def _verdict(
    challenge: Challenge, reply: Reply | Failure, cards: tuple[CardProof, ...], reasons: tuple[Reason, ...]
) -> Verdict:
    against = next((r for r in reasons if r.decides), None)
    return Verdict(
        executor_key=challenge.origin.executor_key,
        code=against.code if against else PROVED,
        severity=against.severity if against else None,
        cards=cards,
        reasons=reasons,
        transcript=transcript.dump(challenge, reply),
        bytes_received=reply.bytes_received,
    )
