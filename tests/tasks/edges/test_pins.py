"""What a hotkey commits of its door's keys: one form, and nothing else of a commitment counts."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tasks.edges.pins import MAX_CHARS, NONE, check_shown, commitment_of, committed_text, pin_of, pins_of
from tasks.errors import KeyNotPinned

ONE, TWO = "A" * 43, "_-" + "b" * 41


def field(text, variant="Raw"):
    """A commitment's field as the chain has it."""
    return {f"{variant}{len(text)}" if variant == "Raw" else variant: "0x" + text.encode().hex()}


@pytest.mark.parametrize("pins", [(ONE,), (ONE, TWO), ()])
def test_what_is_committed_is_read_back(pins):
    """One key, two, or none: within a field of the chain."""

    text = commitment_of(pins)
    assert pins_of(committed_text([field(text)])) == pins
    assert len(text) <= MAX_CHARS
    assert (pins_of(""), pins_of(NONE)) == ((), ())


@pytest.mark.parametrize(
    "text",
    [
        "subnet-tls/1",
        "subnet-tls/1 ",
        "subnet-tls/1 " + "A" * 42,
        f"subnet-tls/1 {ONE} {ONE} {ONE}",
        f"subnet-tls/1  {ONE}",
        f"subnet-tls/1 {ONE}\n",
        f"subnet-tls/2 {ONE}",
        f"subnet-tls/1 none {ONE}",
    ],
)
def test_another_form_is_no_plain_http(text):
    """A commitment that is ours and can't be read opens nothing: its miner wanted TLS."""

    with pytest.raises(KeyNotPinned, match="no form that is known"):
        pins_of(text)
    with pytest.raises(ValueError, match="at most 2"):
        commitment_of([ONE, ONE, ONE])


def test_other_uses_of_a_commitment_say_nothing():
    """Other texts, sealed fields, hashes and nonsense are passed over; ours is found among them, and cut."""

    others = [
        field("hello"),
        "ResetBondsFlag",
        {"TimelockEncrypted": {"reveal_round": 1}},
        {"Raw2": "zz"},
        {},
        None,
    ]
    ours = commitment_of([ONE])

    assert committed_text(others) == ""
    assert committed_text([field(ours, "Sha256")]) == ""
    assert committed_text([*others, field(ours)]) == ours
    assert committed_text([field("subnet-tls/1 \x00\n" + "x" * 5_000)]) == "subnet-tls/1 ??" + "x" * 113


@pytest.mark.parametrize("shown", [b"", b"\x30\x03\x02\x01\x01", b"\x30" * 5_000])
def test_what_is_no_certificate_is_no_key(shown):
    """Whatever bytes a server shows."""

    with pytest.raises(KeyNotPinned):
        check_shown(shown, [ONE])


def test_a_pin_is_the_hash_of_the_public_key():
    """As `openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | basenc --base64url` has it."""

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert pins_of(commitment_of([pin_of(der)])) == (pin_of(der),)
