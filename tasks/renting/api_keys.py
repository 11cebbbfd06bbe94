"""API keys: `sn_<id>_<secret>`. Pure but for the randomness of a new one.

The secret is 256 random bits, so that one fast hash is enough to keep it: there is nothing to guess that a slow one would
make dearer. The key's name goes into the digest, so that a digest moved to another row fits nothing.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

from storage.renter import ApiKey, Scope

MAX_TOKEN_CHARACTERS = 128
_TOKEN = re.compile(r"sn_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")


class Token(NamedTuple):
    """What a renter sends, taken apart."""

    key_id: str
    secret: str


def new_key(
    renter_id: str, name: str, scopes: Iterable[Scope], now: datetime, expires_at: datetime | None = None
) -> tuple[str, ApiKey]:
    """A new key: the text that its renter is shown once, and what we keep of it."""
    token = Token(secrets.token_hex(8), secrets.token_urlsafe(32))
    key = ApiKey(
        key_id=token.key_id,
        renter_id=renter_id,
        name=name,
        digest=digest_of(token),
        scopes=tuple(sorted(set(scopes))),
        created_at=now,
        expires_at=expires_at,
    )
    return f"sn_{token.key_id}_{token.secret}", key


def parse(text: str) -> Token | None:
    """The parts of what was sent as a key; None when it can be none of ours."""
    if len(text) > MAX_TOKEN_CHARACTERS:
        return None
    found = _TOKEN.match(text)
    return Token(*found.groups()) if found else None


def digest_of(token: Token) -> bytes:
    """What is kept of a secret."""
    return blake2b(token.secret.encode(), digest_size=32, key=token.key_id.encode()).digest()


def fits(token: Token, key: ApiKey) -> bool:
    """Whether the secret is the key's, in a time that tells nothing about it."""
    return token.key_id == key.key_id and hmac.compare_digest(digest_of(token), key.digest)


def ended(key: ApiKey, now: datetime) -> str:
    """Why a key opens nothing any more, in words; empty: it does."""
    if key.revoked_at is not None:
        return f"the API key {key.name!r} was revoked at {key.revoked_at:%Y-%m-%d %H:%M:%S} UTC"
    if key.expires_at is not None and key.expires_at <= now:
        return f"the API key {key.name!r} expired at {key.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def allows(key: ApiKey, scope: Scope) -> bool:
    """Whether it may be used for this."""
    return scope in key.scopes or Scope.ADMIN in key.scopes
