"""The nouns of a renter: who it is, how it proves it, and what it keeps with us. Frozen records.

Renter ─┬─ ApiKey       proves that a request is the renter's; its secret is never stored
        ├─ Passkey      proves that a browser is the renter's; its secret never leaves the renter's device
        ├─ SshKey       a public key that its containers let in
        ├─ Template     a pod that it starts often
        └─ Webhook ──── Delivery     one event of a lease on its way to one address

PageSession: a browser that was signed in with an API key, a passkey, or by a miner's or an operator's hotkey
BlockedImage: what no renter may run
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RenterState(StrEnum):
    """Whether a renter may rent."""

    ALLOWED = "allowed"
    STOPPED = "stopped"
    """By an operator: nothing new starts, what runs has until `grace_until`."""


class Scope(StrEnum):
    """What an API key may do; each allows only itself, ADMIN all of them."""

    READ = "read"
    RENT = "rent"
    MONEY = "money"
    ADMIN = "admin"
    """Its own renter's keys and webhooks, beside everything else."""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    """To be sent at `next_at`."""
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"
    """Tried for a day, or its webhook is gone."""


@dataclass(frozen=True, slots=True)
class Renter:
    """Somebody who rents."""

    renter_id: str
    """a-z, 0-9 and -: it is part of the names of containers and volumes."""
    created_at: datetime
    state: RenterState = RenterState.ALLOWED
    stopped_at: datetime | None = None
    grace_until: datetime | None = None
    """Of one that was stopped: its leases are ended then."""
    reason: str = ""
    """Why it was stopped, in words that it may read."""
    is_self_made: bool = False
    """It made its account by itself, on a page: forgotten when nothing is ever done with it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as we keep it: what it may do, and the digest by which its secret is known again."""

    key_id: str
    renter_id: str
    name: str
    """Chosen by the renter, to know it again."""
    digest: bytes
    """Of the secret, `tasks/renting/api_keys.py`."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    """None: never."""
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential: a browser that has it may what its renter may."""

    passkey_id: str
    """BLAKE2b, hex, of the name of the site that it is for and of its credential's id."""
    renter_id: str
    name: str
    """Chosen by the renter, to know it again."""
    credential_id: bytes
    public_key: bytes
    """COSE."""
    sign_count: int
    """The authenticator's, at its last use; 0: it does not count."""
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PageSession:
    """A browser that is signed in, by one of three: it may what that may, as long as that lives."""

    digest: str
    """BLAKE2b, hex, of what the browser holds; that itself is nowhere."""
    begun_at: datetime
    ends_at: datetime
    key_id: str | None = None
    """An API key."""
    passkey_id: str | None = None
    hotkey: str | None = None
    """SS58 of one whose owner signed for this browser: no renter at all."""


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key of a renter."""

    renter_id: str
    name: str
    public_line: str
    """As in an authorized_keys file, without options: type, base64, name."""
    fingerprint: str
    """`SHA256:` and base64, as ssh-keygen shows it."""
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Template:
    """A pod that a renter starts often."""

    renter_id: str
    name: str
    about: str
    pod: str
    """JSON of the pod, values of its environment left out."""
    sealed: bytes
    """Those values, sealed; empty: there are none."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told what happens to a renter's leases."""

    webhook_id: str
    renter_id: str
    url: str
    kinds: tuple[str, ...]
    """Of events; none: all."""
    sealed: bytes
    """The secret that its deliveries are signed with, sealed."""
    created_at: datetime
    after_sequence: int
    """The last event of which it has a delivery."""
    failing_since: datetime | None = None
    """None: the last delivery that ended was taken."""
    disabled_at: datetime | None = None
    """After days of failures: its renter enables it again."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook; the event has one delivery, however often that is sent."""

    delivery_id: str
    """The webhook and the event's number: whoever gets it twice knows it by this."""
    webhook_id: str
    renter_id: str
    lease_id: str
    kind: str
    body: str
    """The JSON that is signed and sent, the same at each attempt."""
    created_at: datetime
    next_at: datetime
    state: DeliveryState = DeliveryState.WAITING
    attempts: int = 0
    ended_at: datetime | None = None
    http_status: int = 0
    """Of the last attempt; 0: there was no answer."""
    fault: str = ""
    """Why the last attempt failed, in words; empty: it did not."""


@dataclass(frozen=True, slots=True)
class BlockedImage:
    """Images that no renter may run."""

    pattern: str
    """Shell-style (`*`, `?`), over the whole name with its tag or digest."""
    reason: str
    blocked_by: str
    blocked_at: datetime


@dataclass(frozen=True, slots=True)
class RequestSeen:
    """What an idempotency key of a renter was used for first."""

    renter_id: str
    idempotency_key: str
    digest: str
    """BLAKE2b, hex, of what was asked."""
    at: datetime
