"""Between which values each number of a policy makes sense: a policy comes from whoever starts the flow.

Every number of every section has a row; what is outside its row is refused before an epoch is opened.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from ipaddress import ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from tasks.errors import PolicyRefused
from tasks.scoring.bills import IN_SHADOW

if TYPE_CHECKING:
    from tasks.policy import Policy

GIB, MIB = 1 << 30, 1 << 20
RAO = 10**9
PPM = 1_000_000
MANY_CARDS = 10_000_000
LEAST_PORTS = 64
FORMS = ("cuda", "cpu")
COLLATERAL_SOURCES = ("none", "chain", "ledger")

LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "inspection.min_vram_bytes": (0, 1_024 * GIB),
        "inspection.min_ram_bytes": (0, 16_384 * GIB),
        "inspection.min_disk_free_bytes": (0, 1_048_576 * GIB),
        "inspection.min_mbit_s": (0, 100_000),
        "inspection.max_cards": (1, 14),
        "inspection.vram_window": (0.5, 1.5),
        "inspection.max_idle_utilisation_pct": (0, 100),
        "inspection.max_held_memory_mib": (0, 1_048_576),
        "inspection.min_power_limit_share": (0, 1),
        "inspection.bandwidth_probe_bytes": (1_024, 4 * MIB),
        "inspection.bandwidth_repeat_bytes": (1_024, 4 * MIB),
        "inspection.bandwidth_probes_at_once": (1, 1_000),
        "inspection.bandwidth_turn_s": (0.1, 60),
        "inspection.bandwidth_smoothing": (0, 1),
        "inspection.session_deadline_s": (1, 240),
        "proof.memory_scale": (1, 1 << 20),
        "proof.memory_share": (0.5, 1),
        "proof.reserve_bytes": (0, 8 * GIB),
        "proof.chain_w": (1, 1_024),
        "proof.rounds": (1, 8),
        "proof.round_s": (0, 10),
        "proof.walkers": (1, 1 << 20),
        "proof.fast_walkers": (1, 1 << 20),
        "proof.segment_steps": (1, 1 << 20),
        "proof.multiply_columns": (16, 1 << 13),
        "proof.multiply_row_share": (0, 1),
        "proof.opened_tiles": (1, 16),
        "proof.fill_deadline_s": (0.1, 600),
        "proof.barrier_deadline_s": (0.1, 600),
        "proof.round_deadline_s": (0.1, 600),
        "proof.open_deadline_s": (0.1, 600),
        "proof.slot_s": (0, 600),
        "proof.slots": (1, 64),
        "proof.phase_s": (0, 3_600),
        "proof.leased_proof_bytes": (65_536, 8 * GIB),
        "proof.latency_credit_s": (0, 1),
        "proof.min_bandwidth_share": (0, 1),
        "proof.floor_bandwidth_share": (0, 1),
        "proof.max_bandwidth_share": (1, 10),
        "proof.history_days": (1, 3_650),
        "proof.history_miners": (0, 1_000),
        "proof.history_machines": (0, 10_000),
        "scoring.performance_window": (0, 10),
        "scoring.unproven_performance": (0, 10),
        "scoring.full_bandwidth_mbit_s": (1, 1_000_000),
        "scoring.bandwidth_floor": (0, 1),
        "scoring.uptime_floor": (0, 1),
        "scoring.uptime_full_s": (1, 31_536_000),
        "scoring.uncollateralised": (0, 1),
        "scoring.unisolated": (0, 1),
        "scoring.leased_share": (0, 1),
        "scoring.price_most": (0, 1_000),
        "scoring.overpriced": (0, 1),
        "scoring.cap_cards": (0, MANY_CARDS),
        "lium_2025.uptime_floor": (0, 1),
        "lium_2025.uptime_most": (0, 1),
        "lium_2025.uptime_full_min": (1, 525_600),
        "lium_2025.isolated": (0, 10),
        "lium_2025.undeposited": (0, 1),
        "lium_2026.leased_pool": (0, 1),
        "lium_2026.idle_pool_most": (0, 1),
        "lium_2026.payout_hours": (0, 8_760),
        "lium_2026.miners_share": (0.001, 1),
        "lium_2026.alpha_per_payout": (0.001, 21_000_000),
        "lium_2026.unisolated": (0, 1),
        "lium_2026.unisolated_lease": (0, 1),
        "lium_2026.uptime_full_days": (0.001, 3_650),
        "lium_2026.price_most": (0, 1_000),
        "lium_2026.price_least": (0, 1),
        "lium_2026.idle_price_most": (0, 1_000),
        "lium_2026.idle_disk_share": (0, 100),
        "records.failure_budget": (1, 1_000_000),
        "records.grace_epochs": (0, 1),
        "records.grace_budget": (0, 1_000_000),
        "records.swap_valid_s": (600, 2_592_000),
        "records.swap_interval_s": (0, 31_536_000),
        "collateral.days": (0, 3_650),
        "collateral.other_unit_rao": (0, 1_000 * RAO),
        "collateral.min_deposit_rao": (1, 1_000_000 * RAO),
        "collateral.reclaim_window_s": (0, 31_536_000),
        "pricing.least_token_sources": (1, 10),
        "pricing.token_spread": (0, 1),
        "pricing.least_rate_sources": (1, 10),
        "pricing.rate_spread": (0, 1),
        "pricing.rate_drift": (1, 100),
        "pricing.answer_life_s": (60, 86_400),
        "pricing.stale_after_s": (60, 31_536_000),
        "pricing.portion_step": (0, 1),
        "pricing.portion_step_s": (1, 86_400),
        "pricing.first_portion_step": (0, 1),
        "pricing.portion_catch_up_s": (0, 31_536_000),
        "weights.burn_share": (0, 1),
        "weights.burn_uids": (0, 65_535),
        "weights.burn_minor_share": (0, 1),
        "weights.max_epochs": (1, 288),
        "weights.version_key": (0, 2**63 - 1),
        "renting.least_card_micro_usd_per_hour": (0, 1_000_000_000),
        "renting.most_card_micro_usd_per_hour": (1, 1_000_000_000),
        "renting.price_least": (0, 1),
        "renting.price_most": (1, 1_000),
        "renting.platform_ppm": (0, 500_000),
        "renting.reserved_most_hours": (1, 87_600),
        "renting.early_end_ppm": (0, PPM),
        "renting.spot_floor_ppm": (0, PPM),
        "renting.spot_notice_s": (0, 86_400),
        "renting.min_balance_s": (0, 86_400),
        "renting.warn_s": (0, 604_800),
        "renting.ahead_s": (0, 3_600),
        "renting.grace_s": (0, 31_536_000),
        "renting.stopped_most_s": (60, 315_360_000),
        "renting.goodwill_s": (0, 86_400),
        "renting.dead_looks": (1, 100),
        "renting.away_s": (0, 86_400),
        "renting.meter_every_s": (1, 86_400),
        "renting.look_deadline_s": (0.1, 600),
        "renting.looks_at_once": (1, 1_000),
        "renting.metrics_fine_s": (0, 31_536_000),
        "renting.metrics_minutes_s": (0, 31_536_000),
        "renting.metrics_hours_s": (0, 315_360_000),
        "renting.deposit_blocks": (1, 10_000),
        "renting.deposit_price_age_s": (60, 31_536_000),
        "renting.enter_s": (1, 600),
        "renting.prove_s": (1, 900),
        "renting.pull_s": (1, 3_600),
        "renting.start_s": (1, 600),
        "renting.probe_s": (1, 600),
        "renting.machine_s": (5, 3_600),
        "renting.rent_s": (5, 86_400),
        "renting.most_tries": (1, 100),
        "renting.stop_s": (1, 600),
        "renting.stop_grace_s": (0, 300),
        "renting.first_port": (1_024, 65_535),
        "renting.last_port": (1_024, 65_535),
        "renting.backup_s": (1, 86_400),
        "renting.backup_most_bytes": (1, 2**50),
        "renting.give_up_s": (60, 31_536_000),
        "renting.events_s": (604_800, 3_153_600_000),
    }
)
"""Section and field: least and most, both allowed; of a window, both of its ends, in order."""
SHADOW_CHECKS = frozenset(
    {
        *("GPU_VRAM_BELOW_MINIMUM", "GPU_POWER_LIMIT_BELOW_DEFAULT", "GPU_USAGE_HIGH", "GPU_FOREIGN_PROCESS"),
        *("GPU_VRAM_HELD", "GPU_MIG_ENABLED", "GPU_READINGS_DISAGREE", "RAM_BELOW_MINIMUM"),
        *("DISK_BELOW_MINIMUM", "NETWORK_SPEED_TOO_SLOW", "OS_NOT_LINUX", "SPEC_CHANGED", "GPU_UUID_CHANGED"),
        *("SWAP_NOT_AS_ANNOUNCED", "UUID_DUPLICATE", "BANDWIDTH_TOO_LOW", "BANDWIDTH_IMPOSSIBLE"),
    }
)
"""Checks after which a machine can still be proved and paid. Not those without which there is nothing to prove (no
card, an unknown model), nor a proof that is wrong: it has no figures to pay by."""
TABLES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "scoring.rates_usd_per_hour": (0, 1_000),
        "scoring.caps": (0, MANY_CARDS),
        "pricing.base_portions": (0, 1),
        "renting.reserved_discounts": (0, PPM),
        "renting.regions": (0, 0),
        "collateral.units_rao": (0, 21_000 * RAO),
        "lium_2026.caps": (0, MANY_CARDS),
        "lium_2026.programme": (0, 0),
    }
)
"""The same of tables, for every number of a row; the row's name stands before them."""
DAYS = ("unisolated_until", "driver_since")
"""Of `lium-2026`."""
_VERSION = re.compile(r"\d{1,4}(\.\d{1,4}){0,2}")


def check_limits(policy: Policy) -> None:
    """PolicyRefused, with key, value and what was expected, for the first number that makes no sense."""
    if policy.proof.form not in FORMS:
        raise PolicyRefused(
            f"policy {policy.name!r}: proof.form is {policy.proof.form!r}, expected cuda or cpu"
        )
    for key, value in numbers_of(policy):
        low, high = LIMITS[key]
        if not (math.isfinite(value) and low <= value <= high):
            raise PolicyRefused(f"policy {policy.name!r}: {key} is {value}, expected {low:g} to {high:g}")
    for key, (least, most) in (
        ("inspection.vram_window", policy.inspection.vram_window),
        ("scoring.performance_window", policy.scoring.performance_window),
    ):
        if least > most:
            raise PolicyRefused(
                f"policy {policy.name!r}: {key} is {least} to {most}, expected the least first"
            )
    _check_shadow(policy)
    _check_tables(policy)
    _check_dates(policy)
    _check_collateral(policy)
    _check_renting(policy)


def _check_shadow(policy: Policy) -> None:
    named = (("checks", policy.shadow.checks, SHADOW_CHECKS), ("terms", policy.shadow.terms, IN_SHADOW))
    for name, given, known in named:
        unknown = [one for one in given if one not in known]
        if unknown:
            raise PolicyRefused(
                f"policy {policy.name!r}: shadow.{name} has {unknown[0]!r}, expected some of "
                + ", ".join(sorted(known))
            )


def _check_tables(policy: Policy) -> None:
    for key, (low, high) in TABLES.items():
        section, name = key.split(".")
        for row in getattr(getattr(policy, section), name):
            for number in row:
                if isinstance(number, int | float) and not low <= number <= high:
                    raise PolicyRefused(
                        f"policy {policy.name!r}: {key} of {row[0]!r} is {number}, expected {low:g} to {high:g}"
                    )
    pools = (policy.lium_2026.leased_pool, policy.lium_2026.idle_pool_most)
    portions = tuple(share for _, share in policy.pricing.base_portions)
    for key, shares in (("pricing.base_portions", portions), ("lium_2026.pools", pools)):
        total = math.fsum(shares)
        if total > 1.0 + 1e-9:
            raise PolicyRefused(
                f"policy {policy.name!r}: {key} sum to {total:g}, expected shares of 1 that sum to 1 or less"
            )


def _check_dates(policy: Policy) -> None:
    lium = policy.lium_2026
    for name in DAYS:
        try:
            date.fromisoformat(getattr(lium, name))
        except ValueError:
            told = f"lium_2026.{name} is {getattr(lium, name)!r}, expected a day, YYYY-MM-DD"
            raise PolicyRefused(f"policy {policy.name!r}: {told}") from None
    if _VERSION.fullmatch(lium.driver_min) is None:
        raise PolicyRefused(
            f"policy {policy.name!r}: lium_2026.driver_min is {lium.driver_min!r}, expected a version such as 580.65.06"
        )


def _check_collateral(policy: Policy) -> None:
    if policy.collateral.source not in COLLATERAL_SOURCES:
        told = f"collateral.source is {policy.collateral.source!r}, expected none, chain or ledger"
        raise PolicyRefused(f"policy {policy.name!r}: {told}")


def numbers_of(policy: Policy) -> Iterator[tuple[str, float]]:
    """Every number of the policy's sections by `section.field`; a window gives both of its ends."""
    for section in fields(policy):
        values = getattr(policy, section.name)
        if is_dataclass(values):
            for field in fields(values):
                value = getattr(values, field.name)
                for number in value if isinstance(value, tuple) else (value,):
                    if isinstance(number, int | float) and not isinstance(number, bool):
                        yield f"{section.name}.{field.name}", number


def _check_renting(policy: Policy) -> None:
    renting = policy.renting
    for network, name in renting.regions:
        try:
            ip_network(network)
        except ValueError:
            raise PolicyRefused(
                f"policy {policy.name!r}: renting.regions has {network!r} for {name!r}, expected a network as 203.0.113.0/24"
            ) from None
    if renting.last_port - renting.first_port < LEAST_PORTS:
        raise PolicyRefused(
            f"policy {policy.name!r}: renting.first_port to last_port is {renting.first_port} to {renting.last_port}, "
            f"expected at least {LEAST_PORTS} ports"
        )
