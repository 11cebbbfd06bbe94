"""BUSY: whose word excuses it, how old, how often; and that two validators on one card leave each other whole."""

from __future__ import annotations

import fcntl
import signal
from dataclasses import replace

import pytest

from kernels.cards import add_simulated_card
from kernels.messages import Busy, encode
from storage.records import Severity
from tasks.edges.signing import sign_statement
from tasks.errors import BadAnswer
from tasks.proof import messages, transcript
from tasks.proof.busy import digest_of, judge_busy, read_statement, statement_of
from tasks.proof.conversation import Failure, Reply
from tasks.proof.verdict import verify_shard, verify_transcript
from tests.tasks.proof.rivals import (
    CARD,
    CARD_BYTES,
    MINER,
    NOON_S,
    OURS,
    THEIRS,
    a_process,
    a_thread,
    challenge,
    holding,
    notary,
    origin,
    proved,
)

THEIR_ORIGIN = origin(THEIRS)
HELD = notary(THEIRS).statement(THEIR_ORIGIN, digest_of(challenge(THEIR_ORIGIN).go))
"""What the other validator says at noon."""


def test_a_statement_says_who_holds_what_since_when():
    """It binds version, network, machine, validator, block, second and the very GO that it goes with."""

    said = read_statement(HELD)

    assert said == statement_of(THEIR_ORIGIN, digest_of(challenge(THEIR_ORIGIN).go), NOON_S + 0.9)
    assert said.go != digest_of(challenge(THEIR_ORIGIN, seed=1).go)
    assert HELD.splitlines()[:9] == [
        "subnet/statement/1",
        "sr25519",
        "2",
        "51",
        MINER.ss58_address,
        "rack-1",
        THEIRS.ss58_address,
        "1000",
        "1790000000",
    ]
    assert len(HELD) < 512


def _signed(key=THEIRS, **changed):
    said = statement_of(replace(THEIR_ORIGIN, **changed), digest_of(challenge(THEIR_ORIGIN).go), NOON_S)
    return sign_statement(key, said.lines)


CASES = {
    "at once": (HELD, 0.0, 1, "BUSY"),
    "a minute old": (HELD, 60.0, 1, "BUSY"),
    "61 s old": (HELD, 61.0, 1, "BUSY_TOO_OLD"),
    "a clock 5 s ahead of ours": (HELD, -5.0, 1, "BUSY"),
    "from the future": (HELD, -6.0, 1, "BUSY_NOT_YET"),
    "our own word": (_signed(OURS, validator_hotkey=OURS.ss58_address), 0.0, 1, "BUSY_OUR_OWN"),
    "nothing": ("", 0.0, 1, "BUSY_WITHOUT_HOLDER"),
    "garbage": ("held by a friend", 0.0, 1, "BUSY_MALFORMED"),
    "a line more": (f"{HELD}\n", 0.0, 1, "BUSY_MALFORMED"),
    "a line less": (HELD.rpartition("\n")[0], 0.0, 1, "BUSY_MALFORMED"),
    "another protocol version": (HELD.replace("\n2\n", "\n1\n", 1), 0.0, 1, "BUSY_MALFORMED"),
    "digits of another script": (HELD.replace("\n51\n", "\n\u0665\u0661\n"), 0.0, 1, "BUSY_MALFORMED"),
    "another machine": (_signed(executor_id="rack-2"), 0.0, 1, "BUSY_OTHER_MACHINE"),
    "another miner": (_signed(miner_hotkey=OURS.ss58_address), 0.0, 1, "BUSY_OTHER_MACHINE"),
    "another subnet": (_signed(netuid=52), 0.0, 1, "BUSY_OTHER_MACHINE"),
    "a holder without permit": (
        _signed(MINER, validator_hotkey=MINER.ss58_address),
        0.0,
        1,
        "BUSY_NO_PERMIT",
    ),
    "signed by the miner": (_signed(MINER), 0.0, 1, "BUSY_FORGED"),
    "a younger second": (HELD.replace("1790000000", "1790000030"), 30.0, 1, "BUSY_FORGED"),
    "a flipped bit": (
        HELD[:-1] + "0123456789abcdef"["0123456789abcdef".index(HELD[-1]) ^ 1],
        0.0,
        1,
        "BUSY_FORGED",
    ),
    "called by another scheme": (HELD.replace("sr25519", "ed25519"), 0.0, 1, "BUSY_FORGED"),
}


@pytest.mark.parametrize(("holder", "age_s", "attempt", "code"), CASES.values(), ids=CASES)
def test_busy_is_excused_by_a_fresh_word_of_a_permitted_holder_only(holder, age_s, attempt, code):
    """No verdict for another validator's statement of this machine, at most a minute old; each other thing fails by its name."""

    told = judge_busy(origin(attempt=attempt), holder, notary(now_s=NOON_S + age_s))

    assert (told.code, told.severity) == (code, Severity.NO_VERDICT if code == "BUSY" else Severity.FAIL)


def test_our_own_word_excuses_while_another_process_of_ours_is_at_the_machine():
    """A lease's cards are proved at its hand-over: the epoch that meets that proof has no verdict, for this machine alone."""
    ours = _signed(OURS, validator_hotkey=OURS.ss58_address)
    at_work = replace(notary(), is_ours_elsewhere=lambda key: key == origin().executor_key)

    assert judge_busy(origin(), ours, at_work).severity is Severity.NO_VERDICT
    assert (
        judge_busy(origin(), ours, replace(at_work, is_ours_elsewhere=lambda _: False)).code == "BUSY_OUR_OWN"
    )


def test_busy_is_no_answer_once_the_walk_has_begun():
    """BUSY stands for READY only: from the first nonce on it is malformed, and so is one that is too long."""

    busy = encode(Busy(HELD))

    assert messages.read_ready(busy) == Busy(HELD)
    for read in (lambda f: messages.read_walked(f, 0, 1), lambda f: messages.read_multiplied(f, 1)):
        with pytest.raises(BadAnswer):
            read(busy)
    for holder in ("x" * 513, "\u00e9", "\x07"):
        with pytest.raises(BadAnswer):
            messages.read_ready(encode(Busy(holder)))


@pytest.fixture
def cards(tmp_path):
    add_simulated_card(tmp_path, CARD, CARD_BYTES)
    return tmp_path


RIVALS = {
    "honest": (THEIR_ORIGIN, notary(THEIRS), notary(), "BUSY"),
    "honest, but long ago": (THEIR_ORIGIN, notary(THEIRS), notary(now_s=NOON_S + 61), "BUSY_TOO_OLD"),
    "proving another machine": (
        origin(THEIRS, executor_id="rack-2"),
        notary(THEIRS),
        notary(),
        "BUSY_OTHER_MACHINE",
    ),
    "without permit": (
        THEIR_ORIGIN,
        notary(THEIRS),
        notary(permitted={OURS.ss58_address}),
        "BUSY_NO_PERMIT",
    ),
    "with another's key": (THEIR_ORIGIN, notary(MINER), notary(), "BUSY_FORGED"),
    "silent about itself": (THEIR_ORIGIN, None, notary(), "BUSY_WITHOUT_HOLDER"),
    "seen by one who believes nobody": (THEIR_ORIGIN, notary(THEIRS), None, "BUSY_WITHOUT_HOLDER"),
}


@pytest.mark.parametrize(("theirs", "by", "judge", "code"), RIVALS.values(), ids=RIVALS)
def test_whoever_comes_second_is_told_by_the_prover_who_holds_the_card(cards, theirs, by, judge, code):
    """The prover hands out what the holder's validator said, the second validator judges it, and the first is proved."""

    asked = challenge(origin())
    with a_thread(cards) as first, holding(first, challenge(theirs), by) as holder:
        with a_thread(cards) as second:
            outcome = proved(second, asked, judge)
        assert isinstance(holder.let_go(), Reply)

    assert isinstance(outcome, Failure)
    assert (outcome.reason.code, outcome.phase) == (code, "ready")
    verdict = verify_shard([(asked, outcome)])[0]
    assert verify_transcript(verdict.transcript) == verdict
    kept = transcript.load(verdict.transcript)[1]
    assert isinstance(kept, Failure)
    assert bool(kept.holder) == (code != "BUSY_WITHOUT_HOLDER")


def test_a_lock_that_some_other_program_holds_is_no_excuse(cards):
    """Whoever merely locks the card, and writes whatever it likes, leaves the machine without a holder."""

    with (cards / f"subnet-{CARD}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for text, code in (("x" * 100_000, "BUSY_WITHOUT_HOLDER"), ("mine", "BUSY_MALFORMED")):
            lock.seek(0)
            lock.truncate()
            lock.write(text)
            lock.flush()
            with a_thread(cards) as session:
                outcome = proved(session, challenge(origin()), notary())
            assert isinstance(outcome, Failure)
            assert (outcome.reason.code, outcome.reason.severity) == (code, Severity.FAIL)


def test_a_long_wait_does_not_make_an_honest_machine_late(cards):
    """Each WALK brings a fresh statement: a holder that waited at the barrier for a minute excuses the machine still."""

    times = [NOON_S, NOON_S + 58, NOON_S + 59]
    theirs = replace(notary(THEIRS), now=lambda: times.pop(0) if len(times) > 1 else times[0])
    with a_thread(cards) as first, holding(first, challenge(THEIR_ORIGIN), theirs, gate=3) as holder:
        with a_thread(cards) as second:
            outcome = proved(second, challenge(origin()), notary(now_s=NOON_S + 100))
        assert isinstance(holder.let_go(), Reply)

    assert isinstance(outcome, Failure)
    assert outcome.reason.code == "BUSY"
    assert outcome.reason.got.endswith("since 41 s")


@pytest.mark.slow
def test_a_second_prover_process_in_the_middle_of_a_proof_disturbs_nothing(cards):
    """While one process walks, another on the same card says BUSY; then it is free."""

    with a_process(cards) as first, holding(first, challenge(THEIR_ORIGIN), notary(THEIRS), gate=2) as holder:
        with a_process(cards) as second:
            outcome = proved(second, challenge(origin()), notary())
        theirs = holder.let_go()
        first.close()
    with a_thread(cards) as session:
        ours = proved(session, challenge(origin()), notary())

    assert isinstance(outcome, Failure)
    assert outcome.reason.code == "BUSY"
    verdicts = verify_shard([(challenge(THEIR_ORIGIN), theirs), (challenge(origin()), ours)])
    assert [v.code for v in verdicts] == ["PROVED", "PROVED"]


@pytest.mark.slow
def test_kill_9_of_the_holder_frees_the_card(cards):
    """A prover that is killed leaves no lock, and its stale statement excuses nobody: the next one is proved at once."""

    with a_process(cards) as first, holding(first, challenge(THEIR_ORIGIN), notary(THEIRS)) as holder:
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(30)
        assert read_statement((cards / f"subnet-{CARD}.lock").read_text()) == read_statement(HELD)
        with a_thread(cards) as second:
            outcome = proved(second, challenge(origin()), notary())
        assert isinstance(holder.let_go(), Failure)

    assert verify_shard([(challenge(origin()), outcome)])[0].code == "PROVED"
    assert (cards / f"subnet-{CARD}.lock").read_text() == ""
