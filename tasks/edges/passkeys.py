"""Passkeys: what a browser's authenticator answers to a challenge, checked by the rules of WebAuthn (Level 3).

    made(site, challenge, credential)              a new passkey: its id, its public key, its counter
    used(site, challenge, credential, known)       the counter of a passkey that was used; NotAuthentic unless it was

Origin and RP id have to be the site's own to the last character, the user verified on the device, the counter higher than
at the last use where there is one. Who made the authenticator is not asked: no chain of certificates is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import base64url_to_bytes, parse_attestation_object

from tasks.errors import NotAuthentic

MOST_CHARACTERS = 16 << 10
MOST_ID_BYTES, MOST_KEY_BYTES = 1_023, 2_048
_PLAIN = ("none", "packed")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """Whose passkeys are taken."""

    rp_id: str
    """The host's name; an address has no passkeys."""
    origin: str
    """Scheme, host and port, as browsers write them."""


@dataclass(frozen=True, slots=True)
class Made:
    """A credential as its authenticator made it."""

    credential_id: bytes
    public_key: bytes
    """COSE."""
    sign_count: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the passkey that is said to have been used."""

    public_key: bytes
    sign_count: int
    user_handle: bytes
    """By which the authenticator knows whose it is."""


def made(site: Site, challenge: bytes, credential: str) -> Made:
    """The new passkey in this JSON of `navigator.credentials.create`; NotAuthentic when it is none for this site and challenge."""

    def check(fields: dict[str, Any]) -> Made:
        attested = parse_attestation_object(_bytes(fields, "attestationObject"))
        if str(attested.fmt) not in _PLAIN or attested.att_stmt.x5c:
            raise NotAuthentic("PASSKEY", "the authenticator's maker is not asked for, and not taken")
        found = verify_registration_response(
            credential=fields,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            require_user_verification=True,
        )
        if len(found.credential_id) > MOST_ID_BYTES or len(found.credential_public_key) > MOST_KEY_BYTES:
            raise NotAuthentic("PASSKEY", "its id or its key is longer than any")
        return Made(found.credential_id, found.credential_public_key, found.sign_count)

    return _read(credential, check)


def used(site: Site, challenge: bytes, credential: str, known: Known) -> int:
    """The counter after this JSON of `navigator.credentials.get`; NotAuthentic unless the known passkey made it for this challenge."""

    def check(fields: dict[str, Any]) -> int:
        if _bytes(fields, "userHandle") != known.user_handle:
            raise NotAuthentic("PASSKEY", "it is kept for another account")
        found = verify_authentication_response(
            credential=fields,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=known.public_key,
            credential_current_sign_count=known.sign_count,
            require_user_verification=True,
        )
        return found.new_sign_count

    return _read(credential, check)


def credential_id_of(credential: str) -> bytes:
    """Which passkey is said to have been used; NotAuthentic when nothing is said."""
    return _read(credential, lambda fields: base64url_to_bytes(fields["rawId"]))


def _read(credential: str, check: Callable[[dict[str, Any]], T]) -> T:
    """What `check` makes of the JSON, which comes from a stranger: anything that it raises is a refusal."""
    if len(credential) > MOST_CHARACTERS:
        raise NotAuthentic("PASSKEY", "it is longer than any")
    try:
        fields = json.loads(credential)
        _check_own_page(fields)
        return check(fields)
    except NotAuthentic:
        raise
    except Exception as error:  # noqa: BLE001  the library raises whatever hostile bytes lead it to
        raise NotAuthentic("PASSKEY", f"it does not hold ({type(error).__name__})") from None


def _check_own_page(fields: dict[str, Any]) -> None:
    if json.loads(_bytes(fields, "clientDataJSON")).get("crossOrigin"):
        raise NotAuthentic("PASSKEY", "it was asked for within another site's page")


def _bytes(fields: dict[str, Any], name: str) -> bytes:
    return base64url_to_bytes(fields["response"][name])
