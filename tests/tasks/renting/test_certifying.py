"""A certificate judged again: an honest one holds, and whatever was changed in it shows."""

import base64
import json
from dataclasses import replace
from hashlib import blake2s

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.renting.certifying import Claim, judge
from tests.tasks.proof.archives import archived, some_talks


@pytest.fixture(scope="module")
def claim():
    """An honest machine's proof, as a certificate claims it."""
    outcome = archived(some_talks())
    verdict = next(v for v in outcome.verdicts if v.code == "PROVED")
    cards = tuple(card.card_uuid for card in verdict.cards)
    digest = blake2s(verdict.transcript).hexdigest()
    return Claim(verdict.executor_key, cards, verdict.code, verdict.transcript, digest)


def edited(claim, change):
    """The claim with its transcript changed, and a digest that fits."""
    document = json.loads(claim.transcript)
    change(document)
    content = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return replace(claim, transcript=content, digest=blake2s(content).hexdigest())


def test_an_honest_certificate_holds(claim):
    """The figures of every card of the lease follow from it."""

    found = judge(claim)

    assert (found.objections, found.code, found.kind) == ((), "PROVED", "full")
    assert {card.card_uuid for card in found.cards} == set(claim.card_uuids)
    assert all(card.memory_bytes > 0 for card in found.cards)


def test_a_part_of_a_machines_cards_may_be_leased(claim):
    """A proof of more cards than the lease has is one of these, too."""

    assert judge(replace(claim, card_uuids=claim.card_uuids[:1])).holds


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"executor_key": "5Mallory/m-9"}, "not of 5Mallory/m-9"),
        ({"card_uuids": ("GPU-0",)}, "the proof is not of card GPU-0"),
        ({"card_uuids": ()}, "names no card"),
        ({"code": "TOO_SLOW"}, "it says TOO_SLOW, our arithmetic says PROVED"),
        ({"digest": "0" * 64}, "digest is another"),
        ({"transcript": b""}, "the transcript is none"),
        ({"transcript": b"{}"}, "the transcript is none"),
    ],
)
def test_a_claim_that_the_proof_does_not_carry_is_told(claim, changes, told):
    """Another machine, another card, another verdict, another file."""

    found = judge(replace(claim, **changes))

    assert not found.holds
    assert any(told in objection for objection in found.objections)


def test_a_proof_that_broke_off_is_none(claim):
    """The market's word for a conversation that was cut is no proof of cards."""

    lost = next(v for v in archived(some_talks()).verdicts if v.code != "PROVED")
    digest = blake2s(lost.transcript).hexdigest()
    found = judge(replace(claim, executor_key=lost.executor_key, transcript=lost.transcript, digest=digest))

    assert not found.holds


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_changed_byte_passes_or_crashes(claim, data):
    """Under the certificate's own digest nothing else passes, and no bytes are too odd to be judged."""

    at = data.draw(st.integers(0, len(claim.transcript) - 1))
    content = bytearray(claim.transcript)
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    changed = bytes(content)

    assert not judge(replace(claim, transcript=changed)).holds
    judge(replace(claim, transcript=changed, digest=blake2s(changed).hexdigest()))


@pytest.mark.parametrize("part", ["rounds", "product"])
def test_a_digest_that_was_made_for_it_helps_nobody(claim, part):
    """Other answers than the machine's are seen by arithmetic, whatever digest stands beside them."""

    def swap_nonce(document):
        found = document["reply"][part]
        (found[0] if isinstance(found, list) else found)["nonce"] = base64.b64encode(bytes(32)).decode()

    found = judge(edited(claim, swap_nonce))

    assert not found.holds
    assert found.code != "PROVED"


def test_a_transcript_that_asks_for_hours_is_refused(claim):
    """Before any arithmetic is done."""

    found = judge(edited(claim, lambda d: d["challenge"]["parameters"].update(rounds=1 << 20)))

    assert not found.holds
