"""Leases and offers by hand, everything about them an argument."""

from datetime import UTC, datetime

from storage.rental import Offer, Rental, RentalState, Wish

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
USD = 1_000_000


def rental(name="l-1", renter="5Renter", key=None, wish=None, **changes):
    """A lease that was just asked for."""
    asked = {"state": RentalState.REQUESTED, "version": 0, "requested_at": NOON, "moved_at": NOON, **changes}
    return Rental(name, renter, key or name, wish or Wish(), **asked)


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
