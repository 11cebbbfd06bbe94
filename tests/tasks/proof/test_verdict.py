from __future__ import annotations

import json
from dataclasses import replace

import pytest

from storage.records import Severity
from tasks.errors import BadAnswer
from tasks.proof import transcript
from tasks.proof.bounds import Bounds, BoundsSource
from tasks.proof.challenge import ProofKind
from tasks.proof.conversation import Failure, Reply
from tasks.proof.population import Population
from tasks.proof.reasons import MENDS, reason
from tasks.proof.verdict import proved_bandwidth_gb_s, verify_shard, verify_transcript
from tests.bench.full_size import full_size_shard
from tests.cheats.rig import TINY, hanging_up_at, honest, judge, talk, tiny_challenge


@pytest.fixture(scope="module")
def proof():
    """One honest conversation of two cards."""
    challenge = tiny_challenge(cards=2)
    reply = talk(honest, challenge)
    assert isinstance(reply, Reply)
    return challenge, reply


@pytest.mark.parametrize(
    ("low", "high", "code"),
    [
        (0.5, 2.0, "PROVED"),
        (1.01, 2.0, "BANDWIDTH_TOO_LOW"),
        (0.5, 0.99, "BANDWIDTH_IMPOSSIBLE"),
    ],
)
def test_bandwidth_is_held_to_enforced_bounds(proof, low, high, code):
    """Slower than the model's floor and faster than its ceiling both fail, where the policy enforces them."""
    challenge, reply = proof
    got = proved_bandwidth_gb_s(challenge, reply)
    bounds = Bounds(low * got, high * got, is_enforced=True)
    verdict = verify_shard([(replace(challenge, bounds=bounds), reply)])[0]
    assert [card.code for card in verdict.cards] == [code, code]
    assert verdict.severity is (None if code == "PROVED" else Severity.FAIL)
    lenient = replace(challenge, bounds=replace(bounds, is_enforced=False))
    assert verify_shard([(lenient, reply)])[0].proved


def test_a_model_without_enough_history_is_flagged_and_still_proved(proof):
    """MODEL_UNPROVEN tells who has proved the model so far and who must; it warns, and costs no verdict."""
    challenge, reply = proof
    known = Population(median_gb_s=1.0, proofs=40, machines=4, miners=2)
    bounds = Bounds(0.0, 1e9, True, population=known, wanted_miners=3, wanted_machines=5)  # noqa: FBT003  enforced

    verdict = verify_shard([(replace(challenge, bounds=bounds), reply)])[0]

    assert (verdict.code, verdict.severity, verdict.proved) == ("PROVED", None, True)
    (warned,) = verdict.reasons
    assert (warned.code, warned.severity) == ("MODEL_UNPROVEN", Severity.WARN)
    assert warned.got == "40 proofs of 4 machines of 2 miners"
    assert warned.wanted == "5 machines of 3 miners that have proved the model"
    assert verify_transcript(verdict.transcript) == verdict


@pytest.mark.parametrize(
    "changes",
    [
        {"source": BoundsSource.HISTORY},
        {"is_enforced": False},
        {"wanted_miners": 0},
    ],
    ids=["known", "simulated", "history is not asked for"],
)
def test_no_flag_where_history_counts_or_does_not_matter(proof, changes):
    """A known model, a simulated card, and a policy that asks for no history give no warning."""
    challenge, reply = proof
    bounds = Bounds(0.0, 1e9, is_enforced=True, wanted_miners=3, wanted_machines=5)

    verdict = verify_shard([(replace(challenge, bounds=replace(bounds, **changes)), reply)])[0]

    assert verdict.reasons == ()


def test_a_failed_proof_keeps_its_own_code(proof):
    """The warning comes after what the machine failed for."""
    challenge, reply = proof
    bounds = Bounds(1e9, 2e9, is_enforced=True, wanted_miners=3, wanted_machines=5)

    verdict = verify_shard([(replace(challenge, bounds=bounds), reply)])[0]

    assert (verdict.code, verdict.severity) == ("BANDWIDTH_TOO_LOW", Severity.FAIL)
    assert [r.code for r in verdict.reasons] == ["BANDWIDTH_TOO_LOW"] * 2 + ["MODEL_UNPROVEN"]


def test_answers_in_no_time_are_no_endless_speed(proof):
    """Even an exchange of zero seconds gives finite figures."""
    challenge, reply = proof
    rounds = tuple(replace(e, received_s=e.sent_s) for e in reply.rounds)
    verdict = verify_shard([(challenge, replace(reply, rounds=rounds))])[0]
    assert 0 < verdict.cards[0].bandwidth_gb_s < 1e12


def test_verdicts_come_in_order_and_each_is_its_own(proof):
    """Failures between replies move nothing; a shard's verdicts are those of each alone."""
    why = reason("PROVER_LOST", Severity.NO_VERDICT, "go: gone", "an answer")
    failed = (proof[0], Failure(why, "go", None, 0))
    shard = [failed, proof, failed, proof]
    together = verify_shard(shard)
    assert together == [verify_shard([one])[0] for one in shard]
    assert [v.code for v in together] == ["PROVER_LOST", "PROVED", "PROVER_LOST", "PROVED"]
    assert verify_shard([]) == []


def test_every_code_has_a_mend():
    """A miner is always told what to do, in one sentence."""
    assert all(code.isupper() and mend.endswith(".") for code, mend in MENDS.items())


def test_transcript_is_canonical_and_judges_the_same(proof):
    """Written, read and written again the bytes are the same, and so is the verdict."""
    verdict = verify_shard([proof])[0]
    assert transcript.load(verdict.transcript) == proof
    assert transcript.dump(*transcript.load(verdict.transcript)) == verdict.transcript
    assert verify_transcript(verdict.transcript) == verdict


def test_a_transcript_from_before_there_was_history_is_judged_as_it_was(proof):
    """Its bounds lack where they come from, and nothing is held against the machine for it."""
    challenge, reply = proof
    enforced = replace(challenge, bounds=Bounds(0.0, 1e9, is_enforced=True))
    document = json.loads(transcript.dump(enforced, reply))
    bounds = document["challenge"]["bounds"]
    document["challenge"]["bounds"] = {k: bounds[k] for k in ("min_gb_s", "max_gb_s", "is_enforced")}

    verdict = verify_transcript(json.dumps(document).encode())

    assert verdict == verify_shard([(enforced, reply)])[0]
    assert (verdict.code, verdict.reasons) == ("PROVED", ())


def test_failed_conversations_have_transcripts_too():
    """A conversation that broke off is archived with its reason."""
    verdict = judge(hanging_up_at(6), cards=2)
    assert verdict.code == "PROOF_ABANDONED"
    assert verify_transcript(verdict.transcript) == verdict


def test_a_leased_proof_is_a_real_one_and_says_how_small_it_was():
    """It is judged like any other, its transcript says its kind, and its cards the memory that was proved."""
    policy = replace(TINY, leased_proof_bytes=16 * 4_096)
    challenge = tiny_challenge(policy=policy, kind=ProofKind.LEASED)
    verdict = verify_shard([(challenge, talk(honest, challenge, policy))])[0]
    assert (verdict.code, verdict.cards[0].memory_bytes) == ("PROVED", 16 * 4_096)
    assert transcript.load(verdict.transcript)[0].kind is ProofKind.LEASED
    assert verify_transcript(verdict.transcript) == verdict


def test_transcripts_from_before_leases_and_holders_are_read(proof):
    """What an older validator did not write had one meaning only: a full proof, and nobody who held the cards."""
    old = json.loads(transcript.dump(*proof))
    del old["challenge"]["kind"]
    assert transcript.load(json.dumps(old).encode()) == proof
    failed = json.loads(judge(hanging_up_at(6)).transcript)
    assert failed["failure"].pop("holder") == ""
    assert verify_transcript(json.dumps(failed).encode()).code == "PROOF_ABANDONED"


def _edited(proof, path, value):
    document = json.loads(transcript.dump(*proof))
    at = document
    for key in path[:-1]:
        at = at[key]
    assert at[path[-1]] != value
    at[path[-1]] = value
    return json.dumps(document).encode()


OTHER = "A" * 43 + "="


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("challenge", "secret"), OTHER, "WALK_PATH_WRONG"),
        (("reply", "rounds", 2, "nonce"), OTHER, "WALK_STATE_WRONG"),
        (("reply", "rounds", 2, "roots", 0), OTHER, "WALK_PATH_WRONG"),
        (("reply", "product", "nonce"), OTHER, "TILE_ENTRY_WRONG"),
        (("reply", "product", "roots", 1), OTHER, "WALK_PATH_WRONG"),
        (("challenge", "parameters", "lines"), 512, "WALK_STATE_WRONG"),
    ],
)
def test_an_edited_transcript_is_not_proved(proof, path, value, code):
    """Whoever changes what was said, changes the verdict."""
    verdict = verify_transcript(_edited(proof, path, value))
    assert not verdict.proved
    assert verdict.code == code


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("version",), 2),
        (("challenge", "bounds", "source"), "hearsay"),
        (("challenge", "bounds", "population"), {"median_gb_s": 1.0}),
        (("challenge", "origin", "miner_hotkey"), "5Thief"),
        (("challenge", "origin", "block"), 1_001),
        (("challenge", "cards", 0, "uuid"), "GPU-9"),
        (("challenge", "cards", 0, "fresh"), OTHER),
        (("challenge", "parameters", "rows"), 17),
        (("challenge", "parameters", "rounds"), 3),
        (("challenge", "latency_credit_s"), "none"),
        (("challenge", "latency_credit_s"), float("nan")),
        (("reply", "rounds"), []),
        (("reply", "openings"), []),
        (("reply", "rounds", 0, "nonce"), "AAAA"),
        (("reply", "openings", 0, "tiles", 0, "tile"), "AAAA"),
        (("reply",), None),
        (("failure",), 7),
    ],
)
def test_what_is_no_transcript_is_refused(proof, path, value):
    """Another machine's name, missing parts, wrong kinds and lengths: no verdict is given on them."""
    with pytest.raises(BadAnswer):
        verify_transcript(_edited(proof, path, value))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"version":1,"challenge":null}']
)
def test_noise_is_no_transcript(content):
    """Bytes that are no transcript raise one error."""
    with pytest.raises(BadAnswer):
        verify_transcript(content)


def test_full_size_cards_are_judged_like_small_ones():
    """Cards of 80 and 192 GB, made from single lines, are proved; one bit of a tile or one page of D less, and they are not."""
    full = full_size_shard(80, 3_350.0, 2)
    other = full_size_shard(192, 8_000.0, 1, seed=1)
    chosen = full.chosen | other.chosen
    shard = full.shard + other.shard
    verdicts = verify_shard(shard, lambda challenge, *_: chosen[challenge.secret])
    assert [v.code for v in verdicts] == ["PROVED"] * 3
    assert [round(v.cards[0].memory_bytes / 1e9) for v in verdicts] == [74, 74, 177]
    assert max(v.bytes_received for v in verdicts) <= 64 * 1024

    challenge, reply = full.shard[0]
    opening = reply.openings[0]
    tile = bytearray(opening.tiles[3].tile)
    tile[2 * full.chosen[challenge.secret].tiles[3].entry] ^= 1
    tiles = (*opening.tiles[:3], replace(opening.tiles[3], tile=bytes(tile)), *opening.tiles[4:])
    wrong = replace(reply, openings=(replace(opening, tiles=tiles),))
    assert verify_shard([(challenge, wrong)], full.places)[0].code == "TILE_PATH_WRONG"
    lines = replace(challenge.parameters, lines=challenge.parameters.lines - 32)
    assert (
        verify_shard([(replace(challenge, parameters=lines), reply)], full.places)[0].code
        == "WALK_STATE_WRONG"
    )
