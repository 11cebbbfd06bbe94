"""The default formula's terms beyond the proof: isolation, occupancy, declared price, capacity; and terms in shadow."""

from dataclasses import replace

import pytest

from storage.records import Quote, Severity
from tasks.policy import DEFAULT, PRESETS, ShadowPolicy
from tasks.scoring.bills import TERMS, total_of
from tasks.scoring.leased import leased_of
from tasks.scoring.scoring import score_epoch
from tasks.scoring.versions import version_number
from tests.tasks.scoring.worlds import NOW, SHARED, executor, grounds, lease, report, verdict, view

H200_USD = 2.85


def scored(*machines, policy=DEFAULT, told=None, **given):
    """The scores of these machines of Alice, each with 8 proved H200 unless told otherwise."""
    reports = [report(m, **{"cards": 8} | (told or {})) for m in machines]
    verdicts = [verdict(m, *[4_800.0] * len(r.facts.cards)) for m, r in zip(machines, reports, strict=True)]
    return score_epoch(machines, reports, verdicts, grounds(view("5Alice"), **given), policy)


def with_scoring(**changes):
    """The default policy with other numbers."""
    return replace(DEFAULT, scoring=replace(DEFAULT.scoring, **changes))


def codes(score, *, deciding=False):
    """The codes of its reasons."""
    return [r.code for r in score.reasons if r.decides or not deciding]


@pytest.mark.parametrize(
    ("runtimes", "isolation"),
    [
        (("runc", "sysbox-runc"), 1.0),
        (("io.containerd.kata.v2",), 1.0),
        (("runsc", "nvidia"), 1.0),
        (("io.containerd.runc.v2", "nvidia", "runc"), 0.8),
        ((), 0.8),
    ],
)
def test_a_runtime_that_isolates_is_paid_in_full(runtimes, isolation):
    """sysbox, kata or gVisor among the engine's runtimes; without any, a fifth less, and the mend is told."""
    (score,) = scored(executor(), told={"runtimes": runtimes})

    assert score.isolation == isolation
    assert codes(score) == ([] if isolation == 1.0 else ["ISOLATION_MISSING"])
    assert all(r.severity is Severity.WARN for r in score.reasons)


def test_what_a_machine_says_of_itself_stays_short():
    """A machine that lists ten thousand runtimes fills no archive with the reason."""
    (score,) = scored(executor(), told={"runtimes": ("x" * 50,) * 10_000})

    assert [len(r.got) for r in score.reasons] == [200]


@pytest.mark.parametrize(
    ("rent", "occupancy"),
    [
        (8 * H200_USD, 0.1),  # at market
        (4 * H200_USD, 0.05),  # half of it
        (800 * H200_USD, 0.1),  # a rent to oneself is vouched for by nobody beyond the market
    ],
)
def test_a_leased_machine_is_paid_by_its_rent(rent, occupancy):
    """A tenth of what it is let for, at most of the market rate: what a lease to oneself costs in fees."""
    machine = executor()

    (score,) = scored(machine, leases=(lease(machine, rent=rent),))

    assert (score.performance, score.occupancy) == (1.0, pytest.approx(occupancy))
    assert score.score == pytest.approx(occupancy * 8 * H200_USD * score.uptime)
    assert (score.leased_cards, score.idle_cards) == (8, 0)


def test_a_leased_machine_gains_nothing_from_what_its_small_proof_shows():
    """Ten times the class while leased is what caches do: no more is paid, and none of its performance is claimed."""
    machine = executor()
    fast, slow = (
        score_epoch(
            [machine],
            [report(machine)],
            [verdict(machine, gb_s)],
            grounds(view("5Alice"), leases=(lease(machine),)),
            DEFAULT,
        )[0]
        for gb_s in (48_000.0, 480.0)
    )

    assert fast == slow


def test_a_lease_for_nothing_vouches_for_nothing():
    """A rent of 0 is a zero that says so."""
    machine = executor()

    (score,) = scored(machine, leases=(lease(machine, rent=0.0),))

    assert (score.score, codes(score, deciding=True)) == (0.0, ["LEASE_WITHOUT_RENT"])


def test_what_is_leased_of_a_machine():
    """Cards by UUID, each once and only those that are there; a lease without cards is of all of them; rents add up."""
    machine = executor()
    cards = report(machine, cards=4).facts.cards
    two, again = lease(machine, 0, 1, rent=2.0), lease(machine, 1, 7, rent=0.5)

    assert leased_of((two, again), cards, 4)[:2] == (2, 2.5)
    assert leased_of((two, lease(machine, rent=1.0)), cards, 4)[:2] == (4, 3.0)
    assert leased_of((), cards, 4)[:2] == (4, 0.0)
    assert leased_of((two,), (), 1)[:2] == (1, 2.0)  # it was not reached: no more than it had


@pytest.mark.parametrize(("times", "price"), [(0.0, 1.0), (3.0, 1.0), (3.01, 0.5), (1e6, 0.5)])
def test_a_price_far_above_the_market_halves_the_score(times, price):
    """Up to three times the market's rate of all cards; beyond it the machine is there to be paid, not to be rented."""
    (score,) = scored(executor(price=times * 8 * H200_USD))

    assert score.price == price
    assert codes(score) == ([] if price == 1.0 else ["PRICE_ABOVE_MARKET"])


def test_a_flood_of_one_model_and_shape_dilutes_itself():
    """80 idle cards of 8x H200 against a cap of 64: 0.8 each, together no more than 64 were; other shapes are not touched."""
    flood = [executor(name=f"m-{n}") for n in range(10)]
    policy = with_scoring(cap_cards=64)

    diluted = scored(*flood, policy=policy)
    full = scored(*flood[:8], policy=policy)

    assert {s.capacity for s in diluted} == {0.8}
    assert sum(s.score for s in diluted) == pytest.approx(sum(s.score for s in full))
    assert {tuple(codes(s)) for s in diluted} == {("CAPACITY_SHARED",)}


def test_caps_by_model_and_shape():
    """A policy's own cap for 8 cards of a model goes before that of all; who is leased or fails fills none."""
    machines = [executor(name=f"m-{n}") for n in range(3)]
    policy = with_scoring(caps=(("H200", 8, 8), ("H200", 1, 0)))

    first, second, leased = scored(*machines, policy=policy, leases=(lease(machines[2]),))
    (single,) = scored(executor(), policy=policy, told={"cards": 1})

    assert (first.capacity, second.capacity, leased.capacity) == (0.5, 0.5, 1.0)
    assert (single.score, codes(single, deciding=True)) == (0.0, ["NO_CAPACITY_IN_BUCKET"])


def test_rates_come_from_policy_then_quote_then_table():
    """Each goes before the next."""
    quote = Quote("rate", "H200", 3.5, "markets", NOW)
    fixed = with_scoring(rates_usd_per_hour=(("H200", 7.0),))
    rates = [
        scored(executor(), policy=policy, quotes=quotes)[0].rate_usd_per_hour
        for policy, quotes in ((DEFAULT, ()), (DEFAULT, (quote,)), (fixed, (quote,)))
    ]

    assert rates == [H200_USD, 3.5, 7.0]


# --- shadow ----------------------------------------------------------------------------------------


def test_a_term_in_shadow_is_computed_and_left_out():
    """With isolation in shadow a machine without it is paid in full; the column and what enforcing had given are archived."""
    policy = replace(DEFAULT, shadow=ShadowPolicy(terms=("isolation",)))
    told = {"runtimes": SHARED}

    (shadowed,) = scored(executor(), policy=policy, told=told)
    (enforced,) = scored(executor(), told=told)
    (isolated,) = scored(executor())

    assert shadowed.isolation == 0.8
    assert shadowed.score == isolated.score == total_of(shadowed, ("isolation",))
    assert shadowed.enforced_score == enforced.score == total_of(shadowed)
    assert [(r.code, r.is_shadow, r.decides) for r in shadowed.reasons] == [
        ("ISOLATION_MISSING", True, False)
    ]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_bill_names_every_term_once(name):
    """Each formula multiplies each of its columns once, and the pass among them."""
    terms = TERMS[PRESETS[name].scoring.formula]

    assert len(terms) == len(set(terms))
    assert "passed" in terms


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("580.65.06", 580_0065_0006),
        ("580.65", 580_0065_0000),
        ("9.1.1", 9_0001_0001),
        (" 580.65.06 ", 580_0065_0006),
        ("", 0),
        ("v580", 0),
        ("580.65.06-beta", 0),
        ("9" * 30, 0),
        ("580.99999.1", 0),
    ],
)
def test_versions_of_drivers_compare_as_numbers(text, number):
    """Three parts of at most four digits; anything else is no version."""
    assert version_number(text) == number
