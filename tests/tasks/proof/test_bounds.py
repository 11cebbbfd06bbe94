"""The bounds of a model: what honest machines measure, between a floor and a ceiling that no majority moves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import PassedProof, ProvedDay
from tasks.inspection.models import MODELS
from tasks.policy import DEFAULT, LOCALNET
from tasks.proof.bounds import Bounds, BoundsSource, bandwidth_bounds
from tasks.proof.population import Population, SkuKey, days_of, populations
from tests.cheats.rig import TinyModel

POLICY = DEFAULT.proof
GIB = 1 << 30
H100 = TinyModel(80_000_000_000, 3_350.0)
KEY = SkuKey("H100 80GB HBM3", 81_559)
HONEST_GB_S = 0.96 * 3_350.0
"""Of a card that reads at 0.85 of its vendor's figure, with a full credit for the way."""
SLOW_GB_S = 0.663 * 3_350.0
"""An A100 at its vendor's full bandwidth, as it seems with a full credit for the way."""


def day(gb_s, *, miner="5Alice", machine="m-0", number=1, proofs=144):
    """A machine's day: so many proofs of this bandwidth."""
    return ProvedDay(
        f"2026-08-{number:02d}",
        f"{miner}/{machine}",
        *KEY,
        proofs=proofs,
        sum_kb_s=round(proofs * gb_s * 1e6),
    )


def days(*gb_s, miner="5M"):
    """A day of one machine each, every one of a miner of its own."""
    return [day(figure, miner=f"{miner}{n}") for n, figure in enumerate(gb_s)]


def bounds_of(known, policy=POLICY):
    """The bounds that an H100 has by these days."""
    return bandwidth_bounds(H100, policy, populations(known).get(KEY))


# --- who decides -----------------------------------------------------------------------------------


def test_a_model_without_history_is_held_to_the_static_floor():
    """0.70 to 1.25 of the vendor's 3,350 GB/s, from the vendor, and unproven."""
    bounds = bounds_of([])

    assert (bounds.min_gb_s, bounds.max_gb_s) == pytest.approx((2_345.0, 4_187.5))
    assert (bounds.source, bounds.population, bounds.is_unproven) == (BoundsSource.VENDOR, None, True)


def test_an_honest_population_sets_the_bound():
    """Seven machines measure 94 to 98 % of the vendor's figure: the bound is 75 % of their median, and says of whom."""
    bounds = bounds_of(days(*(share * 3_350.0 for share in (0.94, 0.95, 0.96, 0.96, 0.96, 0.97, 0.98))))

    assert bounds == Bounds(
        min_gb_s=pytest.approx(0.75 * HONEST_GB_S),
        max_gb_s=4_187.5,
        is_enforced=True,
        source=BoundsSource.HISTORY,
        population=Population(pytest.approx(HONEST_GB_S), proofs=7 * 144, machines=7, miners=7),
        wanted_miners=3,
        wanted_machines=5,
    )
    assert not bounds.is_unproven


def test_forty_per_cent_of_slow_liars_decide_nothing():
    """Four of ten miners offer A100s as H100s: the bound stays with the honest, and none of the four passes it."""
    bounds = bounds_of(days(*[HONEST_GB_S] * 6, *[SLOW_GB_S] * 4))

    assert bounds.min_gb_s == pytest.approx(0.75 * HONEST_GB_S)
    assert bounds.min_gb_s > SLOW_GB_S


def test_a_flood_of_one_miners_machines_is_one_vote():
    """Two hundred slow machines of one miner weigh as much as one machine of another."""
    flood = [day(SLOW_GB_S, miner="5Mallory", machine=f"m-{n}") for n in range(200)]

    bounds = bounds_of(days(*[HONEST_GB_S] * 4) + flood)

    assert bounds.min_gb_s == pytest.approx(0.75 * HONEST_GB_S)
    assert (bounds.population.machines, bounds.population.miners) == (204, 5)


def test_many_epochs_of_one_machine_are_one_vote():
    """A month of 144 proofs a day is no more than an honest day of each of four others."""
    month = [day(SLOW_GB_S, miner="5Mallory", number=n) for n in range(1, 31)]

    assert bounds_of(days(*[HONEST_GB_S] * 4) + month).min_gb_s == pytest.approx(0.75 * HONEST_GB_S)


def test_a_bad_day_of_a_machine_is_not_its_figure():
    """A machine that was throttled for three days of ten still votes with what it is."""
    one = [day(HONEST_GB_S if n > 3 else SLOW_GB_S, number=n) for n in range(1, 11)]

    assert populations(one)[KEY].median_gb_s == pytest.approx(HONEST_GB_S)


@pytest.mark.parametrize("policy", [POLICY, replace(POLICY, floor_bandwidth_share=0.6)])
def test_a_majority_of_slow_liars_stops_at_the_floor(policy):
    """Whoever holds nine votes of ten pulls the bound to the static floor and no further."""
    bounds = bounds_of(days(HONEST_GB_S, *[1.0] * 9), policy)

    assert bounds.min_gb_s == pytest.approx(policy.floor_bandwidth_share * 3_350.0)


def test_a_majority_of_fast_liars_pushes_no_honest_card_out():
    """Nine votes of ten with the ceiling's speed count as the vendor's own figure: honest cards still pass."""
    bounds = bounds_of(days(HONEST_GB_S, *[1.25 * 3_350.0] * 9))

    assert bounds.min_gb_s == pytest.approx(0.75 * 3_350.0)
    assert bounds.min_gb_s < HONEST_GB_S < bounds.max_gb_s


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_no_votes_at_all_leave_the_corridor(gb_s):
    """Whatever is measured by whomever, the bound lies between 0.70 and 0.75 of the vendor's figure, the ceiling at 1.25."""
    bounds = bounds_of(days(*gb_s))

    assert 0.70 * 3_350.0 <= bounds.min_gb_s <= 0.75 * 3_350.0
    assert bounds.max_gb_s == 4_187.5


@given(st.permutations(range(6)))
def test_the_order_of_counting_changes_nothing(order):
    """The same days in any order give the same population, to the last bit."""
    known = [
        day(gb_s, miner=f"5M{n % 3}", machine=f"m-{n}", number=1 + n)
        for n, gb_s in enumerate((3, 1, 4, 1, 5, 9))
    ]

    assert populations(known[n] for n in order) == populations(known)


@pytest.mark.parametrize(
    ("miners", "machines", "is_known"), [(2, 6, False), (3, 4, False), (3, 5, True), (5, 5, True)]
)
def test_history_counts_from_three_miners_and_five_machines(miners, machines, is_known):
    """Fewer are too few to speak for a model: the floor applies, and what is known of them is kept in the bounds."""
    known = [day(HONEST_GB_S, miner=f"5M{n % miners}", machine=f"m-{n}") for n in range(machines)]

    bounds = bounds_of(known)

    assert bounds.source is (BoundsSource.HISTORY if is_known else BoundsSource.VENDOR)
    assert bounds.min_gb_s == pytest.approx((0.75 * 0.96 if is_known else 0.70) * 3_350.0)
    assert bounds.is_unproven is not is_known
    assert (bounds.population.miners, bounds.population.machines) == (miners, machines)


@pytest.mark.parametrize(
    "policy",
    [replace(POLICY, enforce_bandwidth=False), replace(POLICY, form="cpu"), LOCALNET.proof],
    ids=["not enforced", "simulated", "localnet"],
)
def test_simulated_cards_are_held_to_nothing(policy):
    """Where the clock says nothing of a card, bounds are kept for the record only, and no model is unproven."""
    bounds = bounds_of([], policy)

    assert (bounds.is_enforced, bounds.is_unproven) == (False, False)


# --- what is counted -------------------------------------------------------------------------------


def test_a_proof_adds_to_the_day_of_its_model_and_size():
    """Whatever a driver calls the card and however much memory ECC leaves, it is one model in one size."""
    proofs = [
        PassedProof("5A/m-0", "NVIDIA H100 80GB HBM3", 81_559, 73 * GIB, 3_000.0),
        PassedProof("5A/m-1", "h100  80gb hbm3", 80_000, 73 * GIB, 3_010.5),
        PassedProof("5B/m-0", "NVIDIA GeForce RTX 4060 Ti", 8_188, 7 * GIB, 250.0),
    ]

    assert days_of(proofs, "2026-08-01", DEFAULT) == (
        ProvedDay("2026-08-01", "5A/m-0", "H100 80GB HBM3", 81_559, 1, 3_000_000_000),
        ProvedDay("2026-08-01", "5A/m-1", "H100 80GB HBM3", 81_559, 1, 3_010_500_000),
        ProvedDay("2026-08-01", "5B/m-0", "GeForce RTX 4060 Ti", 8_188, 1, 250_000_000),
    )


@pytest.mark.parametrize(
    ("model", "vram_mib", "gb_s"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, 0.0),
        ("NVIDIA H100 80GB HBM3", 81_559, -1.0),
        ("NVIDIA H100 80GB HBM3", 81_559, float("nan")),
        ("NVIDIA H100 80GB HBM3", 81_559, float("inf")),
        ("NVIDIA H100 80GB HBM3", 81_559, 1e12),
        ("NVIDIA H100 80GB HBM3", 40_000, 3_000.0),
        ("Tesla V100-SXM2-16GB", 16_384, 800.0),
        ("", 0, 1.0),
    ],
)
def test_a_proof_that_says_nothing_of_a_model_is_not_counted(model, vram_mib, gb_s):
    """No figure, no size that the model is sold with, no model of the table: nothing is added."""
    assert days_of([PassedProof("5A/m-0", model, vram_mib, 300 * GIB, gb_s)], "2026-08-01", DEFAULT) == ()


@pytest.mark.parametrize(
    ("memory_bytes", "policy", "counts"),
    [
        (64 << 20, DEFAULT, False),
        (39 * GIB, DEFAULT, False),
        (40 * GIB, DEFAULT, True),
        (40 * GIB // LOCALNET.proof.memory_scale, LOCALNET, True),
        (1 << 20, LOCALNET, False),
    ],
)
def test_a_proof_of_little_memory_teaches_nothing(memory_bytes, policy, counts):
    """What is proved while a renter has the machine measures its caches; simulated cards count at their scale."""
    proof = PassedProof("5A/m-0", "NVIDIA H100 80GB HBM3", 81_559, memory_bytes, 3_000.0)

    assert bool(days_of([proof], "2026-08-01", policy)) is counts


def test_every_model_can_be_learned():
    """A card of every size in the table finds its own key, and no two sizes share one."""
    printed = [(m.aliases[0], s.nominal_mib) for m in MODELS for s in m.skus]
    proofs = [PassedProof(f"5A/{n}", *card, 300 * GIB, 100.0) for n, card in enumerate(printed)]

    keys = [SkuKey(d.model, d.nominal_mib) for d in days_of(proofs, "2026-08-01", DEFAULT)]

    assert len(set(keys)) == len(printed)
