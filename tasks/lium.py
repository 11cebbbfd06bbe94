"""What subnet 51 pays by, as parameters: the formula of August 2025 and that of mid 2026, from its public sources.

The models' portions are `PricingPolicy.base_portions`, what a machine deposits is `CollateralPolicy`. `docs/scoring.md` says what each number does, and which of 2026 had to be assumed.
"""

from __future__ import annotations

from dataclasses import dataclass

_H100 = ("H100 80GB HBM3", "H100 PCIe", "H100 NVL")
_A100 = ("A100-SXM4-80GB", "A100 80GB PCIe", "A100-SXM4-40GB", "A100-PCIE-40GB")
_PRO_6000 = (
    "RTX PRO 6000 Blackwell",
    "RTX PRO 6000 Blackwell Server Edition",
    "RTX PRO 6000 Blackwell Max-Q Workstation Edition",
)
DEPOSIT_UNITS_RAO = (
    *(("B300 SXM6", 274_000_000), ("B200", 223_000_000), ("H200", 158_000_000)),
    *(("H200 NVL", 131_000_000), ("H100 80GB HBM3", 103_000_000), ("H100 NVL", 86_000_000)),
    *(("H100 PCIe", 86_000_000), ("H800", 51_000_000), ("H800 NVL", 45_000_000)),
    *(("H800 PCIe", 45_000_000), ("RTX PRO 6000 Blackwell", 45_900_000)),
    *(("RTX PRO 6000 Blackwell Server Edition", 42_500_000), ("A100-SXM4-80GB", 31_000_000)),
    *(("A100 80GB PCIe", 27_000_000), ("L40S", 27_000_000), ("L40", 24_000_000)),
    *(("RTX A6000", 18_000_000), ("RTX 6000 Ada Generation", 17_000_000)),
    *(("GeForce RTX 5090", 14_000_000), ("GeForce RTX 4090", 10_000_000), ("RTX A5000", 9_000_000)),
    *(("GeForce RTX 4090 D", 8_000_000), ("L4", 8_000_000), ("RTX A4500", 8_000_000)),
    *(("RTX A4000", 8_000_000), ("GeForce RTX 3090", 8_000_000)),
)
"""Rao of TAO for one card and day of a model."""


@dataclass(frozen=True, slots=True)
class Lium2025Policy:
    """portion x cards / cards of the model x uptime x isolation x collateral."""

    uptime_floor: float = 0.05
    uptime_most: float = 0.95
    """On top of the floor."""
    uptime_full_min: float = 7_200.0
    """Unbroken minutes that would add 1: `uptime_most` is reached at 6,840."""
    isolated: float = 1.2
    undeposited: float = 0.5
    """0 is what the code of 2025 came to while it enforced collateral."""


@dataclass(frozen=True, slots=True)
class Lium2026Policy:
    """Two pools: a fixed share for what is leased, and for what is idle what it is worth, at most a ceiling; the rest burns."""

    leased_pool: float = 0.09
    idle_pool_most: float = 0.91
    payout_hours: float = 1.2
    """360 blocks of 12 s: what an idle card is owed per payout."""
    miners_share: float = 0.41
    """Of the emission."""
    alpha_per_payout: float = 360.0
    unisolated: float = 0.8
    unisolated_lease: float = 0.0
    """Of leases that began after `unisolated_until`."""
    unisolated_until: str = "2026-04-03"
    """YYYY-MM-DD, UTC."""
    uptime_full_days: float = 14.0
    is_penalty_skipped: bool = False
    """Whether a machine without a deposit is paid as one with it."""
    driver_min: str = "580.65.06"
    driver_since: str = "2026-06-30"
    """YYYY-MM-DD, UTC: from this day an older driver earns an idle machine nothing."""
    programme: tuple[tuple[str, tuple[str, ...]], ...] = (
        *(("B300", ("B300 SXM6",)), ("B200", ("B200",)), ("H200", ("H200", "H200 NVL")), ("H100", _H100)),
        *(("4090", ("GeForce RTX 4090",)), ("A100", _A100), ("A6000", ("RTX A6000",))),
        *(("3090", ("GeForce RTX 3090",)), ("5090", ("GeForce RTX 5090",))),
        *(("6000 Ada", ("RTX 6000 Ada Generation",)), ("PRO 6000", _PRO_6000), ("L40S", ("L40S",))),
        ("L40", ("L40",)),
    )
    """Base models that the idle programme takes, each with the models of our table."""
    caps: tuple[tuple[str, int, int], ...] = (
        *(("", 1, 10), ("", 8, 64)),
        *(("A100", 8, 40), ("B300", 1, 4), ("B300", 8, 32), ("L40S", 8, 16)),
    )
    """Base model (empty: every other), cards of a machine, cards that are paid in full. Other counts are not taken."""
    price_most: float = 3.0
    """Times the market's rate: above it nothing is paid."""
    price_least: float = 0.5
    """Below it the miner is warned."""
    idle_price_most: float = 1.1
    """Times the 90th percentile of what the network asks for the model; 0: not looked at."""
    idle_disk_share: float = 1.5
    """Free disk over the cards' memory that an idle machine needs; 0: not looked at."""
