"""Subnet 51's formula of mid 2026: two pools, their factors one by one, and every reason for a zero."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.records import Quote, Reason, Severity
from tasks.policy import LIUM_2026, ShadowPolicy
from tasks.scoring.bills import points_of, total_of
from tasks.scoring.scoring import score_epoch
from tasks.scoring.shadowed import changes, enforced_alone
from tasks.scoring.shares import Ground, weight_vector
from tests.storage.outcomes import small_outcome
from tests.tasks.scoring.worlds import (
    NOW,
    SHARED,
    executor,
    grounds,
    lease,
    record,
    report,
    verdict,
    view,
)

H100, H100_PCIE, L4, A5000 = (
    *("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA L4"),
    "NVIDIA RTX A5000",
)
TOKENS = tuple(
    Quote("token", name, value, "test", NOW) for name, value in (("tao_usd", 400.0), ("alpha_tao", 0.05))
)
"""360 alpha are 7,200 USD."""
RATE = 1.494
OLD_LEASE = datetime(2026, 4, 3, 23, 59, tzinfo=UTC)
NEW_LEASE = datetime(2026, 4, 4, tzinfo=UTC)


def machine(name, cards=8, *, leased=None, price=None, passed_for=timedelta(days=14), **told):
    """One machine of the world: its cards, how many of them are leased since when, its price, what its report tells."""
    made = executor(name=name, price=cards * RATE if price is None else price)
    since = told.pop("since", NEW_LEASE)
    return made, report(made, cards=cards, **{"model": H100} | told), leased, since, passed_for


def score_all(*machines, policy=LIUM_2026, quotes=TOKENS, **given):
    """The scores by name."""
    executors, reports = [m[0] for m in machines], [m[1] for m in machines]
    verdicts = [verdict(m[0], *[3_350.0] * len(m[1].facts.cards)) for m in machines]
    leases = tuple(
        lease(made, *(range(cards) if cards < len(its.facts.cards) else ()), since=since)
        for made, its, cards, since, _ in machines
        if cards
    )
    records = [record(made, passed_for=passed_for) for made, *_, passed_for in machines]
    known = grounds(view("5Alice"), records, leases=leases, quotes=quotes, **given)
    scores = score_epoch(executors, reports, verdicts, known, policy)
    assert all(score.score == total_of(score) for score in scores)
    return {score.executor_key.partition("/")[2]: score for score in scores}


def codes(score, *, deciding=False):
    """The codes of its reasons."""
    return [r.code for r in score.reasons if r.decides or not deciding]


def with_lium(**changes):
    """The preset with other numbers."""
    return replace(LIUM_2026, lium_2026=replace(LIUM_2026.lium_2026, **changes))


# --- the idle pool ---------------------------------------------------------------------------------


def test_96_idle_cards_of_8x_h100_share_a_cap_of_64():
    """64 / 96 = .667, and one machine counts 8 x 1.494 x .667 = 7.97 USD an hour."""
    scores = score_all(*(machine(f"m-{n:02}") for n in range(12)))

    score = scores["m-00"]
    assert score.capacity == 64 / 96
    assert round(score.idle_points, 2) == 7.97
    assert codes(score) == ["CAPACITY_SHARED"]


def test_the_idle_pool_pays_what_its_cards_are_worth():
    """12 x 7.968 = 95.616 USD/h; x 1.2 h / 0.41 / 7,200 USD a payout is the share; each of the twelve has its part."""
    scores = score_all(*(machine(f"m-{n:02}") for n in range(12)))

    score = scores["m-00"]
    share = 95.616 * 1.2 / 0.41 / 7_200
    assert score.idle_total == pytest.approx(95.616)
    assert score.idle_pool == pytest.approx(share)
    assert score.score == pytest.approx(share / 12)
    assert math.fsum(s.score for s in scores.values()) == pytest.approx(share)


def test_the_idle_pool_has_a_ceiling():
    """When alpha is cheap, the cards are worth more than the emission: 0.91, and the leased pool's 0.09 is what is left."""
    cheap = tuple(
        Quote("token", name, value, "test", NOW) for name, value in (("tao_usd", 200.0), ("alpha_tao", 0.001))
    )

    scores = score_all(*(machine(f"m-{n}") for n in range(7)), machine("m-7", leased=8), quotes=cheap)

    assert scores["m-0"].idle_pool == 0.91
    assert math.fsum(s.score for s in scores.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("known", [(), TOKENS[:1], TOKENS[1:]])
def test_without_a_price_nothing_idle_is_paid_and_the_reason_is_ours(known):
    """TAO or alpha unknown: the share is 0. It is no failure of the machine."""
    score = score_all(machine("m-0"), quotes=known)["m-0"]

    assert (score.idle_pool, score.score) == (0.0, 0.0)
    assert [(r.code, r.severity) for r in score.reasons] == [("TOKEN_PRICE_MISSING", Severity.NO_VERDICT)]


@pytest.mark.parametrize(
    ("model", "cards", "is_taken"),
    [
        (H100, 1, True),
        (H100, 8, True),
        (H100, 2, False),
        (H100, 7, False),
        (L4, 1, False),
        (A5000, 8, False),
        ("NVIDIA B300", 8, True),
        ("NVIDIA GeForce RTX 4090", 1, True),
    ],
)
def test_the_programme_takes_thirteen_models_with_1_or_8_cards(model, cards, is_taken):
    """Others are told so."""
    score = score_all(machine("m-0", cards, model=model, price=0.1))["m-0"]

    assert (score.programme, score.score > 0) == (float(is_taken), is_taken)
    assert ("NOT_IN_IDLE_PROGRAMME" in codes(score, deciding=True)) is not is_taken


@pytest.mark.parametrize(
    ("model", "cards", "cap"),
    [
        (H100, 1, 10),
        (H100, 8, 64),
        ("NVIDIA A100-SXM4-80GB", 1, 10),
        ("NVIDIA A100-SXM4-80GB", 8, 40),
        ("NVIDIA B300", 1, 4),
        ("NVIDIA B300", 8, 32),
        ("NVIDIA L40S", 1, 10),
        ("NVIDIA L40S", 8, 16),
    ],
)
def test_caps_of_the_buckets(model, cards, cap):
    """As many cards as the cap are paid in full, one machine more makes all share."""
    full = cap // cards
    within = score_all(*(machine(f"m-{n:02}", cards, model=model, price=0.1) for n in range(full)))
    above = score_all(*(machine(f"m-{n:02}", cards, model=model, price=0.1) for n in range(full + 1)))

    assert {s.capacity for s in within.values()} == {1.0}
    assert {s.capacity for s in above.values()} == {cap / (cap + cards)}


def test_a_bucket_is_a_base_model_and_a_shape():
    """H100 SXM and PCIe share one, single cards have another; who is leased or not paid anyway fills none."""
    scores = score_all(
        *(machine(f"sxm-{n}") for n in range(6)),
        *(machine(f"pcie-{n}", model=H100_PCIE) for n in range(6)),
        *(machine(f"one-{n}", 1) for n in range(10)),
        *(machine(f"leased-{n}", leased=8) for n in range(4)),
        *(machine(f"dear-{n}", price=40.0) for n in range(4)),
    )

    assert {round(s.capacity, 3) for name, s in scores.items() if name.startswith(("sxm", "pcie"))} == {0.667}
    assert {s.capacity for name, s in scores.items() if name.startswith(("one", "leased", "dear"))} == {1.0}


def test_no_capacity_is_a_zero_that_says_so():
    """A cap of 0 closes a bucket."""
    score = score_all(machine("m-0"), policy=with_lium(caps=(("", 8, 0),)))["m-0"]

    assert (score.score, codes(score, deciding=True)) == (0.0, ["NO_CAPACITY_IN_BUCKET"])


@pytest.mark.parametrize(
    ("driver", "now", "factor"),
    [
        ("580.65.06", NOW, 1.0),
        ("580.65.05", NOW, 0.0),
        ("575.64.03", NOW, 0.0),
        ("590.1", NOW, 1.0),
        ("", NOW, 0.0),
        ("new", NOW, 0.0),
        ("575.64.03", datetime(2026, 6, 29, 23, 59, tzinfo=UTC), 1.0),
        ("575.64.03", datetime(2026, 6, 30, tzinfo=UTC), 0.0),
    ],
)
def test_a_driver_below_580_65_06_earns_nothing_idle_since_30_june(driver, now, factor):
    """Compared as numbers; what is no version is too old."""
    score = score_all(machine("m-0", driver=driver), now=now)["m-0"]

    assert score.driver == factor
    assert codes(score, deciding=True) == ([] if factor else ["DRIVER_TOO_OLD"])


def test_a_leased_machine_may_have_an_old_driver():
    """Rented machines are exempt: nobody upgrades under a tenant."""
    score = score_all(machine("m-0", leased=8, driver="535.1"))["m-0"]

    assert score.score == pytest.approx(0.09)


def test_an_idle_machine_without_sysbox_has_a_fifth_less():
    """0.8 of its worth, and the mend."""
    score = score_all(machine("m-0", runtimes=SHARED))["m-0"]

    assert (score.idle_isolation, codes(score)) == (0.8, ["ISOLATION_MISSING"])
    assert score.idle_points == pytest.approx(8 * RATE * 0.8)


def test_an_idle_machine_needs_room_for_its_memory():
    """Free disk of 1.5 times the cards' memory: 8 x 8 GiB x 1.5 = 96 GiB; an unknown disk is none."""
    made, its, *rest = machine("m-0", vram_mib=8_192)
    needed = 96 << 30

    def scored(free):
        facts = replace(its.facts, disk_free_bytes=free)
        return score_all((made, replace(its, facts=facts), *rest))["m-0"]

    assert scored(needed).score > 0
    assert [codes(scored(free), deciding=True) for free in (needed - 1, None)] == [
        ["IDLE_DISK_TOO_SMALL"]
    ] * 2


def test_an_idle_machine_far_dearer_than_the_others_is_not_paid():
    """Above 1.1 x the 90th percentile of what the network asks for the model: nineteen at 1.494 a card, one at 1.8."""
    scores = score_all(*(machine(f"m-{n}") for n in range(19)), machine("m-x", price=8 * 1.8))

    assert codes(scores["m-x"], deciding=True) == ["IDLE_PRICE_ABOVE_NETWORK"]
    assert scores["m-0"].score > 0


# --- the leased pool -------------------------------------------------------------------------------


def test_the_leased_pool_is_shared_by_portion_and_cards():
    """0.09 for all: 8 of 24 H100 at .10 beside 8 of 8 L4 at .01 stand 0.0333 to 0.01."""
    scores = score_all(
        machine("h-0", leased=8),
        *(machine(f"h-{n}") for n in (1, 2)),
        machine("l-0", leased=8, model=L4, price=0.8),
        quotes=(),
    )

    points = {"h-0": 0.10 * 8 / 24, "l-0": 0.01 * 8 / 8}
    for name, expected in points.items():
        assert scores[name].leased_points == pytest.approx(expected)
        assert scores[name].score == pytest.approx(0.09 * expected / sum(points.values()))


@pytest.mark.parametrize(
    ("since", "factor"), [(OLD_LEASE, 0.8), (NEW_LEASE, 0.0), (datetime(2025, 1, 1, tzinfo=UTC), 0.8)]
)
def test_a_lease_without_sysbox_by_its_day(since, factor):
    """0.8 for leases that began until 3 April 2026, nothing for later ones."""
    scores = score_all(machine("m-0", leased=8, runtimes=SHARED, since=since), machine("m-1", leased=8))

    score = scores["m-0"]
    assert (score.isolation, codes(score)) == (factor, ["ISOLATION_MISSING"])
    assert score.leased_points == pytest.approx(factor * scores["m-1"].leased_points)
    assert (score.score > 0) == (factor > 0)


@pytest.mark.parametrize(
    ("days", "uptime"), [(0, 0.0), (3.5, 0.25), (7, 0.5), (14, 1.0), (400, 1.0), (None, 0.0)]
)
def test_without_a_deposit_uptime_ramps_over_14_days(days, uptime):
    """From 0 to 1; the reason names what would be needed."""
    passed_for = None if days is None else timedelta(days=days)
    score = score_all(machine("m-0", leased=8, passed_for=passed_for))["m-0"]

    assert score.uptime == pytest.approx(uptime)
    assert codes(score) == ([] if uptime == 1.0 else ["DEPOSIT_MISSING"])


def test_a_deposit_or_a_skipped_penalty_needs_no_uptime():
    """1 at once: with 5.768 TAO for 8x H100, or where the policy asks for none."""
    young = machine("m-0", leased=8, passed_for=None)

    assert score_all(young, deposits={"5Alice/m-0": 5_768_000_000})["m-0"].uptime == 1.0
    assert score_all(young, deposits={"5Alice/m-0": 5_767_999_999})["m-0"].uptime == 0.0
    assert score_all(young, policy=with_lium(is_penalty_skipped=True))["m-0"].uptime == 1.0


# --- both ------------------------------------------------------------------------------------------


def test_a_machine_that_is_leased_in_part_is_in_both_pools():
    """3 of 8 cards leased: 3/16 of the model in one pool, 5 x 1.494 USD/h in the other, in the bucket of 8 cards."""
    scores = score_all(machine("m-0", leased=3), machine("m-1"))

    score = scores["m-0"]
    assert (score.leased_cards, score.idle_cards, score.card_count) == (3, 5, 8)
    assert score.leased_points == pytest.approx(0.10 * 3 / 16)
    assert score.idle_points == pytest.approx(5 * RATE)
    share = 13 * RATE * 1.2 / 0.41 / 7_200
    assert score.score == pytest.approx(0.09 + share * 5 / 13)
    assert points_of(score) == (score.leased_points, score.idle_points)


def test_what_both_pools_leave_burns():
    """Weights: 0.09 to who is leased, the share to who is idle, the rest of 1 to the owner's uid."""
    leased, idle = machine("m-0", leased=8), machine("m-1")
    scores = score_all(leased, idle)
    ground = Ground.of(view("5Alice"))

    vector = weight_vector(7, scores.values(), ground, LIUM_2026.weights)

    share = 8 * RATE * 1.2 / 0.41 / 7_200
    assert [scores[name].score for name in ("m-0", "m-1")] == pytest.approx([0.09, share])
    assert {t.hotkey: t.weight for t in vector.targets} == pytest.approx(
        {"5Owner": 1.0 - 0.09 - share, "5Alice": 0.09 + share}
    )


def test_what_hits_one_part_leaves_the_other():
    """An old driver costs the idle part, which is told as a warning while the leased part is paid."""
    score = score_all(machine("m-0", leased=3, driver="535.1"))["m-0"]

    assert score.score == pytest.approx(0.09)
    assert [(r.code, r.severity) for r in score.reasons] == [("DRIVER_TOO_OLD", Severity.WARN)]


@pytest.mark.parametrize(("times", "factor"), [(3.0, 1.0), (3.01, 0.0), (0.5, 1.0)])
@pytest.mark.parametrize("leased", [None, 8])
def test_a_price_of_more_than_three_times_the_base_earns_nothing(times, factor, leased):
    """3.01 x base -> 0, leased or idle."""
    score = score_all(machine("m-0", price=times * RATE * 8, leased=leased))["m-0"]

    assert (score.price, score.score > 0) == (factor, factor > 0)
    assert codes(score, deciding=True) == ([] if factor else ["PRICE_ABOVE_MARKET"])


def test_nothing_is_held_against_a_machine_without_a_verdict():
    """Its price is told as a warning: that the proof was not got to is no failure, and its last score may be kept."""
    made, its, *_ = machine("m-0", price=1_000.0)
    away = Reason("NOT_READY", Severity.NO_VERDICT, "silence", "an answer", "Be there.")
    not_got_to = verdict(made, severity=Severity.NO_VERDICT, reasons=(away,))

    (score,) = score_epoch([made], [its], [not_got_to], grounds(view("5Alice"), quotes=TOKENS), LIUM_2026)

    assert [(r.code, r.decides) for r in score.reasons][:2] == [
        ("NOT_READY", True),
        ("PRICE_ABOVE_MARKET", False),
    ]
    assert not any(r.fails for r in score.reasons)


def test_a_price_below_the_floor_is_told():
    """Under half of the base price nothing can be rented out; the score stays."""
    score = score_all(machine("m-0", price=0.49 * RATE * 8))["m-0"]

    assert score.score > 0
    assert codes(score) == ["PRICE_BELOW_FLOOR"]


def test_every_reason_is_told_at_once():
    """One machine with everything against it is told all of it in one epoch, each with a mend."""
    made, its, *rest = machine("m-0", 2, model=L4, price=100.0, runtimes=SHARED, driver="535.1")
    its = replace(its, facts=replace(its.facts, disk_free_bytes=0))

    score = score_all((made, its, *rest))["m-0"]

    assert score.score == 0.0
    assert codes(score) == [
        *("PRICE_ABOVE_MARKET", "NOT_IN_IDLE_PROGRAMME", "IDLE_DISK_TOO_SMALL", "ISOLATION_MISSING"),
        "DRIVER_TOO_OLD",
    ]
    assert all(r.mend for r in score.reasons)


def test_a_quoted_rate_goes_before_the_table_and_the_policys_before_both():
    """The idle pool is counted at what the market says; the policy has the last word."""
    quoted = (*TOKENS, Quote("rate", "H100 80GB HBM3", 2.0, "markets", NOW))
    fixed = replace(
        LIUM_2026, scoring=replace(LIUM_2026.scoring, rates_usd_per_hour=(("H100 80GB HBM3", 3.0),))
    )

    assert score_all(machine("m-0"), quotes=quoted)["m-0"].idle_points == pytest.approx(16.0)
    assert score_all(machine("m-0"), quotes=quoted, policy=fixed)["m-0"].idle_points == pytest.approx(24.0)


def test_a_term_in_shadow_changes_the_pools_only_in_what_is_archived():
    """With the driver in shadow an old one is paid; what enforcing it would have done is in enforced_score."""
    policy = replace(LIUM_2026, shadow=ShadowPolicy(terms=("driver",)))
    machines = (machine("old", driver="535.1"), machine("new"))
    executors, reports = [m[0] for m in machines], [m[1] for m in machines]
    verdicts = [verdict(m[0], *[3_350.0] * 8) for m in machines]
    known = grounds(view("5Alice"), quotes=TOKENS)

    new, old = score_epoch(executors, reports, verdicts, known, policy)

    assert old.score == new.score == total_of(old, ("driver",)) > 0
    assert (old.driver, old.enforced_score) == (0.0, 0.0)
    assert new.enforced_score == pytest.approx(new.score)
    assert [(r.code, r.severity, r.is_shadow, r.decides) for r in old.reasons] == [
        ("DRIVER_TOO_OLD", Severity.FAIL, True, False)
    ]


def test_whom_a_term_in_shadow_would_have_changed_is_scored_again():
    """Pools tie all machines together, so an epoch is scored with the one term enforced: the old driver earns nothing."""
    shadow = ShadowPolicy(terms=("driver", "idle_isolation"))
    policy = replace(LIUM_2026, shadow=shadow)
    machines = (machine("old", driver="535.1"), machine("open", runtimes=SHARED), machine("new"))
    executors, reports = tuple(m[0] for m in machines), tuple(m[1] for m in machines)
    verdicts = tuple(verdict(m[0], *[3_350.0] * 8) for m in machines)
    known = grounds(view("5Alice"), quotes=TOKENS, policy=policy)
    scores = score_epoch(executors, reports, verdicts, known, policy)
    epoch = replace(
        small_outcome(7),
        executors=executors,
        reports=reports,
        verdicts=verdicts,
        scores=scores,
        grounds=known,
    )

    found = {(c.name, c.executor_key): c for c in changes(7, scores, shadow, enforced_alone(epoch, shadow))}

    old, unisolated = found["driver", "5Alice/old"], found["idle_isolation", "5Alice/open"]
    assert (old.score > 0, old.then, old.enforced, old.why) == (True, 0.0, 0.0, "driver 0")
    assert unisolated.then == pytest.approx(0.8 * unisolated.score)
