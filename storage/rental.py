"""The nouns of renting: frozen records of leases, the cards that they hold, and the money that they move.

    Wish -> Rental (requested -> reserved -> provisioning -> active <-> stopped -> ending -> ended | failed)
    Transfer: two or more entries that sum to zero; a balance is the sum of an account's entries

Money is integers of micro-USD (1e-6 USD); times are aware UTC datetimes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RentalState(StrEnum):
    """Where a lease stands; it only moves by compare-and-set on its version, along `tasks/renting/moves.py`."""

    REQUESTED = "requested"
    """Wanted; no machine is held for it."""
    RESERVED = "reserved"
    """A machine's cards are held, nothing has been done on it."""
    PROVISIONING = "provisioning"
    """Something is being done on the machine: from here on there may be something to undo there."""
    ACTIVE = "active"
    """Handed over: the renter pays by the second."""
    STOPPED = "stopped"
    """The container stands still, its data and cards are kept."""
    ENDING = "ending"
    """Torn down: no way back."""
    ENDED = "ended"
    FAILED = "failed"
    """Never handed over, and nothing of it is left."""


class Party(StrEnum):
    """Whose fault the end of a lease is; nobody's when it ended as it should."""

    NOBODY = "nobody"
    MACHINE = "machine"
    RENTER = "renter"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a renter asks for: a machine by its key, or any that fits."""

    executor_key: str = ""
    """Empty: any that fits the rest."""
    model: str = ""
    """The table's name; empty: any."""
    card_count: int = 0
    """0: the whole machine, whatever it has."""
    min_vram_gib: float = 0.0
    """Of each card."""
    max_micro_usd_per_hour: int = 0
    """For all cards together; 0: whatever it costs."""
    min_performance: float = 0.0
    """Proved bandwidth over the model's class."""
    min_reliability: float = 0.0
    """Share of its epochs that the machine has passed."""


@dataclass(frozen=True, slots=True)
class Rental:
    """One lease, from the request to its end."""

    lease_id: str
    renter_id: str
    idempotency_key: str
    """Chosen by the renter: one key is one lease, whatever the retries."""
    wish: Wish
    state: RentalState
    version: int
    """Counts its moves: each is a compare-and-set on it."""
    requested_at: datetime
    moved_at: datetime
    executor_key: str = ""
    """Empty while no machine is held."""
    card_uuids: tuple[str, ...] = ()
    micro_usd_per_hour: int = 0
    """For all its cards, fixed when they are reserved."""
    tried: tuple[str, ...] = ()
    """Machines that failed it, and are not tried again."""
    active_at: datetime | None = None
    """Hand-over: it is paid from here."""
    ended_at: datetime | None = None
    """It is paid until here."""
    ends_by: datetime | None = None
    """The renter's own limit; None: until it is ended."""
    party: Party = Party.NOBODY
    reason: str = ""
    """Why it failed or ended: the step and what went wrong, in words."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A machine as renters find it: what the last epoch proved, and which of its cards are free."""

    executor_key: str
    model: str
    vram_gib: float
    """Of each card."""
    card_uuids: tuple[str, ...]
    """All of its cards, held ones too."""
    micro_usd_per_card_hour: int
    performance: float
    reliability: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a transfer."""

    account: str
    """`renter:<id>`, `miner:<hotkey>`, `platform`, `escrow:<lease>`, `outside` (the chain, an operator's credit), `unclaimed`
    and `treasury` (rao on the deposit address, before and after they are credited)."""
    micro_usd: int
    """Above 0: the account has more."""
    rao: int = 0
    """The same in rao of TAO; a transfer sums to zero in each of the two."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that moved, once and for ever: nothing of it is changed later, what was wrong is transferred back."""

    transfer_id: str
    """Names what it is for: the same event has the same name, so that a retry moves nothing twice."""
    at: datetime
    kind: str
    """UPPER_CASE, e.g. DEPOSIT, METER, CREDIT_NOTE."""
    entries: tuple[Entry, ...]
    lease_id: str = ""
    message: str = ""
