"""What scoring tells of a machine, each with its mend: why there is no term, or why a term takes something off."""

from __future__ import annotations

from functools import lru_cache

from storage.records import Reason, Severity

RAO_PER_UNIT = 1_000_000_000
"""TAO of a deposit, alpha of what is locked on the chain."""
GIB = 1 << 30
MAX_TEXT = 200
"""Characters of what a machine says of itself."""
_SHARED = lru_cache(maxsize=1_024)
"""Many machines are told the same: one record serves them all."""

NOT_INSPECTED = Reason(
    "NOT_INSPECTED",
    Severity.NO_VERDICT,
    "no report of this epoch",
    "an inspected machine",
    "Nothing to do: the validator did not get to this machine.",
)
NOT_PROVED = Reason(
    "NOT_PROVED",
    Severity.NO_VERDICT,
    "no proof of this epoch",
    "every card proved",
    "Nothing to do: the validator did not get to prove this machine.",
)
NO_RATE = Reason(
    "MODEL_WITHOUT_RATE",
    Severity.FAIL,
    "a model that is not in the table of models",
    "a model with a market rate",
    "List cards of a supported model.",
)
NO_FIGURE = Reason(
    "PROOF_WITHOUT_FIGURE",
    Severity.NO_VERDICT,
    "a proof whose bandwidth is no positive number",
    "a measured bandwidth for every card",
    "Nothing to do: the validator's measurement failed.",
)


def _told(code: str, got: str, wanted: str, mend: str) -> Reason:
    """A reason whose severity is settled when the score is known."""
    return Reason(code, Severity.WARN, got, wanted, mend)


def zero_term(names: str) -> Reason:
    """For a zero that no other reason explains."""
    return _told(
        "TERM_IS_ZERO",
        names or "a score too small for a number",
        "every term above 0",
        "The policy gives nothing for this yet: see its rates and floors.",
    )


def collateral_short(locked_rao: int, needed_rao: int) -> Reason:
    """The default formula's: locked by the miner, for all its machines."""
    return _told(
        "COLLATERAL_SHORT",
        f"{locked_rao / RAO_PER_UNIT:.9f} alpha locked",
        f"{needed_rao / RAO_PER_UNIT:.9f} alpha for the cards of all machines",
        "Lock more collateral for the miner's hotkey; until then the score is reduced.",
    )


def deposit_missing(deposited_rao: int, needed_rao: int) -> Reason:
    """Of a machine's own deposit."""
    return _told(
        "DEPOSIT_MISSING",
        f"{deposited_rao / RAO_PER_UNIT:.9f} TAO deposited",
        f"{needed_rao / RAO_PER_UNIT:.9f} TAO",
        "Deposit the rest for this machine; until then its score is reduced.",
    )


@_SHARED
def isolation_missing(offered: tuple[str, ...], isolating: tuple[str, ...]) -> Reason:
    """No runtime that keeps a tenant from the host."""
    return _told(
        "ISOLATION_MISSING",
        ", ".join(offered)[:MAX_TEXT] or "no container runtime",
        "one of " + ", ".join(isolating),
        "Install sysbox and register its runtime with the container engine.",
    )


def price_above_market(price_usd: float, most_usd: float) -> Reason:
    """The declared price is too many times the market's."""
    return _told(
        "PRICE_ABOVE_MARKET",
        f"{price_usd:.4f} USD an hour for the machine",
        f"at most {most_usd:.4f}",
        "Lower the machine's price.",
    )


def price_below_floor(price_usd: float, least_usd: float) -> Reason:
    """Only told."""
    return _told(
        "PRICE_BELOW_FLOOR",
        f"{price_usd:.4f} USD an hour for the machine",
        f"at least {least_usd:.4f}",
        "Raise the machine's price: below the floor it can't be rented out.",
    )


@_SHARED
def capacity_shared(cards: int, cap: int, bucket: str) -> Reason:
    """More idle cards than the policy pays in full, or none of them paid."""
    return _told(
        "NO_CAPACITY_IN_BUCKET" if cap == 0 else "CAPACITY_SHARED",
        f"{cards} idle cards of {bucket}",
        f"at most {cap} to be paid in full",
        "Lease them out, or bring cards of a model and shape that is short.",
    )


@_SHARED
def lease_without_rent() -> Reason:
    """Leased, and nothing vouches for it."""
    return _told(
        "LEASE_WITHOUT_RENT",
        "a lease for 0 USD an hour",
        "a lease with a rent",
        "Ask a price: a leased machine is paid by its rent, since no full proof disturbs its renter.",
    )


@_SHARED
def model_without_portion(model: str) -> Reason:
    """The formula has no share of the emission for it."""
    return _told(
        "MODEL_WITHOUT_PORTION",
        f"no portion for {model[:MAX_TEXT]}",
        "a model with a portion of the emission",
        "Bring cards of a model that the policy lists.",
    )


@_SHARED
def not_in_programme(model: str, cards: int) -> Reason:
    """Model or count is none that is paid while idle."""
    return _told(
        "NOT_IN_IDLE_PROGRAMME",
        f"{cards} x {model[:MAX_TEXT]}",
        "a model and a count that the idle programme takes",
        "Lease the machine out, or bring one of a listed model with 1 or 8 cards.",
    )


def idle_price_high(price_usd: float, most_usd: float) -> Reason:
    """Dearer than nearly all others of the model."""
    return _told(
        "IDLE_PRICE_ABOVE_NETWORK",
        f"{price_usd:.4f} USD an hour for a card",
        f"at most {most_usd:.4f}, from what the network asks for the model",
        "Lower the machine's price.",
    )


def idle_disk_small(free_bytes: float, needed_bytes: float) -> Reason:
    """Too little room for what tenants bring."""
    got = "unknown" if free_bytes != free_bytes else f"{free_bytes / GIB:.0f} GiB free"  # noqa: PLR0124  NaN
    return _told(
        "IDLE_DISK_TOO_SMALL",
        got,
        f"{needed_bytes / GIB:.0f} GiB for the cards' memory",
        "Free some disk, or add one.",
    )


@_SHARED
def driver_too_old(driver: str, least: str) -> Reason:
    """Of the idle part."""
    return _told(
        "DRIVER_TOO_OLD", driver[:MAX_TEXT] or "no driver", f"{least} or newer", "Upgrade the NVIDIA driver."
    )


def token_price_missing(missing: str) -> Reason:
    """Our trouble, or the market's: nothing was found out about the machine."""
    return Reason(
        "TOKEN_PRICE_MISSING",
        Severity.NO_VERDICT,
        f"no price: {missing}",
        "prices of TAO and alpha",
        "Nothing to do: the validator knows no price, so idle machines have no share this epoch.",
    )
