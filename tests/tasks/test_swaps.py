"""Swaps of cards: signed by the miner, counted once, from nothing on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from bittensor import sp_core

from storage.records import ExecutorRecord
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.inspection.checks import check_host
from tasks.policy import DEFAULT, RecordPolicy
from tasks.swaps import Occasion, Swap, judge_swaps, read_swap, swap_event, swapped
from tests.tasks.inspection.test_checks import FACTS, FAST, UUIDS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SIGNED = NOW - timedelta(hours=2)
MINER = sp_core.Keypair.create_from_uri("//Miner")
OTHER = sp_core.Keypair.create_from_uri("//Other")
HOTKEY = MINER.ss58_address
KEY = f"{HOTKEY}/rack1-a"
KNOWN = ExecutorRecord(
    KEY,
    first_seen=NOW - timedelta(days=9),
    epochs_seen=900,
    epochs_passed=900,
    consecutive_passed=900,
    passed_since=NOW - timedelta(days=9),
    model="NVIDIA L4",
    card_count=1,
    card_uuids=("GPU-OLD",),
    up_mbit_s=800.0,
    verified_count=900,
    last_score=0.5,
    last_score_epoch=6,
)
SWAP = Swap(HOTKEY, "rack1-a", SIGNED, ("gpu-old",), (UUIDS[0],))


def signed(swap=SWAP, signer=MINER):
    return sign_statement(signer, swap.lines)


def judged(*statements, record=KNOWN, leased=(), now=NOW, hotkey=HOTKEY):
    known = {KEY: record}
    occasion = Occasion(
        lambda key: known.get(key) or ExecutorRecord(key),
        frozenset(leased),
        RecordPolicy(),
        now,
        is_signed_by,
    )
    swaps, reasons = judge_swaps(hotkey, statements, occasion)
    return swaps, [reason.code for reason in reasons]


def test_a_signed_swap_counts():
    """What was signed is what is read, and nothing speaks against it."""

    text = signed()

    (swap,), codes = judged(text)

    assert codes == []
    assert replace(swap, statement="") == SWAP
    assert read_swap(text) == swap


def test_a_swap_begins_from_nothing():
    """Model, cards, run and counters are open again; that the machine was ever seen, and its line, stay."""

    after = swapped(KNOWN, SWAP, NOW)

    assert (after.model, after.card_count, after.card_uuids) == (None, None, ())
    assert (after.passed_since, after.verified_count, after.last_score) == (None, 0, 0.0)
    assert (after.reset_code, after.reset_at, after.resets) == ("CARDS_SWAPPED", NOW, 1)
    assert (after.epochs_passed, after.up_mbit_s, after.swapped_at) == (900, 800.0, SIGNED)


def test_it_counts_once():
    """The same statement again, and any older one, is passed over without a word: agents go on showing them."""

    after = swapped(KNOWN, SWAP, NOW)
    older = replace(SWAP, signed_at=SIGNED - timedelta(days=1))

    assert judged(signed(), signed(older), record=after) == ((), [])


@pytest.mark.parametrize(
    ("statement", "changed", "code"),
    [
        (signed(signer=OTHER), {}, "SWAP_NOT_SIGNED"),
        (signed() + "0", {}, "SWAP_MALFORMED"),
        ("subnet/statement/1\nsr25519\nbye", {}, "SWAP_MALFORMED"),
        (signed(replace(SWAP, miner_hotkey=OTHER.ss58_address), OTHER), {}, "SWAP_NOT_SIGNED"),
        (signed(), {"now": NOW + timedelta(days=8)}, "SWAP_OUT_OF_DATE"),
        (signed(), {"now": SIGNED - timedelta(minutes=3)}, "SWAP_OUT_OF_DATE"),
        (signed(), {"record": replace(KNOWN, swapped_at=SIGNED - timedelta(minutes=59))}, "SWAP_TOO_SOON"),
        (signed(), {"leased": [KEY]}, "SWAP_WHILE_LEASED"),
        (signed(), {"record": replace(KNOWN, card_uuids=("GPU-3",))}, "SWAP_OTHER_CARDS"),
        (signed(), {"record": ExecutorRecord(KEY)}, "SWAP_OTHER_CARDS"),
    ],
    ids=[
        "signed by another",
        "a digit more",
        "no swap at all",
        "of another miner",
        "too old",
        "of the future",
        "right after the last",
        "while leased",
        "cards that it never had",
        "of a machine that never passed",
    ],
)
def test_what_does_not_count_is_told(statement, changed, code):
    """A stranger's, another text, too old, of the future, too soon, of a leased machine, of cards that it never had."""

    assert judged(statement, **changed) == ((), [code])


def test_a_mistaken_announcement_can_be_mended():
    """Until the announced cards have passed, they are what a further swap names as gone."""

    wrong = swapped(KNOWN, replace(SWAP, came=("GPU-TYPO",)), NOW)
    mended = replace(SWAP, signed_at=NOW, gone=("GPU-TYPO",))

    assert len(judged(signed(mended), record=wrong)[0]) == 1


def test_announced_cards_pass_and_others_do_not():
    """After a swap neither SPEC_CHANGED nor GPU_UUID_CHANGED speaks against the announced cards; others are refused."""

    kept = swapped(KNOWN, SWAP, NOW)
    others = swapped(KNOWN, replace(SWAP, came=(UUIDS[1],)), NOW)

    assert check_host(FACTS, kept, FAST, DEFAULT.inspection) == ()
    (reason,) = check_host(FACTS, others, FAST, DEFAULT.inspection)
    assert reason.code == "SWAP_NOT_AS_ANNOUNCED"


def test_the_event_carries_the_proof():
    """The archive has what went, what came, and the signed text."""

    (swap,), _ = judged(signed())
    event = swap_event(swap, NOW)

    assert (event.kind, event.subject) == ("CARDS_SWAPPED", KEY)
    assert event.message == f"gone gpu-old; came {UUIDS[0]}"
    assert is_signed_by(event.statement, HOTKEY)
