from __future__ import annotations

import json
from dataclasses import replace

import pytest

from storage.records import Severity
from tasks.errors import BadAnswer
from tasks.proof import transcript
from tasks.proof.bounds import Bounds
from tasks.proof.challenge import ProofKind
from tasks.proof.conversation import Failure, Reply
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
