"""The keys that a miner's door may show by TLS: its hotkey commits them on the chain, and validators take no other.

    subnet-tls/1 PIN              a Raw field of the commitment, ASCII; PIN is the SHA-256 of the public key (SPKI, DER)
    subnet-tls/1 PIN PIN          in base64url without padding, 43 digits; two while one key follows another
    subnet-tls/1 none             taken back: the door is asked by plain HTTP, as where nothing is committed

No authority, no name and no date counts: whoever shows a committed key, and has it, is the door. What is said there is
signed by the hotkey all the same.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tasks.errors import KeyNotPinned

PREFIX = "subnet-tls/"
NONE = "subnet-tls/1 none"
MAX_PINS = 2
MAX_CHARS = 128
"""Of a Raw field."""
_FORM = re.compile(r"subnet-tls/1 (none|[A-Za-z0-9_-]{43}(?: [A-Za-z0-9_-]{43})?)", re.ASCII)


def commitment_of(pins: Sequence[str]) -> str:
    """What is committed for these keys."""
    text = f"{PREFIX}1 {' '.join(pins)}" if pins else NONE
    if not _FORM.fullmatch(text):
        raise ValueError(f"at most {MAX_PINS} pins of 43 digits")
    return text


def pins_of(commitment: str) -> tuple[str, ...]:
    """The keys that may be shown, none where plain HTTP is spoken; KeyNotPinned for a form that we don't know."""
    if not commitment:
        return ()
    match = _FORM.fullmatch(commitment)
    if match is None:
        raise KeyNotPinned(f"the commitment {commitment!r} has no form that is known")
    return () if match[1] == "none" else tuple(match[1].split(" "))


def pin_of(public_key_der: bytes) -> str:
    """The pin of a public key (SPKI, DER)."""
    return base64.urlsafe_b64encode(hashlib.sha256(public_key_der).digest()).decode("ascii").rstrip("=")


def check_shown(certificate_der: bytes, pins: Iterable[str]) -> None:
    """That a server's certificate is of one of these keys; KeyNotPinned otherwise. Nothing else in it is looked at."""
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
        shown = pin_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyNotPinned("it shows no certificate that can be read") from None
    if shown not in pins:
        raise KeyNotPinned(f"it shows the key {shown}")


def pinning_context() -> ssl.SSLContext:
    """For connections whose key is checked by `check_shown`: TLS 1.3, in which a server proves to have the key that it shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def committed_text(fields: Iterable[object]) -> str:
    """What of a commitment's fields (variant -> 0x hex digits) is ours, bounded and printable; empty when nothing is."""
    for field in fields:
        for variant, value in field.items() if isinstance(field, dict) else ():
            text = _text_of(value) if str(variant).startswith("Raw") else ""
            if text.startswith(PREFIX):
                return text
    return ""


def _text_of(value: object) -> str:
    try:
        data = bytes.fromhex(str(value).removeprefix("0x"))[:MAX_CHARS]
    except ValueError:
        return ""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in data)
