"""Archived proofs judged again: honest ones agree, and whatever was changed afterwards shows."""

import base64
import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import Grounds, Reason, Severity
from tasks.inspection.models import MODELS, find
from tasks.policy import DEFAULT, LOCALNET, ShadowPolicy
from tasks.proof import transcript
from tasks.proof.bounds import Bounds, bandwidth_bounds
from tasks.proof.challenge import Origin, ProofKind, challenge_for, parameters_for, seed_of
from tasks.proof.evidence import (
    MAX_COMPRESSIONS,
    Standing,
    archived_epoch,
    compressions,
    held_together,
    judge_again,
)
from tasks.proof.population import Population
from tasks.shadow import verdict_in_shadow
from tests.bench.lanes import verdict_compressions
from tests.cheats.rig import honest, talk
from tests.storage.outcomes import NOON
from tests.tasks.proof.archives import MODEL, archived, edited, some_talks, verdict_of, with_verdict

ONE, TWO, HUNG, LOST = "5Alice/m-0", "5Alice/m-1", "5Bob/m-0", "5Bob/m-1"
OTHER = base64.b64encode(bytes(32)).decode()


@pytest.fixture(scope="module")
def talks():
    return some_talks()


@pytest.fixture(scope="module")
def outcome(talks):
    return archived(talks)


def judged(outcome):
    """Evidence by machine."""
    rows = [(v.executor_key, v.transcript) for v in outcome.verdicts]
    return {e.executor_key: e for e in held_together(judge_again(rows, archived_epoch(outcome)))}


def codes(evidence):
    return {difference.code for difference in evidence.differences}


def test_honest_epoch_agrees_with_itself(outcome):
    """Whole proofs agree, and those that broke off are counted apart: there is nothing to verify."""

    found = judged(outcome)

    assert {key: e.standing for key, e in found.items()} == {
        ONE: Standing.AGREES,
        TWO: Standing.AGREES,
        HUNG: Standing.NOTHING,
        LOST: Standing.NOTHING,
    }
    assert [e.cards for e in found.values()] == [2, 1, 0, 0]
    assert not any(e.differences for e in found.values())
    assert archived_epoch(outcome).policy == LOCALNET


EDITS = {
    "a changed root": ((("reply", "rounds", 2, "roots", 0), OTHER), {"CODE_DIFFERS", "CARD_CODE_DIFFERS"}),
    "a changed secret": ((("challenge", "secret"), OTHER), {"CODE_DIFFERS", "CARD_CODE_DIFFERS"}),
    "a changed nonce": ((("reply", "product", "nonce"), OTHER), {"CODE_DIFFERS", "CARD_CODE_DIFFERS"}),
    "a changed instant": ((("reply", "rounds", 3, "received_s"), 5.0), {"FIGURE_DIFFERS", "CLOCK_RUNS_BACK"}),
    "a changed last instant": ((("reply", "opened_s"), 1e6), set()),
    "other bounds": ((("challenge", "bounds", "min_gb_s"), 1.0), {"BOUNDS_DIFFER"}),
    "another credit": ((("challenge", "latency_credit_s"), 0.02), {"CREDIT_DIFFERS"}),
    "another form": ((("challenge", "form"), "cuda"), {"FORM_DIFFERS"}),
    "fewer bytes": ((("reply", "bytes_received"), 1), {"BYTES_DIFFER"}),
    "smaller memory": (
        (("challenge", "parameters", "lines"), 32),
        {"PARAMETERS_DIFFER", "CODE_DIFFERS", "FIGURE_DIFFERS"},
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_transcript_differs(outcome, name):
    """Whatever is changed in a transcript shows in its own machine's evidence and in nobody else's."""
    edit, wanted = EDITS[name]
    document = edited(outcome, TWO, edit)
    found = judged(document)
    if name == "a changed last instant":
        assert found[TWO].standing is Standing.AGREES, "only V's word, and nothing is derived from it"
        return
    assert found[TWO].standing in {Standing.DIFFERS, Standing.DAMAGED}
    assert wanted <= codes(found[TWO]) or codes(found[TWO]) == {"TRANSCRIPT_DAMAGED"}
    assert found[ONE].standing is Standing.AGREES


def _slower(exchange):
    return replace(exchange, sent_s=2 * exchange.sent_s, received_s=2 * exchange.received_s)


def test_only_the_clock_is_believed(talks):
    """With other instants, and an archive that says the same, nothing differs; under enforced bounds the verdict follows them."""
    challenge, reply = talks[1]
    slower = replace(
        reply,
        ready_s=2 * reply.ready_s,
        rounds=tuple(_slower(e) for e in reply.rounds),
        product=_slower(reply.product),
        opened_s=2 * reply.opened_s,
    )
    assert judged(archived([(challenge, slower)]))[TWO].standing is Standing.AGREES

    bounds = Bounds(0.0, 1e-9, is_enforced=True)
    outcome = archived([(replace(challenge, bounds=bounds), reply)])
    assert verdict_of(outcome, TWO).code == "BANDWIDTH_IMPOSSIBLE"
    faked = with_verdict(archived([talks[1]]), TWO, transcript=verdict_of(outcome, TWO).transcript)
    assert {"CODE_DIFFERS", "BOUNDS_DIFFER", "PAID_WITHOUT_PROOF"} <= codes(judged(faked)[TWO])


DAMAGE = {
    "nothing": b"",
    "truncated": lambda content: content[: len(content) // 2],
    "not JSON": b"\x00\xff not JSON",
    "another JSON": b'{"version":1}',
    "deep": b"[" * 200_000,
    "a huge number": lambda content: content.replace(b'"latency_credit_s":0.05', b'"latency_credit_s":1e999'),
    "a huger number": lambda content: content.replace(
        b'"latency_credit_s":0.05', b'"latency_credit_s":1' + b"0" * 400
    ),
    "a block below zero": lambda content: content.replace(b'"block":352', b'"block":-1'),
    "a lone surrogate": lambda content: content.replace(b'"5Validator"', b'"\\ud800"'),
    "cards that are none": lambda content: content.replace(b'"cards":[', b'"cards":[null,'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_transcript_is_said_and_never_a_crash(outcome, name):
    """What is no transcript of this machine's proof is damage, and costs no other machine its evidence."""
    damage, content = DAMAGE[name], verdict_of(outcome, TWO).transcript
    broken = damage(content) if callable(damage) else damage
    assert broken != content

    found = judged(with_verdict(outcome, TWO, transcript=broken))

    assert found[TWO].standing is Standing.DAMAGED
    assert codes(found[TWO]) == {"TRANSCRIPT_DAMAGED"}
    assert found[ONE].standing is Standing.AGREES


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_flipped_byte_crashes_or_passes(outcome, data):
    """One byte of a transcript changed: another standing, or a change in what is the validator's word alone."""
    content = bytearray(verdict_of(outcome, TWO).transcript)
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[at]))
    found = judged(with_verdict(outcome, TWO, transcript=bytes(content)))[TWO]
    if found.standing is Standing.AGREES:
        (challenge, reply), (wanted, said) = (
            transcript.load(bytes(content)),
            transcript.load(verdict_of(outcome, TWO).transcript),
        )
        assert replace(reply, ready_s=0.0, opened_s=0.0) == replace(said, ready_s=0.0, opened_s=0.0)
        assert replace(challenge, origin=wanted.origin) == wanted


def test_transcripts_of_older_code_agree_too(outcome):
    """Fields that did not exist when it was written are taken for their defaults, and the JSON is canonical all the same."""
    document = json.loads(verdict_of(outcome, TWO).transcript)
    del document["challenge"]["kind"]
    for later in ("source", "population", "wanted_miners", "wanted_machines"):
        del document["challenge"]["bounds"][later]
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    older = replace(with_verdict(outcome, TWO, transcript=content), policy_digest="00ff")
    assert judged(older)[TWO].standing is Standing.AGREES


@pytest.mark.parametrize("loose", [{"indent": 1}, {"sort_keys": False}])
def test_there_is_one_way_to_write_a_transcript(outcome, loose):
    """The same values in other bytes differ, so that a transcript has one digest."""
    document = json.loads(verdict_of(outcome, TWO).transcript)
    turned = dict(reversed(document.items()))
    content = json.dumps(turned, **({"sort_keys": True, "separators": (",", ":")} | loose)).encode()
    assert codes(judged(with_verdict(outcome, TWO, transcript=content))[TWO]) == {"TRANSCRIPT_NOT_CANONICAL"}


def test_a_machine_can_not_use_anothers_transcript(outcome):
    """Swapped transcripts differ in machine and cards, and what was drawn for one shows twice when it is kept by both."""
    swapped = with_verdict(outcome, TWO, transcript=verdict_of(outcome, ONE).transcript)
    found = judged(swapped)
    assert {"EXECUTOR_DIFFERS", "CARDS_DIFFER", "DRAWN_TWICE"} <= codes(found[TWO])
    assert codes(found[ONE]) == {"DRAWN_TWICE"}


def test_a_replay_under_another_name_is_seen(talks):
    """Seeds made new over the same fresh bytes, secret and nonces: what must be fresh is not."""
    challenge, reply = talks[1]
    origin = replace(challenge.origin, executor_id="m-2")
    card = challenge.cards[0]
    seed = seed_of(origin, card.index, card.uuid, 1, card.fresh)
    copy = replace(challenge, origin=origin, cards=(replace(card, seed=seed),))
    found = judged(archived([talks[1], (copy, reply)]))
    assert codes(found["5Alice/m-2"]) == codes(found[TWO]) == {"DRAWN_TWICE"}


def test_seeds_bind_the_archived_epoch(outcome):
    """Another network, validator or an older block than the epoch's makes every machine differ."""
    for change, code in [
        ({"netuid": 4}, "NETUID_DIFFERS"),
        ({"validator_hotkey": "5Other"}, "VALIDATOR_DIFFERS"),
        ({"block": 400}, "BLOCK_TOO_OLD"),
        ({"block": 352}, "BLOCK_HASH_DIFFERS"),
    ]:
        found = judged(replace(outcome, **change))
        assert all(codes(e) == {code} for e in found.values()), code


def test_one_block_has_one_hash(talks, outcome):
    """Two machines that bind two hashes of one block were not asked on the same chain."""
    challenge, reply = talks[3]
    origin = replace(challenge.origin, block_hash="0x" + "00" * 32)
    card = challenge.cards[0]
    card = replace(card, seed=seed_of(origin, card.index, card.uuid, 1, card.fresh))
    found = judged(archived([talks[0], (replace(challenge, origin=origin, cards=(card,)), reply)]))
    assert codes(found[ONE]) == codes(found[LOST]) == {"BLOCK_HASH_DIFFERS"}


def test_all_cards_of_the_machine_are_proved(talks, outcome):
    """A challenge for one card of a machine with two favours its miner."""
    reports = (replace(outcome.reports[1], executor_key=ONE), *outcome.reports[1:])
    assert codes(judged(replace(outcome, reports=reports))[ONE]) == {"CARDS_DIFFER"}


def test_sizes_are_those_of_the_policy(outcome):
    """A model that inspection saw larger than what was proved differs; without a known policy nothing is compared."""
    facts = outcome.reports[1].facts
    bigger = replace(facts, cards=(replace(facts.cards[0], model="NVIDIA L4", vram_mib=23_034),))
    reports = tuple(replace(r, facts=bigger) if r.executor_key == TWO else r for r in outcome.reports)
    larger = replace(outcome, reports=reports)
    assert codes(judged(larger)[TWO]) == {"PARAMETERS_DIFFER", "BOUNDS_DIFFER"}
    assert judged(replace(larger, policy_digest="00ff"))[TWO].standing is Standing.AGREES


def test_one_history_of_a_model_for_all_its_machines(talks):
    """Bounds from history agree with their own population; two machines of one model may not be held to two."""
    known, other = Population(300.0, 90, 9, 5), Population(200.0, 90, 9, 5)

    def held_to(talk, population):
        challenge, reply = talk
        bounds = bandwidth_bounds(find(MODEL).skus[0], LOCALNET.proof, population)
        return replace(challenge, bounds=bounds), reply

    alike = judged(archived([held_to(talks[0], known), held_to(talks[1], known)]))
    apart = judged(archived([held_to(talks[0], known), held_to(talks[1], other)]))
    assert {e.standing for e in alike.values()} == {Standing.AGREES}
    assert [codes(e) for e in apart.values()] == [{"HISTORY_DIFFERS"}] * 2


def test_a_leased_machines_small_proof_is_told_apart():
    """It agrees with what the policy asks of the leased, and is counted: that there was a lease is the validator's word."""
    miner, _, name = TWO.partition("/")
    origin = Origin(3, 352, "0x" + "ab" * 32, "5Validator", miner, name, 1)
    policy = LOCALNET.proof
    drawn = random.Random(5).randbytes
    named = [(0, "GPU-5Alice-m-1-0")]
    asked = challenge_for(origin, find(MODEL).skus[0], named, policy, drawn, kind=ProofKind.LEASED)
    found = judged(archived([(asked, talk(honest, asked, policy))]))[TWO]
    assert (found.standing, found.is_leased) == (Standing.AGREES, True)


def test_archived_figures_and_codes_are_held_against_the_proof(outcome):
    """A verdict that says more than its transcript: of each kind of claim, the one that is false is named."""
    verdict = verdict_of(outcome, TWO)
    card = verdict.cards[0]
    for change, wanted in [
        ({"cards": (replace(card, bandwidth_gb_s=card.bandwidth_gb_s * 1.001),)}, {"FIGURE_DIFFERS"}),
        ({"cards": (replace(card, memory_bytes=card.memory_bytes * 2),)}, {"FIGURE_DIFFERS"}),
        ({"cards": (replace(card, passed=False, code="WALK_STATE_WRONG"),)}, {"CARD_CODE_DIFFERS"}),
        ({"cards": (card, card)}, {"CARDS_DIFFER"}),
        ({"code": "WALK_STATE_WRONG", "severity": Severity.FAIL}, {"CODE_DIFFERS", "SEVERITY_DIFFERS"}),
    ]:
        assert codes(judged(with_verdict(outcome, TWO, **change))[TWO]) == wanted


def test_a_failure_is_no_missing_verdict(outcome):
    """Who hung up after the first nonce may not be archived as one that could not be heard."""
    path = ("failure", "reason", "severity")
    lenient = with_verdict(edited(outcome, HUNG, (path, "no_verdict")), HUNG, severity=Severity.NO_VERDICT)
    assert codes(judged(lenient)[HUNG]) == {"SEVERITY_WRONG"}


def test_who_is_paid_has_a_proof(outcome):
    """A score above zero without a proved verdict differs."""
    scores = tuple(replace(s, score=0.3) for s in outcome.scores)
    found = judged(replace(outcome, scores=scores))
    assert {key for key, e in found.items() if codes(e) == {"PAID_WITHOUT_PROOF"}} == {HUNG, LOST}


def test_a_kept_score_needs_no_proof_of_its_epoch(outcome):
    """What is paid in grace is the score of an epoch that has its proof; replay holds it against the record."""
    kept = Reason("KEPT_LAST_SCORE", Severity.WARN, "the score of epoch 6: 0.3", "", "")
    scores = tuple(replace(s, score=0.3, reasons=(*s.reasons, kept)) for s in outcome.scores)
    found = judged(replace(outcome, scores=scores))
    assert not any("PAID_WITHOUT_PROOF" in codes(e) for e in found.values())


def test_a_bound_in_shadow_agrees(talks):
    """A card outside of a bound that the archived policy has in shadow was proved, and judged again it still is."""
    challenge, reply = talks[1]
    beyond = replace(challenge, bounds=Bounds(0.0, 1e-9, is_enforced=True))
    policy = replace(LOCALNET, shadow=ShadowPolicy(checks=("BANDWIDTH_IMPOSSIBLE",)))
    failed = archived([(beyond, reply)])
    lenient = replace(
        failed,
        verdicts=tuple(verdict_in_shadow(v, policy.shadow) for v in failed.verdicts),
        grounds=Grounds(NOON, policy.to_json(), "5Owner", (), ()),
    )
    assert verdict_of(lenient, TWO).proved
    assert not {"CODE_DIFFERS", "SEVERITY_DIFFERS", "PAID_WITHOUT_PROOF"} & codes(judged(lenient)[TWO])
    strict = replace(lenient, grounds=Grounds(NOON, LOCALNET.to_json(), "5Owner", (), ()))
    assert {"CODE_DIFFERS", "SEVERITY_DIFFERS"} <= codes(judged(strict)[TWO])


def test_a_transcript_that_asks_for_hours_is_refused(outcome):
    """Segments of a million steps are not walked again: that would be the work of a week."""
    dear = edited(outcome, TWO, (("challenge", "parameters", "segment_steps"), 1 << 20))
    assert codes(judged(dear)[TWO]) == {"TRANSCRIPT_TOO_DEAR"}


def test_no_honest_challenge_is_too_dear():
    """Fourteen cards of any model under the policy of a real network stay far below what is refused."""
    for model in MODELS:
        p = parameters_for(model, DEFAULT.proof)
        assert 0.98 < compressions(p) / verdict_compressions(p) <= 1.0
        assert 14 * compressions(p) < MAX_COMPRESSIONS / 10


def test_rows_without_their_others_are_told(outcome):
    """A transcript without executor, report or verdict row, and a machine with two, are differences."""
    bare = replace(outcome, executors=outcome.executors[:1], reports=outcome.reports[:1])
    assert codes(judged(bare)[TWO]) == {"EXECUTOR_UNKNOWN", "REPORT_MISSING"}
    rows = [(TWO, verdict_of(outcome, TWO).transcript)]
    missing = replace(outcome, verdicts=outcome.verdicts[:1])
    assert codes(judge_again(rows, archived_epoch(missing))[0]) == {"VERDICT_MISSING"}
    twice = held_together(judge_again(rows * 2, archived_epoch(outcome)))
    assert [codes(e) for e in twice] == [{"VERDICT_TWICE"}] * 2
