"""btauth/1 behind the strict wrapper: what is accepted, and every hole that stays shut."""

import hashlib
import json
import time

import pytest
from bittensor import http_auth, sp_core

from tasks.edges.signing import (
    Asked,
    answer_payload,
    check_answer,
    check_evidence,
    check_hotkey,
    check_request,
    check_statement,
    evidence,
    is_weak_key,
    read_claim,
    sign_answer,
    sign_request,
    sign_statement,
)
from tasks.errors import BadAnswer, NotAuthentic

VALIDATOR = sp_core.Keypair.create_from_uri("//Validator")
MINER = sp_core.Keypair.create_from_uri("//Miner")
OTHER = sp_core.Keypair.create_from_uri("//Other")
ED_VALIDATOR = sp_core.Keypair.create_from_uri("//Validator", sp_core.CRYPTO_ED25519)
NOW_NS = 1_790_000_000_000_000_000
BODY = b'{"epoch": 7}'
TARGET = b"/v1/executors"

IDENTITY = bytes(32)
SMALL_ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
WEAK = [
    IDENTITY,
    (1).to_bytes(32, "little"),
    (1 | 1 << 255).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    SMALL_ORDER_8,
    SMALL_ORDER_8[:31] + bytes([SMALL_ORDER_8[31] | 0x80]),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
]


def asked(signer=VALIDATOR, nonce_ns=NOW_NS, body=BODY, target=TARGET):
    return Asked("POST", target, body, nonce_ns, signer.ss58_address, MINER.ss58_address)


def raw(headers):
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def signed(signer=VALIDATOR, **changed):
    """A request's raw headers, honestly signed, then changed: None takes a header away."""
    headers = sign_request(signer, asked=asked(signer))
    for name, value in changed.items():
        key = f"X-Bittensor-{name.title()}"
        if value is None:
            headers.pop(key, None)
        else:
            headers[key] = value
    return raw(headers)


def accept(headers, body=BODY, target=TARGET, now_ns=NOW_NS, method="POST"):
    claim = read_claim(headers, receiver=MINER.ss58_address, now_ns=now_ns)
    return check_request(claim, method=method, target=target, body=body)


def refused(headers, **kwargs):
    with pytest.raises(NotAuthentic) as caught:
        accept(headers, **kwargs)
    return caught.value.code


@pytest.mark.parametrize("signer", [VALIDATOR, ED_VALIDATOR], ids=["sr25519", "ed25519"])
def test_own_signature_is_accepted(signer):
    """What we sign is accepted as asked, under both schemes."""

    assert accept(signed(signer)) == asked(signer)


def test_sdk_signature_is_accepted():
    """A request that the SDK itself signed passes, query and all."""

    target = b"/v1/executors?a=1%20b"
    headers = http_auth.sign(
        VALIDATOR,
        method="POST",
        path=target.decode(),
        body=BODY,
        receiver_ss58=MINER.ss58_address,
        nonce_ns=NOW_NS,
    )

    assert accept(raw(headers), target=target).sender == VALIDATOR.ss58_address


def test_sdk_accepts_our_signature():
    """The SDK's own verify accepts what we sign, so agents in its style understand us."""

    caller = http_auth.verify(
        sign_request(VALIDATOR, asked=asked()),
        BODY,
        method="POST",
        path=TARGET.decode(),
        self_hotkey_ss58=MINER.ss58_address,
        now_ns=NOW_NS,
        nonce_store=http_auth.InMemoryNonceStore(),
    )

    assert caller.hotkey_ss58 == VALIDATOR.ss58_address


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"version": None}, "AUTH_VERSION"),
        ({"version": "2"}, "AUTH_VERSION"),
        ({"version": " 1 "}, "AUTH_VERSION"),
        ({"hotkey": None}, "AUTH_MISSING"),
        ({"receiver": None}, "AUTH_MISSING"),
        ({"nonce": None}, "AUTH_MISSING"),
        ({"signature": None}, "AUTH_MISSING"),
        ({"receiver": OTHER.ss58_address}, "AUTH_RECEIVER"),
        ({"receiver": "-"}, "AUTH_RECEIVER"),
        ({"nonce": "-1"}, "AUTH_NONCE"),
        ({"nonce": "+1790000000000000000"}, "AUTH_NONCE"),
        ({"nonce": "1_790_000_000_000_000_000"}, "AUTH_NONCE"),
        ({"nonce": " 1790000000000000000"}, "AUTH_NONCE"),
        ({"nonce": "1790000000000000000\n"}, "AUTH_NONCE"),
        ({"nonce": "\xb2\xb3"}, "AUTH_NONCE"),
        ({"nonce": "0" * 21}, "AUTH_NONCE"),
        ({"nonce": ""}, "AUTH_NONCE"),
        ({"nonce": "99999999999999999999"}, "AUTH_FUTURE"),
        ({"crypto": " 1 "}, "AUTH_CRYPTO"),
        ({"crypto": "1"}, "AUTH_CRYPTO"),
        ({"crypto": "SR25519"}, "AUTH_CRYPTO"),
        ({"crypto": ""}, "AUTH_CRYPTO"),
        ({"signature": "00" * 64}, "AUTH_SIGNATURE"),
        ({"signature": "0x" + "00" * 63}, "AUTH_SIGNATURE"),
        ({"signature": "0x" + "00" * 65}, "AUTH_SIGNATURE"),
        ({"signature": "0x" + "0 " * 64}, "AUTH_SIGNATURE"),
        ({"signature": "0x" + "00" * 64}, "AUTH_BAD_SIGNATURE"),
        ({"crypto": "ed25519"}, "AUTH_BAD_SIGNATURE"),
        ({"hotkey": OTHER.ss58_address}, "AUTH_BAD_SIGNATURE"),
    ],
)
def test_malformed_headers_are_refused(changed, code):
    """Each header has exactly one form, and a wrong one is named."""

    assert refused(signed(**changed)) == code


def test_explicit_sr25519_is_the_same_as_none():
    """The default scheme may be named."""

    assert accept(signed(crypto="sr25519")) == asked()


@pytest.mark.parametrize("prefix", [0, 2, 43])
def test_another_prefix_is_refused(prefix):
    """The same key under another SS58 prefix is not another sender: only prefix 42 is an address."""

    twin = sp_core.ss58_encode(VALIDATOR.public_key, prefix)
    assert bytes(sp_core.ss58_decode(twin)) == VALIDATOR.public_key

    assert refused(signed(hotkey=twin)) == "AUTH_HOTKEY"


@pytest.mark.parametrize(
    "address",
    [
        "5" * 48,
        "5" * 47,
        "5" * 49,
        "0" + VALIDATOR.ss58_address[1:],
        VALIDATOR.ss58_address[:-1] + "l",
        VALIDATOR.ss58_address + "\n",
    ],
)
def test_what_is_no_address_is_refused(address):
    """An address has 48 base58 characters and a checksum that holds."""

    with pytest.raises(NotAuthentic) as caught:
        check_hotkey(address)

    assert caught.value.code == "AUTH_HOTKEY"


def test_long_hotkey_costs_nothing():
    """A 64 kB hotkey, which costs the SDK seconds, is refused within a millisecond of CPU."""

    headers = [(n, v) for n, v in signed() if n != b"x-bittensor-hotkey"]
    headers.append((b"x-bittensor-hotkey", b"5" * 65_536))

    best_s = min(_cpu_s(lambda: refused(headers)) for _ in range(5))

    assert best_s < 0.001


def test_refusing_is_cheap():
    """The dearest refusal, a well-formed request with a false signature, costs less than a millisecond of CPU."""

    headers = signed(OTHER, hotkey=VALIDATOR.ss58_address)

    assert min(_cpu_s(lambda: refused(headers)) for _ in range(20)) < 0.001


def test_too_many_headers_are_refused():
    """The number and the bytes of headers are bounded before any is looked at."""

    many = [(b"x-a", b"b")] * 100 + signed()
    large = [(b"x-a", b"b" * 9000), *signed()]

    assert [refused(many), refused(large)] == ["AUTH_TOO_LONG", "AUTH_TOO_LONG"]


@pytest.mark.parametrize(
    "name", [b"version", b"hotkey", b"receiver", b"nonce", b"signature"], ids=lambda n: n.decode()
)
def test_duplicate_headers_are_refused(name):
    """An auth header that comes twice is refused, also in another case and with the same value."""

    headers = signed()
    value = dict(headers)[b"x-bittensor-" + name]

    assert refused([*headers, (b"X-BITTENSOR-" + name.upper(), value)]) == "AUTH_DUPLICATE"


@pytest.mark.parametrize("public", WEAK, ids=lambda p: p.hex()[:8] + p.hex()[-2:])
def test_weak_keys_are_refused(public):
    """A key that verifies any message is nobody, whichever encoding and scheme it comes in."""

    address = sp_core.ss58_encode(public, 42)

    assert is_weak_key(public)
    assert refused(signed(hotkey=address)) == "AUTH_WEAK_KEY"
    assert refused(signed(hotkey=address, crypto="ed25519")) == "AUTH_WEAK_KEY"


def test_weak_keys_really_verify_anything():
    """The list is not paranoia: the library accepts forged signatures of these keys."""

    forged_sr = bytes(63) + b"\x80"
    forged_ed = (1).to_bytes(32, "little") + bytes(32)
    one = sp_core.ss58_encode((1).to_bytes(32, "little"), 42)
    zero = sp_core.ss58_encode(IDENTITY, 42)

    assert sp_core.verify(b"anything", forged_sr, zero, sp_core.CRYPTO_SR25519)
    assert sp_core.verify(b"anything", forged_ed, one, sp_core.CRYPTO_ED25519)


def test_ordinary_keys_are_not_weak():
    """An honest key of either scheme is none of them."""

    assert not any(is_weak_key(bytes(k.public_key)) for k in (VALIDATOR, MINER, ED_VALIDATOR))


@pytest.mark.parametrize("signer", [VALIDATOR, ED_VALIDATOR], ids=["sr25519", "ed25519"])
def test_wrapped_form_is_refused(signer):
    """A wallet's signature over <Bytes>payload</Bytes> is a signed text, not a request, though the SDK takes it."""

    payload = http_auth.build_payload(
        scheme="sr25519" if signer is VALIDATOR else "ed25519",
        method="POST",
        path=TARGET.decode(),
        body=BODY,
        nonce_ns=NOW_NS,
        sender_ss58=signer.ss58_address,
        receiver_ss58=MINER.ss58_address,
    )
    wrapped = signer.sign(b"<Bytes>" + payload + b"</Bytes>")
    assert sp_core.verify(payload, wrapped, signer.ss58_address, signer.crypto_type)

    assert refused(signed(signer, signature="0x" + wrapped.hex())) == "AUTH_WRAPPED"


@pytest.mark.parametrize(
    ("age_s", "is_fresh"), [(0, True), (10, True), (10.1, False), (-2, True), (-2.1, False), (1e9, False)]
)
def test_clock_window(age_s, is_fresh):
    """A nonce is good from 2 s ahead to 10 s behind the receiver's clock."""

    now_ns = NOW_NS + int(age_s * 1e9)

    if is_fresh:
        assert accept(signed(), now_ns=now_ns) == asked()
    else:
        assert refused(signed(), now_ns=now_ns) == ("AUTH_FUTURE" if age_s < 0 else "AUTH_STALE")


@pytest.mark.parametrize(
    "other",
    [
        {"body": BODY + b" "},
        {"body": b'{"epoch":7}'},
        {"target": b"/v1/executors?x=1"},
        {"target": b"/v1/executors/"},
        {"target": b"/v1/%65xecutors"},
        {"method": "PUT"},
    ],
    ids=str,
)
def test_every_signed_byte_counts(other):
    """Body, raw target and method are what was signed, byte for byte: nothing is normalised first."""

    assert refused(signed(), **other) == "AUTH_BAD_SIGNATURE"


@pytest.mark.parametrize("target", [b"", b"v1", b"/a\nb", b"/a b", b"/\xff", b"/" + b"a" * 4096])
def test_odd_targets_are_refused(target):
    """A target that could hold a line of the payload, or is no plain path, is refused unread."""

    assert refused(signed(), target=target) == "AUTH_TARGET"


# --- answers ---------------------------------------------------------------------------------------


def answered(signer=MINER, status=200, body=b'{"executors":[]}', of=None):
    return raw(sign_answer(signer, asked=of or asked(), status=status, body=body))


def check(headers, status=200, body=b'{"executors":[]}', of=None):
    return check_answer(headers, asked=of or asked(), status=status, body=body)


def test_answer_payload_is_pinned():
    """The bytes that an answer signs are exactly those of the module's document."""

    assert (
        answer_payload(asked(), scheme="sr25519", status=200, body=b"{}")
        == "\n".join(
            [
                "btauth/1/answer",
                "sr25519",
                "POST",
                "/v1/executors",
                hashlib.sha256(b"{}").hexdigest(),
                str(NOW_NS),
                MINER.ss58_address,
                VALIDATOR.ss58_address,
                "200",
                hashlib.sha256(BODY).hexdigest(),
            ]
        ).encode()
    )


@pytest.mark.parametrize("uri_crypto", [sp_core.CRYPTO_SR25519, sp_core.CRYPTO_ED25519])
def test_answer_is_accepted(uri_crypto):
    """What the asked hotkey answers to this request is accepted, under both schemes."""

    miner = sp_core.Keypair.create_from_uri("//Miner", uri_crypto)
    of = Asked("POST", TARGET, BODY, NOW_NS, VALIDATOR.ss58_address, miner.ss58_address)

    assert check(answered(miner, of=of), of=of).hotkey == miner.ss58_address


@pytest.mark.parametrize(
    ("kwargs", "code"),
    [
        ({"status": 201}, "AUTH_BAD_SIGNATURE"),
        ({"body": b"{}"}, "AUTH_BAD_SIGNATURE"),
        ({"of": asked(nonce_ns=NOW_NS + 1)}, "AUTH_NONCE"),
        ({"of": asked(body=b"{}")}, "AUTH_BAD_SIGNATURE"),
        ({"of": asked(OTHER)}, "AUTH_RECEIVER"),
    ],
)
def test_answer_binds_everything(kwargs, code):
    """Status, body, nonce, the request's body and who asked cannot be exchanged afterwards."""

    with pytest.raises(NotAuthentic) as caught:
        check(answered(), **kwargs)

    assert caught.value.code == code


def test_another_hotkey_cannot_answer():
    """A true signature of another hotkey than the asked one is no answer."""

    with pytest.raises(NotAuthentic) as caught:
        check(answered(OTHER))

    assert caught.value.code == "AUTH_HOTKEY"


def test_an_answer_is_no_request():
    """An answer's signature never passes as a request of the miner, and the reverse."""

    headers = dict(answered())
    claim = read_claim(headers.items(), receiver=VALIDATOR.ss58_address, now_ns=NOW_NS)

    with pytest.raises(NotAuthentic):
        check_request(claim, method="POST", target=TARGET, body=b'{"executors":[]}')


def test_evidence_convinces_a_third_party():
    """The archived record alone shows what the miner said, and any change of it is seen."""

    body = b'{"executors":[]}'
    record = evidence(check(answered()), asked=asked(), status=200, body=body)

    assert check_evidence(record, hotkey=MINER.ss58_address) == body


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.replace(b'"body":"', b'"body":"AAAA'),
        lambda r: r.replace(b"\\n200\\n", b"\\n201\\n"),
        lambda r: r.replace(b"0x", b"0xff", 1)[:-2] + b'"}',
        lambda r: r.replace(b"btauth/1/answer", b"btauth/1"),
        lambda r: r.replace(b"\\nsr25519\\n", b"\\nnone\\n"),
        lambda _: b"[]",
        lambda _: b"{}",
        lambda _: b"\xff",
        lambda _: json.dumps({"payload": 1, "signature": "0x", "body": ""}).encode(),
    ],
)
def test_changed_evidence_proves_nothing(change):
    """A record that was tampered with, or is none, is refused and never raises anything else."""

    record = evidence(check(answered()), asked=asked(), status=200, body=b'{"executors":[]}')

    with pytest.raises(BadAnswer):
        check_evidence(change(record), hotkey=MINER.ss58_address)


def test_evidence_names_its_hotkey():
    """A record of one miner convicts no other."""

    record = evidence(check(answered()), asked=asked(), status=200, body=b'{"executors":[]}')

    with pytest.raises(NotAuthentic):
        check_evidence(record, hotkey=OTHER.ss58_address)


def _cpu_s(call):
    started = time.thread_time()
    call()
    return time.thread_time() - started


LINES = ("51", "rack-1", "1790000000")


@pytest.mark.parametrize("signer", [VALIDATOR, ED_VALIDATOR], ids=["sr25519", "ed25519"])
def test_a_statement_is_its_signers_and_nobody_elses(signer):
    """A signed text holds for the hotkey that signed it, under the scheme that it names, to the last character."""
    text = sign_statement(signer, LINES)

    check_statement(text, hotkey=signer.ss58_address)
    assert text.split("\n")[2:5] == list(LINES)
    for other in (OTHER.ss58_address, MINER.ss58_address):
        with pytest.raises(NotAuthentic):
            check_statement(text, hotkey=other)
    for changed in (
        text.replace("rack-1", "rack-2"),
        text.replace("subnet/statement/1", "btauth/1"),
        text.replace("25519", "25510", 1),
        text[:-1],
        text + "0",
        text.upper(),
        "",
        "\n" * 9,
    ):
        with pytest.raises(NotAuthentic):
            check_statement(changed, hotkey=signer.ss58_address)


def test_a_wrapped_text_or_a_request_is_no_statement():
    """What a wallet signs when it is asked to sign a text, and what signs a request, say nothing here."""
    payload = "\n".join(("subnet/statement/1", "sr25519", *LINES))
    wrapped = VALIDATOR.sign(b"<Bytes>" + payload.encode() + b"</Bytes>")

    with pytest.raises(NotAuthentic, match="AUTH_WRAPPED"):
        check_statement(f"{payload}\n{bytes(wrapped).hex()}", hotkey=VALIDATOR.ss58_address)
    headers = sign_request(VALIDATOR, asked=asked())
    with pytest.raises(NotAuthentic):
        check_statement(f"{payload}\n{headers['X-Bittensor-Signature'][2:]}", hotkey=VALIDATOR.ss58_address)
