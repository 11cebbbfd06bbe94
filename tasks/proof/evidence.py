"""Archived proofs judged again, and held against everything else that the archive says of them.

    transcript -> (challenge, reply) -> verdict, with no word of V but its clock -> what differs from the archive

Nothing here believes the archive: a transcript may be damaged, edited, of another machine or of another day. What it
can't tell is said in docs/gpu-proof.md: that V's instants are true, and that its nonces and secret were drawn and not
chosen together with the machine.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise

from kernels.protocol import PAGE_LINES, Parameters
from storage.records import CardProof, EpochOutcome, Executor, HostReport, Severity, Verdict
from tasks.errors import BadAnswer, PolicyRefused
from tasks.inspection.models import find, sku
from tasks.policy import DEFAULT, PRESETS, Policy, ShadowPolicy, policy_of
from tasks.proof import transcript
from tasks.proof.challenge import Challenge, Origin, ProofKind, challenge_for
from tasks.proof.conversation import Exchange, Failure, Reply
from tasks.proof.population import Population
from tasks.proof.verdict import verify_shard
from tasks.scoring.grace import is_kept
from tasks.shadow import verdict_in_shadow

MAX_COMPRESSIONS = 1 << 24
"""For one machine, half a second of one core: ten times what 14 cards need. An edited challenge could ask for hours."""
FIGURES = ("memory_bytes", "walk_s", "multiply_s", "bandwidth_gb_s", "operations_tera_s")
FIGURE_TOLERANCE = 1e-9
"""Relative: figures are the same formula over the same instants."""
_BOUND_PHASES = ("walk", "multiply", "open")
"""From the first nonce on, whatever goes wrong is a failure."""


class Standing(StrEnum):
    """What came of judging a machine's proof again."""

    AGREES = "agrees"
    DIFFERS = "differs"
    DAMAGED = "damaged"
    """There is no transcript, or what is there is none."""
    NOTHING = "nothing to verify"
    """The conversation broke off: what is archived is V's word for it, and hangs together."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold: what was found, and what it should be."""

    code: str
    got: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """One machine's proof, judged again."""

    executor_key: str
    standing: Standing
    cards: int
    """Whose arithmetic was done again."""
    differences: tuple[Difference, ...]
    drawn: tuple[tuple[str, bytes], ...] = ()
    """Everything that V says it drew: name and octets."""
    block: tuple[int, str] = (0, "")
    """The block that the seeds bind, and its hash."""
    is_leased: bool = False
    """Whether the proof was a small one: that the machine was leased is V's word."""
    history: tuple[str, Population | None] | None = None
    """Model and size as inspection saw them, and what V said to know of their history."""


@dataclass(frozen=True, slots=True)
class ArchivedEpoch:
    """What the archive says around the transcripts of one epoch."""

    outcome: EpochOutcome
    """Its transcripts are not looked at."""
    policy: Policy | None
    """None when neither this code nor the archive has a policy of that digest: then form, parameters and bounds are not compared."""
    executors: Mapping[str, Executor]
    reports: Mapping[str, HostReport]
    verdicts: Mapping[str, Verdict]
    paid: frozenset[str]
    """Machines with a score above 0 of this epoch."""
    shadow: ShadowPolicy = field(default_factory=ShadowPolicy)
    """What decided nothing, by the archived policy itself."""


def archived_epoch(outcome: EpochOutcome) -> ArchivedEpoch:
    """The epoch with its parts by machine."""
    return ArchivedEpoch(
        outcome=outcome,
        policy=_policy_of(outcome),
        executors={e.key: e for e in outcome.executors},
        reports={r.executor_key: r for r in outcome.reports},
        verdicts={v.executor_key: v for v in outcome.verdicts},
        paid=frozenset(s.executor_key for s in outcome.scores if s.score > 0 and not is_kept(s)),
        shadow=_shadow_of(outcome),
    )


def _policy_of(outcome: EpochOutcome) -> Policy | None:
    """One of ours, or the one that is archived with its epoch, if it has the digest that the epoch names."""
    ours = PRESETS.get(outcome.policy)
    if ours is not None and ours.digest() == outcome.policy_digest:
        return ours
    archived = _archived_policy(outcome)
    return archived if archived is not None and archived.digest() == outcome.policy_digest else None


def _shadow_of(outcome: EpochOutcome) -> ShadowPolicy:
    """Nothing, where the policy is not in the archive, or is of newer code."""
    archived = _archived_policy(outcome)
    return archived.shadow if archived else ShadowPolicy()


def _archived_policy(outcome: EpochOutcome) -> Policy | None:
    if outcome.grounds is None:
        return None
    try:
        return policy_of(outcome.grounds.policy_values)
    except PolicyRefused:
        return None


def judge_again(shard: Sequence[tuple[str, bytes]], epoch: ArchivedEpoch) -> list[Evidence]:
    """Evidence for each (executor key, transcript), in their order; never raises for what a transcript holds.

    Conversations are judged side by side, which fills the lanes: give it about 64 cards at once.
    """
    read = [_Read.of(key, content) for key, content in shard]
    judged = verify_shard([r.talk for r in read if r.talk is not None])
    verdicts = iter(verdict_in_shadow(verdict, epoch.shadow) for verdict in judged)
    return [_evidence(r, next(verdicts) if r.talk is not None else None, epoch) for r in read]


def held_together(evidence: Sequence[Evidence]) -> list[Evidence]:
    """The evidence of a whole epoch, with what shows between machines: drawn twice, listed twice, one block with two hashes."""
    users: defaultdict[bytes, list[tuple[str, str]]] = defaultdict(list)
    hashes: defaultdict[int, set[str]] = defaultdict(set)
    rows = Counter(one.executor_key for one in evidence)
    histories: defaultdict[str, set[Population | None]] = defaultdict(set)
    for one in evidence:
        hashes[one.block[0]].add(one.block[1])
        if one.history is not None:
            histories[one.history[0]].add(one.history[1])
        for name, octets in one.drawn:
            users[octets].append((one.executor_key, name))
    return [
        _with(
            one,
            [
                *_drawn_twice(one, users),
                *_two_hashes(one, hashes),
                *_two_rows(one, rows),
                *_two_histories(one, histories),
            ],
        )
        for one in evidence
    ]


def compressions(parameters: Parameters) -> int:
    """BLAKE2s compressions that one card's verdict needs for lines and columns, nearly all there are."""
    p = parameters
    segments = p.rounds * p.segment_steps * 4 * p.chain_w
    return segments + p.tiles * 4 * PAGE_LINES * (p.chain_w + 1)


# --- one machine -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    key: str
    content: bytes
    talk: tuple[Challenge, Reply | Failure] | None
    damage: Difference | None

    @classmethod
    def of(cls, key: str, content: bytes) -> _Read:
        try:
            challenge, reply = transcript.load(content)
        except BadAnswer as error:
            got = str(error) if content else "no transcript"
            return cls(key, content, None, Difference("TRANSCRIPT_DAMAGED", got, "a transcript"))
        work = len(challenge.cards) * compressions(challenge.parameters)
        if isinstance(reply, Reply) and work > MAX_COMPRESSIONS:
            limit = f"at most {MAX_COMPRESSIONS:,} compressions a machine"
            dear = Difference("TRANSCRIPT_TOO_DEAR", f"{work:,} compressions", limit)
            return cls(key, content, None, dear)
        return cls(key, content, (challenge, reply), None)


def _evidence(read: _Read, found: Verdict | None, epoch: ArchivedEpoch) -> Evidence:
    if read.talk is None or found is None:
        assert read.damage is not None
        return Evidence(read.key, Standing.DAMAGED, 0, (read.damage,))
    challenge, reply = read.talk
    differences = [
        *_origin(read.key, challenge.origin, epoch),
        *_cards(read.key, challenge, epoch),
        *_terms(read.key, challenge, epoch),
        *(_instants(reply) if isinstance(reply, Reply) else _severity(reply)),
        *_verdict(epoch.verdicts.get(read.key), found),
    ]
    if read.key in epoch.paid and not found.proved:
        differences.append(Difference("PAID_WITHOUT_PROOF", found.code, "a proof, or a score of 0"))
    if not transcript.is_canonical(read.content):
        differences.append(
            Difference("TRANSCRIPT_NOT_CANONICAL", "other bytes", "the canonical JSON of what it says")
        )
    is_whole = isinstance(reply, Reply)
    standing = Standing.AGREES if is_whole else Standing.NOTHING
    return Evidence(
        executor_key=read.key,
        standing=Standing.DIFFERS if differences else standing,
        cards=len(challenge.cards) if is_whole else 0,
        differences=tuple(differences),
        drawn=tuple(_drawn(challenge, reply)),
        block=(challenge.origin.block, challenge.origin.block_hash),
        is_leased=challenge.kind is ProofKind.LEASED,
        history=_history(challenge, epoch.reports.get(read.key)),
    )


def _history(challenge: Challenge, report: HostReport | None) -> tuple[str, Population | None] | None:
    if report is None or not report.facts.cards or challenge.kind is not ProofKind.FULL:
        return None
    card = report.facts.cards[0]
    model = find(card.model)
    size = sku(model, card.vram_mib, DEFAULT.inspection.vram_window) if model else None
    return (f"{model.name} {size.nominal_mib} MiB", challenge.bounds.population) if model and size else None


def _origin(key: str, origin: Origin, epoch: ArchivedEpoch) -> Iterator[Difference]:
    """The seeds bind this network, epoch, validator and machine."""
    head, executor = epoch.outcome, epoch.executors.get(key)
    if executor is None:
        yield Difference("EXECUTOR_UNKNOWN", "no row of it", "a row in the epoch's executors")
    else:
        yield from _differing("MINER_DIFFERS", origin.miner_hotkey, executor.miner_hotkey)
        yield from _differing("EXECUTOR_DIFFERS", origin.executor_id, executor.executor_id)
    yield from _differing("NETUID_DIFFERS", origin.netuid, head.netuid)
    yield from _differing("VALIDATOR_DIFFERS", origin.validator_hotkey, head.validator_hotkey)
    # A wave binds the newest block of its begin, so that only the pinned one's hash is known from the epoch's row.
    if origin.block < head.block:
        yield Difference("BLOCK_TOO_OLD", f"block {origin.block}", f"block {head.block} or newer")
    elif origin.block == head.block:
        yield from _differing("BLOCK_HASH_DIFFERS", origin.block_hash, head.block_hash)


def paid_unseen(epoch: ArchivedEpoch, wanted: Callable[[str], bool]) -> Iterator[Evidence]:
    """Machines that were paid and have no verdict at all in the archive."""
    for key in sorted(epoch.paid - epoch.verdicts.keys()):
        if wanted(key):
            lacks = Difference("PAID_WITHOUT_PROOF", "no verdict in the archive", "a proof, or a score of 0")
            yield Evidence(key, Standing.DIFFERS, 0, (lacks,))


def _cards(key: str, challenge: Challenge, epoch: ArchivedEpoch) -> Iterator[Difference]:
    """All cards that inspection saw are proved, and no others."""
    report = epoch.reports.get(key)
    if report is None:
        yield Difference("REPORT_MISSING", "no report of its inspection", "one that lists its cards")
        return
    asked = ", ".join(f"{c.index} {c.uuid}" for c in challenge.cards)
    yield from _differing("CARDS_DIFFER", asked, ", ".join(f"{c.index} {c.uuid}" for c in report.facts.cards))


def _terms(key: str, challenge: Challenge, epoch: ArchivedEpoch) -> Iterator[Difference]:
    """Form, sizes and bounds are those that the epoch's policy has for the model that inspection saw."""
    wanted = _asked_by_policy(challenge, epoch.reports.get(key), epoch.policy)
    if wanted is None:
        return
    yield from _differing("FORM_DIFFERS", challenge.form, wanted.form)
    yield from _differing("PARAMETERS_DIFFER", challenge.parameters, wanted.parameters)
    yield from _differing("BOUNDS_DIFFER", challenge.bounds, wanted.bounds)
    yield from _differing("CREDIT_DIFFERS", challenge.latency_credit_s, wanted.latency_credit_s)


def _asked_by_policy(
    challenge: Challenge, report: HostReport | None, policy: Policy | None
) -> Challenge | None:
    """What the step would have asked of these cards, but for what is drawn; None where policy or model are unknown."""
    if policy is None or report is None or not report.facts.cards:
        return None
    card = report.facts.cards[0]
    model = find(card.model)
    size = sku(model, card.vram_mib, policy.inspection.vram_window) if model else None
    if size is None:
        return None
    # What V knew of the model's history is its word here; that it was one word for all, `held_together` sees.
    return challenge_for(
        challenge.origin,
        size,
        [],
        policy.proof,
        bytes,
        kind=challenge.kind,
        population=challenge.bounds.population,
    )


def _instants(reply: Reply) -> Iterator[Difference]:
    """V's clock is its word, but it must run forward."""
    exchanges = (*reply.rounds, reply.product)
    instants = [0.0, reply.ready_s, *(s for e in exchanges for s in (e.sent_s, e.received_s)), reply.opened_s]
    for before, after in pairwise(instants):
        if after < before:
            yield Difference("CLOCK_RUNS_BACK", f"{after:.6f} s after {before:.6f} s", "instants in order")
            return


def _severity(failure: Failure) -> Iterator[Difference]:
    """From the first nonce on there is no excuse: nobody is spared a failure as a missing verdict."""
    is_bound = failure.phase.startswith(_BOUND_PHASES)
    if is_bound and failure.reason.severity is not Severity.FAIL:
        yield Difference("SEVERITY_WRONG", f"{failure.phase}: {failure.reason.severity}", "fail")


def _verdict(archived: Verdict | None, found: Verdict) -> Iterator[Difference]:
    if archived is None:
        yield Difference("VERDICT_MISSING", found.code, "an archived verdict")
        return
    yield from _differing("CODE_DIFFERS", found.code, archived.code)
    yield from _differing("SEVERITY_DIFFERS", found.severity or "none", archived.severity or "none")
    yield from _differing("BYTES_DIFFER", found.bytes_received, archived.bytes_received)
    if len(found.cards) != len(archived.cards):
        yield Difference("CARDS_DIFFER", f"{len(found.cards)} cards", f"{len(archived.cards)} proofs")
        return
    for mine, theirs in zip(found.cards, archived.cards, strict=True):
        yield from _card(mine, theirs)


def _card(found: CardProof, archived: CardProof) -> Iterator[Difference]:
    at = f"card {found.card_index}: "
    yield from _differing("CARDS_DIFFER", (found.card_index, found.card_uuid), _name(archived))
    yield from _differing("CARD_CODE_DIFFERS", at + found.code, at + archived.code)
    yield from _differing("CARD_CODE_DIFFERS", f"{at}passed {found.passed}", f"{at}passed {archived.passed}")
    for name in FIGURES:
        mine, theirs = getattr(found, name), getattr(archived, name)
        if not math.isclose(mine, theirs, rel_tol=FIGURE_TOLERANCE):
            yield Difference("FIGURE_DIFFERS", f"{at}{name} {mine:.9g}", f"{theirs:.9g}")


def _name(card: CardProof) -> tuple[int, str]:
    return card.card_index, card.card_uuid


def _differing(code: str, got: object, wanted: object) -> Iterator[Difference]:
    if got != wanted:
        yield Difference(code, f"{got}", f"{wanted}")


# --- between machines ------------------------------------------------------------------------------


def _drawn(challenge: Challenge, reply: Reply | Failure) -> Iterator[tuple[str, bytes]]:
    """Every 32 bytes that V must have drawn for this machine alone."""
    yield "secret", challenge.secret
    for card in challenge.cards:
        yield f"fresh bytes of card {card.index}", card.fresh
    if isinstance(reply, Reply):
        exchanges: Iterable[Exchange] = (*reply.rounds, reply.product)
        for number, exchange in enumerate(exchanges):
            yield f"nonce {number}", exchange.nonce


def _drawn_twice(one: Evidence, users: Mapping[bytes, Sequence[tuple[str, str]]]) -> Iterator[Difference]:
    for name, octets in one.drawn:
        other = next((user for user in users[octets] if user != (one.executor_key, name)), None)
        if other is not None:
            got = f"{name} is also {other[1]} of {other[0]}"
            yield Difference("DRAWN_TWICE", got, "fresh bytes for every machine and step")


def _two_hashes(one: Evidence, hashes: Mapping[int, set[str]]) -> Iterator[Difference]:
    block, block_hash = one.block
    if len(hashes[block]) > 1:
        others = ", ".join(sorted(hashes[block] - {block_hash}))
        yield Difference("BLOCK_HASH_DIFFERS", f"block {block}: {block_hash}", f"as elsewhere: {others}")


def _two_rows(one: Evidence, rows: Mapping[str, int]) -> Iterator[Difference]:
    if rows[one.executor_key] > 1:
        yield Difference("VERDICT_TWICE", f"{rows[one.executor_key]} verdicts", "one verdict a machine")


def _two_histories(one: Evidence, histories: Mapping[str, set[Population | None]]) -> Iterator[Difference]:
    if one.history is None or len(histories[one.history[0]]) == 1:
        return
    model, own = one.history
    others = "; ".join(sorted(f"{known}" for known in histories[model] - {own}))
    yield Difference("HISTORY_DIFFERS", f"{model}: {own}", f"as for others of the model: {others}")


def _with(one: Evidence, more: Sequence[Difference]) -> Evidence:
    if not more:
        return one
    standing = Standing.DAMAGED if one.standing is Standing.DAMAGED else Standing.DIFFERS
    return replace(one, standing=standing, differences=(*one.differences, *more))
