"""Who sent it: requests signed as `btauth/1`, strictly verified, and answers signed likewise.

A request carries the headers X-Bittensor-Version (1), -Hotkey, -Receiver, -Nonce (nanoseconds), -Crypto
(absent for sr25519) and -Signature (0x + 128 hex digits). Signed bytes, UTF-8, joined by one newline:

    btauth/1                       btauth/1/answer
    scheme                         scheme
    METHOD                         METHOD of the request
    path?query as sent             path?query of the request
    sha256 of the body, hex        sha256 of the answer's body, hex
    nonce                          nonce of the request
    sender                         who answers
    receiver                       who asked
                                   status, three digits
                                   sha256 of the request's body, hex

The right column is the answer's; its first line keeps an answer from ever passing as a request. Its headers
are the same six. Who asked can therefore prove to anybody what was answered, to what, and when: `evidence`.

A statement is a text that stands by itself: the line `subnet/statement/1`, the scheme, lines of its own and the
signature over all before it, 128 hex digits. It passes as neither of the two above.

The SDK's own verify accepts other address prefixes, weak keys, `<Bytes>`-wrapped signatures and sloppy
headers, and decodes an address of any length in quadratic time. `read_claim` refuses all that from the
headers alone, cheap checks first; `check_request` then does the one expensive thing. Neither authorises:
a proved hotkey may still be anybody's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from bittensor import http_auth, sp_core

from tasks.errors import BadAnswer, NotAuthentic

ANSWER_PROTOCOL = "btauth/1/answer"
STATEMENT_PROTOCOL = "subnet/statement/1"
MAX_AGE_S = 10.0
MAX_SKEW_S = 2.0
MAX_HEADERS = 48
MAX_HEADER_BYTES = 8 * 1024

RawHeaders = Iterable[tuple[bytes, bytes]]

_SCHEMES: Mapping[str, int] = MappingProxyType(
    {"sr25519": sp_core.CRYPTO_SR25519, "ed25519": sp_core.CRYPTO_ED25519}
)
_SCHEME_NAMES = MappingProxyType({number: name for name, number in _SCHEMES.items()})
_NAMES = MappingProxyType(
    {
        b"x-bittensor-version": "version",
        b"x-bittensor-hotkey": "hotkey",
        b"x-bittensor-receiver": "receiver",
        b"x-bittensor-nonce": "nonce",
        b"x-bittensor-crypto": "crypto",
        b"x-bittensor-signature": "signature",
    }
)
_ADDRESS = re.compile(r"5[1-9A-HJ-NP-Za-km-z]{47}", re.ASCII)
_NONCE = re.compile(r"[0-9]{1,20}", re.ASCII)
_SIGNATURE = re.compile(r"0x[0-9a-fA-F]{128}", re.ASCII)
_TARGET = re.compile(r"/[\x21-\x7e]{0,2047}", re.ASCII)
_METHOD = re.compile(r"[A-Z]{3,7}", re.ASCII)

_P = 2**255 - 19
_ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER_Y = frozenset({0, 1, _P - 1, _P, _P + 1, _ORDER_8_Y, _P - _ORDER_8_Y})


class Signer(Protocol):
    """What signs: the SDK's Keypair, or anything of its shape."""

    @property
    def ss58_address(self) -> str:
        """The hotkey, prefix 42."""
        ...

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        ...

    @property
    def crypto_type(self) -> int:
        """0 for ed25519, 1 for sr25519."""
        ...

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """What well-formed headers claim; nothing of it is proved before `check_request` or `check_answer`."""

    hotkey: str
    receiver: str
    nonce_ns: int
    scheme: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that an answer belongs to, as it was signed."""

    method: str
    target: bytes
    body: bytes
    nonce_ns: int
    sender: str
    receiver: str


# --- requests --------------------------------------------------------------------------------------


def sign_request(signer: Signer, *, asked: Asked) -> dict[str, str]:
    """The headers that make a request ours; every retry needs a fresh nonce."""
    return http_auth.sign(
        signer,
        method=asked.method,
        path=asked.target.decode("ascii"),
        body=asked.body,
        receiver_ss58=asked.receiver,
        nonce_ns=asked.nonce_ns,
    )


def read_claim(headers: RawHeaders, *, receiver: str, now_ns: int | None) -> Claim:
    """The claim in these raw headers, meant for `receiver` and, given a clock, fresh; NotAuthentic otherwise.

    Costs microseconds whatever is sent: sizes and forms first, address arithmetic last, no signature yet.
    """
    found = _auth_headers(headers)
    if found.get("version") != http_auth.VERSION:
        raise NotAuthentic("AUTH_VERSION", "X-Bittensor-Version must be 1")
    claim = Claim(
        hotkey=_form(found, "hotkey", _ADDRESS, "48 base58 characters of prefix 42"),
        receiver=_form(found, "receiver", _ADDRESS, "48 base58 characters of prefix 42"),
        nonce_ns=int(_form(found, "nonce", _NONCE, "1 to 20 decimal digits")),
        scheme=_scheme(found),
        signature=bytes.fromhex(_form(found, "signature", _SIGNATURE, "0x and 128 hex digits")[2:]),
    )
    if claim.receiver != receiver:
        raise NotAuthentic("AUTH_RECEIVER", "signed for another receiver")
    if now_ns is not None:
        _check_fresh(claim.nonce_ns, now_ns)
    check_hotkey(claim.hotkey)
    return claim


def check_request(claim: Claim, *, method: str, target: bytes, body: bytes) -> Asked:
    """The proved request; NotAuthentic when the signature is not over exactly these raw bytes."""
    if not _METHOD.fullmatch(method) or not _TARGET.fullmatch(target.decode("latin-1")):
        raise NotAuthentic("AUTH_TARGET", "method or request target is not plain")
    asked = Asked(method, target, body, claim.nonce_ns, claim.hotkey, claim.receiver)
    _check_signature(_request_payload(asked, claim.scheme), claim)
    return asked


# --- answers ---------------------------------------------------------------------------------------


def sign_answer(signer: Signer, *, asked: Asked, status: int, body: bytes) -> dict[str, str]:
    """The headers that bind this body and status to the request that was asked."""
    scheme = _SCHEME_NAMES[signer.crypto_type]
    payload = answer_payload(asked, scheme=scheme, status=status, body=body)
    headers = {
        http_auth.HEADER_VERSION: http_auth.VERSION,
        http_auth.HEADER_HOTKEY: signer.ss58_address,
        http_auth.HEADER_RECEIVER: asked.sender,
        http_auth.HEADER_NONCE: str(asked.nonce_ns),
        http_auth.HEADER_SIGNATURE: "0x" + bytes(signer.sign(payload)).hex(),
    }
    if scheme != "sr25519":
        headers[http_auth.HEADER_CRYPTO] = scheme
    return headers


def check_answer(headers: RawHeaders, *, asked: Asked, status: int, body: bytes) -> Claim:
    """The proved claim of an answer to our request; NotAuthentic when it is not the asked one's.

    Our own nonce in it makes it fresh, however slow it was.
    """
    claim = read_claim(headers, receiver=asked.sender, now_ns=None)
    if claim.hotkey != asked.receiver:
        raise NotAuthentic("AUTH_HOTKEY", "answered by another hotkey than was asked")
    if claim.nonce_ns != asked.nonce_ns:
        raise NotAuthentic("AUTH_NONCE", "an answer to another request")
    _check_signature(answer_payload(asked, scheme=claim.scheme, status=status, body=body), claim)
    return claim


def answer_payload(asked: Asked, *, scheme: str, status: int, body: bytes) -> bytes:
    """The exact bytes that an answer's signature is over (module docstring, right column)."""
    lines = (
        ANSWER_PROTOCOL,
        scheme,
        asked.method,
        asked.target.decode("ascii"),
        hashlib.sha256(body).hexdigest(),
        str(asked.nonce_ns),
        asked.receiver,
        asked.sender,
        f"{status:03d}",
        hashlib.sha256(asked.body).hexdigest(),
    )
    return "\n".join(lines).encode("ascii")


# --- evidence --------------------------------------------------------------------------------------


def evidence(claim: Claim, *, asked: Asked, status: int, body: bytes) -> bytes:
    """A proved answer as one piece of JSON that anybody can check without us."""
    payload = answer_payload(asked, scheme=claim.scheme, status=status, body=body)
    record = {
        "payload": payload.decode("ascii"),
        "signature": "0x" + claim.signature.hex(),
        "body": base64.b64encode(body).decode("ascii"),
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode("ascii")


def check_evidence(record: bytes, *, hotkey: str) -> bytes:
    """The body that this hotkey signed at the time; NotAuthentic or BadAnswer when the record proves nothing."""
    try:
        fields = json.loads(record)
        payload, signature = fields["payload"], bytes.fromhex(fields["signature"][2:])
        body = base64.b64decode(fields["body"], validate=True)
        protocol, scheme, _, _, digest, nonce, sender, receiver, _, _ = payload.split("\n")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer(f"evidence does not parse: {type(error).__name__}") from None
    if (protocol, sender, digest) != (ANSWER_PROTOCOL, hotkey, hashlib.sha256(body).hexdigest()):
        raise NotAuthentic("AUTH_EVIDENCE", "the payload names another protocol, sender or body")
    if scheme not in _SCHEMES or not _NONCE.fullmatch(nonce):
        raise NotAuthentic("AUTH_EVIDENCE", "the payload names no known scheme, or no nonce")
    check_hotkey(sender)
    _check_signature(payload.encode(), Claim(sender, receiver, int(nonce), scheme, signature))
    return body


# --- statements ------------------------------------------------------------------------------------


def sign_statement(signer: Signer, lines: Sequence[str]) -> str:
    """These lines as a signed text; none of them may hold a newline."""
    payload = "\n".join((STATEMENT_PROTOCOL, _SCHEME_NAMES[signer.crypto_type], *lines))
    return f"{payload}\n{bytes(signer.sign(payload.encode('ascii'))).hex()}"


def check_statement(text: str, *, hotkey: str) -> None:
    """That this hotkey signed this text; NotAuthentic otherwise."""
    payload, _, signature = text.rpartition("\n")
    protocol, scheme, *_ = [*payload.split("\n", 2), ""]
    if protocol != STATEMENT_PROTOCOL or scheme not in _SCHEMES or not _SIGNATURE.fullmatch(f"0x{signature}"):
        raise NotAuthentic("AUTH_STATEMENT", "no statement of a known protocol, scheme and signature")
    check_hotkey(hotkey)
    _check_signature(payload.encode(), Claim(hotkey, "", 0, scheme, bytes.fromhex(signature)))


def is_signed_by(text: str, hotkey: str) -> bool:
    """Whether this hotkey signed this text."""
    try:
        check_statement(text, hotkey=hotkey)
    except NotAuthentic:
        return False
    return True


def is_text_of(text: str, signature: str, hotkey: str) -> bool:
    """Whether this hotkey signed this very text, as it is or in `<Bytes>` as wallets put it; hex, with 0x or without.

    For texts alone that say themselves what they are for: of a request and a statement the wrapped form proves nothing.
    """
    digits = signature.removeprefix("0x")
    if not _SIGNATURE.fullmatch(f"0x{digits}"):
        return False
    try:
        check_hotkey(hotkey)
    except NotAuthentic:
        return False
    claims = (Claim(hotkey, "", 0, scheme, bytes.fromhex(digits)) for scheme in _SCHEMES)
    return any(_verifies(text.encode(), claim) for claim in claims)


# --- keys ------------------------------------------------------------------------------------------


def check_hotkey(address: str) -> bytes:
    """The 32 bytes of a 48-character prefix-42 address; NotAuthentic for another form or a weak key."""
    if not _ADDRESS.fullmatch(address):
        raise NotAuthentic("AUTH_HOTKEY", "an address is 48 base58 characters of prefix 42")
    try:
        public = bytes(sp_core.ss58_decode(address))
    except ValueError:
        raise NotAuthentic("AUTH_HOTKEY", "the address's checksum does not hold") from None
    if sp_core.ss58_encode(public, 42) != address:
        raise NotAuthentic("AUTH_HOTKEY", "an address has prefix 42")
    if is_weak_key(public):
        raise NotAuthentic("AUTH_WEAK_KEY", "this key verifies any message")
    return public


def is_weak_key(public: bytes) -> bool:
    """Whether 32 bytes are the sr25519 identity or a small-order ed25519 point, in any encoding."""
    return int.from_bytes(public, "little") & (2**255 - 1) in _SMALL_ORDER_Y


# --- helpers, in call order ------------------------------------------------------------------------


def _auth_headers(headers: RawHeaders) -> dict[str, str]:
    found: dict[str, str] = {}
    size = 0
    for count, (name, value) in enumerate(headers, start=1):
        size += len(name) + len(value)
        if count > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise NotAuthentic("AUTH_TOO_LONG", f"over {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes")
        key = _NAMES.get(name.lower())
        if key is None:
            continue
        if key in found:
            raise NotAuthentic("AUTH_DUPLICATE", f"two X-Bittensor-{key.title()} headers")
        found[key] = value.decode("latin-1")
    return found


def _form(found: Mapping[str, str], key: str, form: re.Pattern[str], wanted: str) -> str:
    value = found.get(key)
    if value is None:
        raise NotAuthentic("AUTH_MISSING", f"no X-Bittensor-{key.title()} header")
    if not form.fullmatch(value):
        raise NotAuthentic(f"AUTH_{key.upper()}", f"X-Bittensor-{key.title()} must be {wanted}")
    return value


def _scheme(found: Mapping[str, str]) -> str:
    scheme = found.get("crypto", "sr25519")
    if scheme not in _SCHEMES:
        raise NotAuthentic("AUTH_CRYPTO", "X-Bittensor-Crypto is absent, sr25519 or ed25519")
    return scheme


def _check_fresh(nonce_ns: int, now_ns: int) -> None:
    age_s = (now_ns - nonce_ns) / 1e9
    if not -MAX_SKEW_S <= age_s <= MAX_AGE_S:
        raise NotAuthentic(
            "AUTH_FUTURE" if age_s < 0 else "AUTH_STALE",
            f"the nonce is {_bounded(age_s)} s old, wanted -{MAX_SKEW_S:g} to {MAX_AGE_S:g}",
        )


def _bounded(age_s: float) -> str:
    return f"{max(-1e9, min(1e9, age_s)):.1f}"


def _request_payload(asked: Asked, scheme: str) -> bytes:
    return http_auth.build_payload(
        scheme=scheme,
        method=asked.method,
        path=asked.target.decode("ascii"),
        body=asked.body,
        nonce_ns=asked.nonce_ns,
        sender_ss58=asked.sender,
        receiver_ss58=asked.receiver,
    )


def _check_signature(payload: bytes, claim: Claim) -> None:
    # The library also accepts a signature over the wrapped payload: what a wallet makes of "sign this text".
    # Asked for the wrapped bytes themselves, it says which of the two this is.
    if not _verifies(payload, claim):
        raise NotAuthentic(
            "AUTH_BAD_SIGNATURE", "the signature does not hold for this hotkey and these bytes"
        )
    if _verifies(b"<Bytes>" + payload + b"</Bytes>", claim):
        raise NotAuthentic("AUTH_WRAPPED", "a signed <Bytes> text is no signed request")


def _verifies(message: bytes, claim: Claim) -> bool:
    try:
        return bool(sp_core.verify(message, claim.signature, claim.hotkey, _SCHEMES[claim.scheme]))
    except ValueError:
        return False
