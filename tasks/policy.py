"""Policy: the thresholds, rates and shares of an epoch, as frozen values with units.

A policy is a flow parameter, so it is versioned, validated and visible in the Prefect UI; rules get it
as an argument. Connection settings are none of it: they sit beside the edge that they tune.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from tasks.errors import PolicyRefused, SettingError
from tasks.limits import check_limits
from tasks.lium import DEPOSIT_UNITS_RAO, Lium2025Policy, Lium2026Policy

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class InspectionPolicy:
    """What a machine must have, and how long it may take to say so."""

    min_vram_bytes: int = 8 * GIB
    min_ram_bytes: int = 16 * GIB
    min_disk_free_bytes: int = 100 * GIB
    min_mbit_s: float = 100.0
    """Each way, smoothed."""
    max_cards: int = 14
    vram_window: tuple[float, float] = (0.90, 1.05)
    """Share of a real SKU's nominal memory that nvidia-smi may report."""
    recommended_ubuntu: str = "20.04"
    """An older one, or another system, only warns."""
    max_idle_utilisation_pct: int = 5
    """Above it, with a process on the card, an idle machine is busy."""
    max_held_memory_mib: int = 2048
    """Memory held on an idle card without any process that owns it."""
    min_power_limit_share: float = 0.90
    """Of a card's default power limit."""
    bandwidth_probe_bytes: int = 1 * MIB
    """Each way, for the first sample."""
    bandwidth_repeat_bytes: int = 4 * MIB
    """Each way, for the second, which is taken when the first is slow: a long way takes longer to get up to speed."""
    bandwidth_probes_at_once: int = 8
    """Machines whose bandwidth is measured at the same time."""
    bandwidth_turn_s: float = 12.0
    """For one machine's samples: who stalls holds its turn no longer, and all others still get theirs."""
    bandwidth_smoothing: float = 0.5
    """Weight of the newest sample."""
    host_is_lowered: bool = False
    """The host's minimum is lowered (local subnet): every row says so."""
    session_deadline_s: float = 60.0
    """For connecting and all facts of one machine."""
    is_shared_out: bool = False
    """Whether validators share the machines out (`tasks/assigning.py`), each checked by those that hold half of the stake;
    by default everybody checks everything."""


@dataclass(frozen=True, slots=True)
class ProofPolicy:
    """The proof's parameters: all of them fixed by the validator before GO (docs/gpu-proof.md)."""

    form: str = "cuda"
    """`cuda`, or `cpu` for a simulated card, which is refused on any chain but the embedded one."""
    memory_scale: int = 1
    """The model's memory is divided by this."""
    memory_share: float = 0.92
    reserve_bytes: int = 1 * GIB
    """|D| = min(share x M, M - reserve), over the scale."""
    chain_w: int = 32
    """Chained compressions for each 32 bytes of D."""
    rounds: int = 4
    round_s: float = 0.375
    """Passes over D in a round are chosen so that a round takes at least this at the model's bandwidth."""
    walkers: int = 65_536
    fast_walkers: int = 131_072
    """For models above 4 TB/s."""
    segment_steps: int = 128
    multiply_columns: int = 1_024
    multiply_row_share: float = 1 / 32
    """Rows of A, as a share of D's pages of 4,096 bytes."""
    opened_tiles: int = 8
    fill_deadline_s: float = 60.0
    barrier_deadline_s: float = 90.0
    """From GO to the first nonce, for the slowest of the wave."""
    round_deadline_s: float = 10.0
    open_deadline_s: float = 30.0
    slot_s: float = 48.0
    """Every validator begins a wave in a slot of its own, so that no two prove a machine at once; 0: no slots, no wait."""
    slots: int = 6
    """After so many they come round again: who waits longest waits for all but one."""
    phase_s: float = 300.0
    """No wave begins later than so long after the proof's begin: an epoch has 600 s for everything."""
    leased_proof_bytes: int = 64 * MIB
    """|D| of a machine that is leased, over the scale: what a renter does not miss."""
    latency_credit_s: float = 0.05
    """Taken off each round's time for the way there and back: capped, since it can be inflated."""
    min_bandwidth_share: float = 0.75
    """Of the median that honest machines of the model measure."""
    floor_bandwidth_share: float = 0.70
    """Of the vendor's bandwidth: no history pulls the bound below it, and a model without history is held to it. With a
    full credit for the way it asks 0.64 of a card, and an A100 as H100 or an H200 as B200 comes to 0.66. An estimate until
    cards have run."""
    max_bandwidth_share: float = 1.25
    """Of the vendor's bandwidth: above it, no such card exists. A full credit for the way makes 1.15 of 1 in a round of
    0.375 s, an overclocked memory up to 1.1 of 1."""
    history_days: int = 30
    """Of passed proofs that the median is taken over."""
    history_miners: int = 3
    history_machines: int = 5
    """So many must have proved a model before its history counts; with 0 miners no model is unproven."""
    enforce_bandwidth: bool = True


@dataclass(frozen=True, slots=True)
class ScoringPolicy:
    """How a machine's score is put together: the formula, the market, and the default formula's terms."""

    formula: Literal["default", "lium-2025", "lium-2026"] = "default"
    """The numbers of the other two are in sections of their own."""
    rates_usd_per_hour: tuple[tuple[str, float], ...] = ()
    """Market rates that go before quotes and table: (model name, USD per card and hour)."""
    isolating_runtimes: tuple[str, ...] = ("sysbox-runc", "kata-runtime", "io.containerd.kata.v2", "runsc")
    """OCI runtimes that keep a tenant from the host, as the engine names them."""
    performance_window: tuple[float, float] = (0.75, 1.25)
    """Proved bandwidth over the model's reference, clipped to this."""
    unproven_performance: float = 0.75
    """At most this for a model that too few have proved: the low end of the window, since it is not paid as known."""
    full_bandwidth_mbit_s: float = 1_000.0
    bandwidth_floor: float = 0.5
    """The bandwidth term goes from this at the minimum to 1.0 at full."""
    uptime_floor: float = 0.05
    uptime_full_s: float = 432_000.0
    """Five days of unbroken passing to the full term."""
    uncollateralised: float = 0.5
    """Factor of a machine whose collateral does not cover it (`collateral` says where that is looked for)."""
    unisolated: float = 0.8
    """Factor of a machine that offers none of the isolating runtimes."""
    leased_share: float = 0.1
    """Of its rent, as far as the market vouches for it, that a leased machine is paid: what a lease to oneself costs in fees."""
    price_most: float = 3.0
    """Times the market's rate that a machine may ask."""
    overpriced: float = 0.5
    """Factor of one that asks more."""
    cap_cards: int = 512
    """Idle cards of one model and shape that are paid in full; more of them share as much."""
    caps: tuple[tuple[str, int, int], ...] = ()
    """Other caps: (model name, cards of a machine, cards that are paid in full)."""


@dataclass(frozen=True, slots=True)
class PricingPolicy:
    """When sources of prices are believed, and how models' portions follow what renters pay."""

    least_token_sources: int = 2
    token_spread: float = 0.03
    """Share of the median that a source may be away from it."""
    least_rate_sources: int = 2
    rate_spread: float = 0.4
    """Wider: no two marketplaces rent the same machines."""
    rate_drift: float = 4.0
    """A rate is at most so many times that of the price file, and at least that part of it."""
    answer_life_s: float = 3_600.0
    """An answer older than this agrees with nobody any more."""
    stale_after_s: float = 86_400.0
    """The last good price is used for as long as it takes; when it is older than this, the epoch warns."""
    portion_step: float = 0.01
    """Part of the way to the share of revenue that a portion goes in each step."""
    portion_step_s: float = 600.0
    first_portion_step: float = 0.5
    """The same for a model's first portion, from its base."""
    portion_catch_up_s: float = 3_600.0
    """At most so much time is caught up at once: what was rented while nobody looked is not known."""
    base_portions: tuple[tuple[str, float], ...] = (
        ("H200", 0.56),
        ("H100 80GB HBM3", 0.10),
        ("B200", 0.05),
        ("GeForce RTX 4090", 0.05),
        ("A100-SXM4-80GB", 0.05),
        ("GeForce RTX 5090", 0.025),
        ("H800", 0.02),
        ("GeForce RTX 4090 D", 0.02),
        ("GeForce RTX 3090", 0.02),
        ("H100 NVL", 0.01),
        ("H100 PCIe", 0.01),
        ("H800 NVL", 0.01),
        ("H800 PCIe", 0.01),
        ("RTX 6000 Ada Generation", 0.01),
        ("L4", 0.01),
        ("L40S", 0.01),
        ("L40", 0.01),
        ("A100 80GB PCIe", 0.01),
        ("RTX A6000", 0.009),
        ("RTX A5000", 0.002),
        ("RTX A4500", 0.002),
        ("RTX A4000", 0.002),
    )
    """Shares of 1 before anybody rents: those that subnet 51 started with."""


@dataclass(frozen=True, slots=True)
class CollateralPolicy:
    """What a miner has to leave for its machines, and where it is looked for."""

    source: str = "none"
    """`none`: nothing is asked for. `chain`: the miner's native lock must cover all of its machines. `ledger`: what is
    deposited for a machine in our own ledger must cover it."""
    days: int = 7
    units_rao: tuple[tuple[str, int], ...] = DEPOSIT_UNITS_RAO
    """Rao of TAO for one card and day of a model: those of subnet 51."""
    other_unit_rao: int = 8_000_000
    """For a model that has no unit of its own."""
    exempt_models: tuple[str, ...] = ()
    """Models that need none."""
    min_deposit_rao: int = 10_000_000
    reclaim_window_s: float = 259_200.0
    """Three days between asking collateral back and getting it: so long it can be denied."""


@dataclass(frozen=True, slots=True)
class WeightPolicy:
    """How scores become weights."""

    burn_share: float = 0.0
    """Goes to the owner's uid, which the chain burns or recycles, or to `burn_uids`."""
    burn_uids: tuple[int, ...] = ()
    """Uids that burn: one of them, drawn by the epoch's block hash, gets what the others leave."""
    burn_minor_share: float = 0.01
    """Of all weights, for each of `burn_uids` but the one drawn."""
    scores_are_shares: bool = False
    """Whether scores are shares of an epoch's emission, as those of `lium-2026` are: what they leave burns instead."""
    max_epochs: int = 288
    """Scores of at most so many epochs add up while no weights can be set: two days of 50 blocks of 12 s."""
    version_key: int = 1_000


@dataclass(frozen=True, slots=True)
class RecordPolicy:
    """What a machine's record forgives, and what it doesn't."""

    failure_budget: int = 20
    """A failure breaks no run of passing while failed x this < verdicts since the last reset: 20 is 5 %."""
    is_proof_strict: bool = True
    """Whether a failed proof breaks the run at once: within a budget a cheat could fail for nothing."""
    reset_codes: tuple[str, ...] = (
        *("SPEC_CHANGED", "GPU_UUID_CHANGED", "SWAP_NOT_AS_ANNOUNCED", "UUID_DUPLICATE"),
        *("HOST_KEY_MISMATCH", "MINER_BANNED", "CARD_BANNED"),
    )
    """Failures that break the run at once."""
    grace_epochs: int = 1
    """Epochs in a row without a verdict for which the last score is kept."""
    grace_budget: int = 20
    """The last score is kept while kept epochs x this <= passed ones: else one card could be shown in two listings in turn,
    and both were paid. 0: no budget."""
    swap_valid_s: float = 604_800.0
    """A signed swap of cards counts no longer than so long after it was signed."""
    swap_interval_s: float = 3_600.0
    """Between two swaps of one machine."""


@dataclass(frozen=True, slots=True)
class RentingPolicy:
    """What renters pay, when a lease is warned, stopped and ended, and how leases are watched."""

    least_card_micro_usd_per_hour: int = 1_000
    most_card_micro_usd_per_hour: int = 100_000_000
    """A miner's price for one card and hour outside of these is a mistake: the machine is not offered."""
    price_least: float = 0.05
    price_most: float = 3.0
    """Times the market's rate of the model, where it is known: likewise."""
    platform_ppm: int = 50_000
    """Millionths of what a renter pays that stay with the platform; the rest is the miner's."""
    reserved_discounts: tuple[tuple[int, int], ...] = (
        (24, 50_000),
        (168, 100_000),
        (720, 200_000),
        (2_160, 300_000),
    )
    """(committed hours, discount in millionths): the greatest that the hours reach counts."""
    reserved_most_hours: int = 8_760
    early_end_ppm: int = 250_000
    """Of the committed hours that a renter leaves unused, the part that is paid all the same."""
    spot_floor_ppm: int = 300_000
    """The going spot price while no card of the model is leased, in millionths of the listed price."""
    spot_notice_s: int = 120
    """Between the notice to a spot lease and its end."""
    min_balance_s: int = 600
    """A lease is begun, or started again, with at least so many seconds of its price in the balance."""
    warn_s: int = 3_600
    """A renter is warned when the balance lasts no longer."""
    ahead_s: int = 30
    """Stopped so long before the balance or the cap would be used up: a look and a stop fit into it."""
    grace_s: int = 86_400
    """The data of a lease that was stopped for money are kept so long."""
    stopped_most_s: int = 2_592_000
    """A lease that stands still so long is ended."""
    goodwill_s: int = 600
    """What a renter gets for a lease that machine or platform broke, beside the time since it was last seen well."""
    dead_looks: int = 2
    """Looks in a row that find a container dead before it is believed."""
    away_s: int = 300
    """A machine that answers nothing for so long has broken its leases."""
    meter_every_s: int = 60
    """A running lease is charged so often; at stop and end always."""
    look_deadline_s: float = 10.0
    """For one machine: who answers later costs only itself."""
    looks_at_once: int = 256
    metrics_fine_s: int = 3_600
    """Every look is kept so long, then one a minute."""
    metrics_minutes_s: int = 86_400
    """One a minute is kept so long, then one an hour."""
    metrics_hours_s: int = 2_592_000
    """One an hour is kept so long."""
    deposit_blocks: int = 64
    """Blocks that are read for deposits at once."""
    deposit_price_age_s: int = 21_600
    """A deposit is credited at a price that is at most so far from its block's time."""
    regions: tuple[tuple[str, str], ...] = ()
    """(network such as 203.0.113.0/24, name of its region): the smallest that a machine's address is in counts."""
    enter_s: float = 20.0
    """For asking a miner's door and logging in to the machine."""
    prove_s: float = 150.0
    """For the proof of a lease's cards, at hand-over, in use and at their return."""
    pull_s: float = 240.0
    start_s: float = 45.0
    """For making and starting the container."""
    probe_s: float = 45.0
    """From the start until the renter's own way in works."""
    machine_s: float = 300.0
    """For one machine in all; then the next one is tried."""
    rent_s: float = 900.0
    """For a request in all."""
    most_tries: int = 5
    """Machines that one request tries."""
    stop_s: float = 45.0
    """For stopping a container; its program has `stop_grace_s` of it to end by itself."""
    stop_grace_s: int = 10
    first_port: int = 40_000
    last_port: int = 49_999
    """The machine's ports that containers' ports are published on."""
    backup_s: float = 3_600.0
    backup_most_bytes: int = 1 << 40
    give_up_s: int = 86_400
    """A machine that stays away so long after a lease's end is given up: what was left there is removed if it comes back."""
    events_s: int = 7_776_000
    """What happened to a lease, and which requests a key was used for, is kept so long after the lease's end."""


@dataclass(frozen=True, slots=True)
class ShadowPolicy:
    """What is computed and archived without effect, until somebody has seen whom it would change."""

    checks: tuple[str, ...] = ()
    """Codes of reasons, as in a machine's report or verdict."""
    terms: tuple[str, ...] = ()
    """Columns of a score that its product leaves out."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides who is paid what."""

    name: str = "default"
    inspection: InspectionPolicy = field(default_factory=InspectionPolicy)
    proof: ProofPolicy = field(default_factory=ProofPolicy)
    scoring: ScoringPolicy = field(default_factory=ScoringPolicy)
    pricing: PricingPolicy = field(default_factory=PricingPolicy)
    lium_2025: Lium2025Policy = field(default_factory=Lium2025Policy)
    lium_2026: Lium2026Policy = field(default_factory=Lium2026Policy)
    collateral: CollateralPolicy = field(default_factory=CollateralPolicy)
    weights: WeightPolicy = field(default_factory=WeightPolicy)
    records: RecordPolicy = field(default_factory=RecordPolicy)
    renting: RentingPolicy = field(default_factory=RentingPolicy)
    shadow: ShadowPolicy = field(default_factory=ShadowPolicy)

    def to_json(self) -> str:
        """These exact values, as the archive keeps them."""
        return json.dumps(asdict(self), sort_keys=True)

    def digest(self) -> str:
        """16 hex digits that name these exact values in the archive."""
        return digest_of(self.to_json())


DEFAULT = Policy()

LOCALNET = Policy(
    name="localnet",
    inspection=InspectionPolicy(
        min_ram_bytes=1 * GIB,
        min_disk_free_bytes=1 * GIB,
        min_mbit_s=1.0,
        bandwidth_probe_bytes=64 * 1024,
        bandwidth_repeat_bytes=256 * 1024,
        bandwidth_probes_at_once=2,
        bandwidth_turn_s=4.0,
        host_is_lowered=True,
        session_deadline_s=10.0,
    ),
    proof=ProofPolicy(
        form="cpu",
        memory_scale=16_384,
        round_s=0.0,
        walkers=256,
        fast_walkers=256,
        fill_deadline_s=30.0,
        barrier_deadline_s=30.0,
        round_deadline_s=10.0,
        open_deadline_s=10.0,
        slot_s=0.0,
        enforce_bandwidth=False,
    ),
    scoring=ScoringPolicy(uptime_full_s=3_600.0, uptime_floor=0.5, unisolated=1.0, overpriced=1.0),
    weights=WeightPolicy(burn_share=0.2),
    renting=RentingPolicy(regions=(("127.0.0.0/8", "local"),)),
)

FLEET = replace(
    LOCALNET,
    name="fleet",
    inspection=replace(
        LOCALNET.inspection,
        session_deadline_s=60.0,
        bandwidth_probes_at_once=64,
        bandwidth_turn_s=12.0,
        # The cores that the lines are simulated on are the validator's: they are slower than what they stand for.
        min_mbit_s=5.0,
    ),
    proof=replace(
        LOCALNET.proof,
        memory_scale=1 << 20,
        chain_w=4,
        walkers=16,
        fast_walkers=16,
        segment_steps=32,
        multiply_columns=16,
        fill_deadline_s=60.0,
        barrier_deadline_s=90.0,
        round_deadline_s=30.0,
        open_deadline_s=30.0,
    ),
)
"""Of the simulated fleet, which proves on the processors that measure the validator: the least cards that there are, 64 KiB,
2 ms of a core for a whole proof."""

_LIUM_COLLATERAL = CollateralPolicy(source="ledger", exempt_models=("B200",))

LIUM_2025 = Policy(
    name="lium-2025",
    scoring=ScoringPolicy(formula="lium-2025", isolating_runtimes=("sysbox-runc",)),
    collateral=_LIUM_COLLATERAL,
    weights=WeightPolicy(burn_share=0.8, burn_uids=(4, 206, 207, 208)),
    records=RecordPolicy(is_proof_strict=False, grace_epochs=0),
)
LIUM_2026 = Policy(
    name="lium-2026",
    scoring=ScoringPolicy(formula="lium-2026", isolating_runtimes=("sysbox-runc",)),
    collateral=_LIUM_COLLATERAL,
    weights=WeightPolicy(scores_are_shares=True),
    records=RecordPolicy(is_proof_strict=False, grace_budget=0),
)

PRESETS: Mapping[str, Policy] = MappingProxyType(
    {p.name: p for p in (DEFAULT, LOCALNET, FLEET, LIUM_2025, LIUM_2026)}
)


def preset(name: str) -> Policy:
    """The policy of this name."""
    try:
        return PRESETS[name]
    except KeyError:
        raise SettingError("policy", name, "one of " + ", ".join(sorted(PRESETS))) from None


def digest_of(values: str) -> str:
    """16 hex digits of a policy's values, as the archive keeps them."""
    return hashlib.blake2s(values.encode(), digest_size=8).hexdigest()


def policy_of(values: str) -> Policy:
    """The policy of an archived epoch; a number that its code did not know yet has today's default.

    PolicyRefused when it is none of ours: newer code may have numbers that this code does not know.
    """
    try:
        return _adapter().validate_json(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise PolicyRefused(f"the archived policy can't be read: {place}: {first['msg']}") from None


@cache
def _adapter() -> TypeAdapter[Policy]:
    return TypeAdapter(Policy)


def check_policy(policy: Policy, *, is_embedded: bool) -> Policy:
    """Refuse a policy whose numbers make no sense, and one with simulated cards on any chain but the embedded one."""
    check_limits(policy)
    simulated = policy.proof.form != "cuda" or policy.proof.memory_scale != 1
    if simulated and not is_embedded:
        raise PolicyRefused(
            f"policy {policy.name!r} proves simulated cards (form {policy.proof.form}, memory / "
            f"{policy.proof.memory_scale}): it is refused on any chain but the embedded one. "
            "Use the policy 'default'."
        )
    return policy
