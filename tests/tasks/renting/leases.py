"""Leases and offers by hand, everything about them an argument."""

from datetime import UTC, datetime, timedelta

from storage.rental import Offer, Rental, RentalState, Wish

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
USD = 1_000_000


def rental(name="l-1", renter="5Renter", key=None, wish=None, **changes):
    """A lease that was just asked for."""
    asked = {"state": RentalState.REQUESTED, "version": 0, "requested_at": NOON, "moved_at": NOON, **changes}
    return Rental(name, renter, key or name, wish or Wish(), **asked)


def running(price=USD, **changes):
    """A lease of two cards that was handed over at noon, by default for a dollar an hour."""
    told = {"executor_key": "5Miner/a", "card_uuids": ("GPU-a", "GPU-b"), "is_holding": True, **changes}
    told = {"active_at": NOON, "paid_from": NOON, "micro_usd_per_hour": price, **told}
    return rental(renter=told.pop("renter_id", "5Renter"), **{"state": RentalState.ACTIVE, **told})


def after(seconds):
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def offer(key="5Miner/a", cards=2, **changes):
    """A machine with so many L4 at half a dollar each."""
    told = {
        "model": "L4",
        "vram_gib": 24.0,
        "card_uuids": tuple(f"GPU-{key}-{n}" for n in range(cards)),
        "micro_usd_per_card_hour": USD // 2,
        "performance": 1.0,
        "reliability": 1.0,
        **changes,
    }
    return Offer(key, **told)
