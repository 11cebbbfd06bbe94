"""Scores: each term by its arithmetic, each zero by its reasons, no order that matters."""

import math
from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import Quote, Reason, Score, Severity
from tasks.policy import DEFAULT, LIUM_2025, LIUM_2026, LOCALNET, CollateralPolicy, ShadowPolicy
from tasks.proof.reasons import reason
from tasks.scoring import terms
from tasks.scoring.bills import total_of
from tasks.scoring.machines import machines_frame
from tasks.scoring.scoring import score_epoch, score_machines
from tests.tasks.scoring.worlds import (
    ASKING,
    DAYS_5,
    ISOLATED,
    MODELS,
    NOW,
    PAR,
    SHARED,
    executor,
    grounds,
    lease,
    record,
    report,
    verdict,
    view,
)

SCORING = DEFAULT.scoring
FAILED = Reason("GPU_VRAM_MISMATCH", Severity.FAIL, "12 GiB", "24 GiB", "List the card that is there.")
SILENT = Reason("HOST_TIMEOUT", Severity.NO_VERDICT, "silence", "an answer", "See that it is up.")
UNPROVEN = reason("MODEL_UNPROVEN", Severity.WARN, "no proof", "5 machines of 3 miners")
WARNED = Reason("OS_NOT_RECOMMENDED", Severity.WARN, "18.04", "20.04", "Upgrade.")


def score_of(machine, its_report, its_verdict, its_record=None, policy=DEFAULT, **subnet):
    """The score of one machine alone on its subnet."""
    (score,) = score_epoch(
        [machine],
        [its_report] if its_report else [],
        [its_verdict] if its_verdict else [],
        grounds(view("5Alice", **subnet), [its_record] if its_record else []),
        policy,
    )
    return score


def with_scoring(**changes):
    """The default policy with other scoring parameters."""
    return replace(DEFAULT, scoring=replace(SCORING, **changes))


# --- the bill --------------------------------------------------------------------------------------


def test_a_score_is_the_product_of_its_terms():
    """8 H200 at 2.85 USD an hour, the slowest at 90 % of 4.8 TB/s, full bandwidth, half the uptime ramp: 8 x 2.85 x .9 x .525."""
    machine = executor()
    gb_s = [4_800.0] * 7 + [4_320.0]

    score = score_of(
        machine, report(machine, cards=8), verdict(machine, *gb_s), record(machine, passed_for=DAYS_5 / 2)
    )

    assert score == Score(
        executor_key="5Alice/m-0",
        miner_hotkey="5Alice",
        miner_uid=1,
        model="H200",
        card_count=8,
        vram_bytes=8 * 143_771 << 20,
        rate_usd_per_hour=2.85,
        performance=0.9,
        bandwidth=1.0,
        uptime=0.525,
        collateral=1.0,
        passed=1.0,
        score=pytest.approx(8 * 2.85 * 0.9 * 0.525),
        reasons=(),
        formula="default",
        enforced_score=score.score,
        idle_cards=8,
    )


def test_a_rate_of_the_policy_goes_before_the_table():
    """The policy may name a model's rate; other models keep theirs."""
    machine = executor()
    policy = with_scoring(rates_usd_per_hour=(("H200", 7.0),))

    assert (
        score_of(machine, report(machine), verdict(machine, 4_800.0), policy=policy).rate_usd_per_hour == 7.0
    )
    assert (
        score_of(
            machine, report(machine, model="NVIDIA L4"), verdict(machine, 300.0), policy=policy
        ).rate_usd_per_hour
        == 0.11
    )


@pytest.mark.parametrize(
    ("proved_gb_s", "performance"),
    [(4_800, 1.0), (4_800 * 1.1, 1.1), (4_800 * 0.76, 0.76), (4_800 * 0.5, 0.75), (9_999_999, 1.25)],
)
def test_performance_is_the_proved_share_of_the_class_within_a_window(proved_gb_s, performance):
    """Proved over reference bandwidth, clipped to 0.75 .. 1.25."""
    machine = executor()

    assert score_of(machine, report(machine), verdict(machine, proved_gb_s)).performance == pytest.approx(
        performance
    )


@pytest.mark.parametrize(
    ("proved_gb_s", "performance"), [(4_800, 0.75), (9_999_999, 0.75), (4_800 * 0.6, 0.75)]
)
def test_a_model_that_too_few_have_proved_is_paid_at_the_low_end(proved_gb_s, performance):
    """MODEL_UNPROVEN on the verdict caps the performance term, whatever was measured; the machine is still paid."""
    machine = executor()

    score = score_of(machine, report(machine), verdict(machine, proved_gb_s, reasons=(UNPROVEN,)))

    assert (score.performance, score.passed) == (performance, 1.0)
    assert score.score == pytest.approx(2.85 * performance * score.uptime)
    assert score.reasons == (UNPROVEN,)


def test_what_an_unproven_model_is_paid_is_a_number_of_the_policy():
    """With 1.25 the cap is the window's own high end: no effect; the cap never lifts what is below it."""
    machine = executor()
    seen = verdict(machine, 4_800 * 0.9, reasons=(UNPROVEN,))

    def performance(cap):
        return score_of(
            machine, report(machine), seen, policy=with_scoring(unproven_performance=cap)
        ).performance

    assert [performance(cap) for cap in (1.25, 0.8, 0.5)] == pytest.approx([0.9, 0.8, 0.5])


def test_a_median_near_nothing_is_still_a_class():
    """A machine infinitely faster than its class is at the window's end, as any other that is far above it."""
    machines = [executor(name=f"m-{n}") for n in range(3)]
    verdicts = [verdict(m, gb_s) for m, gb_s in zip(machines, (2e-313, 2e-313, 4_800.0), strict=True)]

    scores = score_epoch(machines, map(report, machines), verdicts, grounds(view("5Alice")), LOCALNET)

    assert [s.performance for s in scores] == [1.0, 1.0, 1.25]


def test_simulated_cards_are_held_against_the_median_of_their_model():
    """Where bandwidth is not enforced, the class is the median of the machines of the model that passed in this epoch."""
    machines = [executor(name=f"m-{n}") for n in range(4)]
    reports = [report(m) for m in machines[:3]] + [report(machines[3], reasons=(FAILED,))]
    verdicts = [verdict(m, gb_s) for m, gb_s in zip(machines, (1.0, 1.1, 9.0, 100.0), strict=True)]

    scores = score_epoch(machines, reports, verdicts, grounds(view("5Alice")), LOCALNET)

    assert [s.performance for s in scores[:3]] == pytest.approx([1.0 / 1.1, 1.0, 1.25])


@pytest.mark.parametrize("policy", [DEFAULT, LOCALNET], ids=["default", "localnet"])
def test_a_leased_machine_is_taken_for_its_class(policy):
    """A small proof measures a card's caches: it makes no machine faster, and moves nobody's median."""
    machines = [executor(name=f"m-{n}") for n in range(3)]
    verdicts = [verdict(m, gb_s) for m, gb_s in zip(machines, (4_800.0, 4_800.0, 90_000.0), strict=True)]

    scores = score_epoch(
        machines,
        [report(m) for m in machines],
        verdicts,
        grounds(view("5Alice"), leased=[machines[2].key]),
        policy,
    )

    assert [s.performance for s in scores] == [1.0, 1.0, 1.0]


def test_a_leased_machine_that_is_not_proved_is_not_paid():
    """Being leased spares a machine the full proof, and no proof at all."""
    machine = executor()
    failed = verdict(machine, severity=Severity.FAIL, reasons=(FAILED,))

    (score,) = score_epoch(
        [machine],
        [report(machine)],
        [failed],
        grounds(view("5Alice"), leased=[machine.key]),
        DEFAULT,
    )

    assert (score.performance, score.score) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("mbit_s", "term"),
    [(100.0, 0.5), (550.0, 0.75), (1_000.0, 1.0), (20_000.0, 1.0), (10.0, 0.5), (None, 0.5)],
)
def test_bandwidth_ramps_from_the_minimum_to_full(mbit_s, term):
    """0.5 at 100 Mbit/s, 1 at 1,000, straight between; unknown is the floor."""
    machine = executor()

    assert score_of(
        machine, report(machine, mbit_s=mbit_s), verdict(machine, 4_800.0)
    ).bandwidth == pytest.approx(term)


def test_bandwidth_is_smoothed_over_epochs_and_the_slower_way_counts():
    """With 100 up in the record and 1,000 now, half and half: 550 up is slower than 1,000 down."""
    machine = executor()
    known = record(machine, up=100.0, down=1_000.0)

    assert score_of(machine, report(machine), verdict(machine, 4_800.0), known).bandwidth == pytest.approx(
        0.75
    )


def test_a_bandwidth_ramp_without_length_is_a_step():
    """Where full is not above the minimum, it is all or the floor."""
    up = [50.0, 100.0, math.nan]
    scoring = replace(SCORING, full_bandwidth_mbit_s=100.0)
    frame = pd.DataFrame({"up_mbit_s": up, "down_mbit_s": up})

    assert terms.bandwidth(frame, scoring, DEFAULT.inspection).tolist() == [0.5, 1.0, 0.5]


@pytest.mark.parametrize(
    ("passed_for", "term"),
    [
        (None, 0.05),
        (timedelta(0), 0.05),
        (DAYS_5 / 2, 0.525),
        (DAYS_5, 1.0),
        (timedelta(days=900), 1.0),
        (timedelta(days=-1), 0.05),
    ],
)
def test_uptime_ramps_over_five_days(passed_for, term):
    """0.05 for a newcomer, 1 after five days of unbroken passing, straight between."""
    machine = executor()

    assert score_of(
        machine, report(machine), verdict(machine, 4_800.0), record(machine, passed_for=passed_for)
    ).uptime == pytest.approx(term)


@pytest.mark.parametrize(("locked_rao", "term"), [(24_000_000_000, 1.0), (23_999_999_999, 0.5), (None, 0.5)])
def test_collateral_covers_the_cards_of_all_machines_to_the_rao(locked_rao, term):
    """8 + 16 cards at 1 alpha each need 24 alpha, whichever machines pass; one rao less covers nothing, and is said."""
    machines = [executor(name="m-0"), executor(name="m-1")]
    reports = [report(machines[0], cards=8), report(machines[1], cards=16, reasons=(FAILED,))]

    first, second = score_epoch(
        machines,
        reports,
        [verdict(machines[0], *[4_800.0] * 8)],
        grounds(view("5Alice", locked={"5Alice": locked_rao}), quotes=PAR),
        ASKING,
    )

    assert (first.collateral, second.collateral) == (term, term)
    assert [r.code for r in first.reasons] == ([] if term == 1.0 else ["COLLATERAL_SHORT"])
    assert first.passed == 1.0


def test_an_alpha_of_half_a_tao_asks_for_twice_as_much():
    """Needs are in TAO, locks in alpha: the chain's price stands between, and without one no lock covers anything."""
    machine = executor()

    def term(locked_rao, quotes):
        subnet = view("5Alice", locked={"5Alice": locked_rao})
        given = grounds(subnet, quotes=quotes)
        [score] = score_epoch([machine], [report(machine)], [verdict(machine, 4_800.0)], given, ASKING)
        return score.collateral

    half = (replace(PAR[0], value=0.5),)
    assert [term(rao, half) for rao in (2 * 10**9, 2 * 10**9 - 1)] == [1.0, 0.5]
    assert term(10**18, ()) == 0.5


def test_a_deposit_covers_its_own_machine_to_the_rao():
    """By the ledger 8x H100 80GB HBM3 need 5.768 TAO of their own; a rao less is told with both amounts."""
    policy = replace(DEFAULT, collateral=CollateralPolicy(source="ledger"))
    machines = [executor(name="m-0"), executor(name="m-1")]

    first, second = score_epoch(
        machines,
        [report(m, model="NVIDIA H100 80GB HBM3", cards=8) for m in machines],
        [verdict(m, *[3_350.0] * 8) for m in machines],
        grounds(view("5Alice"), deposits={machines[0].key: 5_768_000_000, machines[1].key: 5_767_999_999}),
        policy,
    )

    assert (first.collateral, second.collateral) == (1.0, 0.5)
    [told] = [r for r in second.reasons if r.code == "DEPOSIT_MISSING"]
    assert (told.got, told.wanted) == ("5.767999999 TAO deposited", "5.768000000 TAO")


def test_collateral_that_is_not_asked_for_is_no_term():
    """Unless the policy names where it is, the term is 1 for all, also where the chain knows no collateral."""
    machine = executor()

    assert score_of(machine, report(machine), verdict(machine, 4_800.0)).collateral == 1.0


def test_a_machine_that_was_not_reached_counts_with_the_cards_it_had():
    """Silence does not lower the collateral that a miner needs."""
    known = record(executor())

    assert score_of(executor(), None, None, known).card_count == 1


# --- zeros -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("report_reasons", "severity", "verdict_reasons", "codes"),
    [
        ((FAILED,), Severity.NO_VERDICT, (), ["GPU_VRAM_MISMATCH"]),
        ((FAILED, SILENT, WARNED), None, (), ["GPU_VRAM_MISMATCH", "HOST_TIMEOUT", "OS_NOT_RECOMMENDED"]),
        ((WARNED,), Severity.FAIL, (FAILED,), ["OS_NOT_RECOMMENDED", "GPU_VRAM_MISMATCH"]),
        ((), Severity.NO_VERDICT, (), ["NOT_PROVED"]),
    ],
)
def test_a_zero_keeps_all_its_reasons(report_reasons, severity, verdict_reasons, codes):
    """What inspection and proof said is there at once, and where they said nothing that fails, the score says it."""
    machine = executor()

    score = score_of(
        machine,
        report(machine, reasons=report_reasons),
        verdict(machine, 4_800.0, severity=severity, reasons=verdict_reasons),
    )

    assert (score.score, score.passed, [r.code for r in score.reasons]) == (0.0, 0.0, codes)


def test_a_warning_costs_nothing():
    """A machine that is only warned is paid, and the warning is kept."""
    machine = executor()

    score = score_of(machine, report(machine, reasons=(WARNED,)), verdict(machine, 4_800.0))

    assert (score.passed, score.reasons) == (1.0, (WARNED,))
    assert score.score > 0


@pytest.mark.parametrize(
    ("model", "has_report", "gb_s", "code"),
    [
        ("NVIDIA H200", False, [4_800.0], "NOT_INSPECTED"),
        ("NVIDIA H200", True, None, "NOT_PROVED"),
        ("NVIDIA Imaginary 9", True, [4_800.0], "MODEL_WITHOUT_RATE"),
        ("NVIDIA H200", True, [4_800.0, math.nan], "PROOF_WITHOUT_FIGURE"),
        ("NVIDIA H200", True, [math.inf], "PROOF_WITHOUT_FIGURE"),
        ("NVIDIA H200", True, [0.0], "PROOF_WITHOUT_FIGURE"),
        ("NVIDIA H200", True, [], "PROOF_WITHOUT_FIGURE"),
    ],
)
def test_what_is_missing_gives_a_zero_with_a_reason(model, has_report, gb_s, code):
    """No report, no proof, no rate, no figure: each is a zero with its own code, never NaN."""
    machine = executor()

    score = score_of(
        machine,
        report(machine, model=model) if has_report else None,
        None if gb_s is None else verdict(machine, *gb_s),
    )

    assert (score.score, [r.code for r in score.reasons]) == (0.0, [code])
    assert all(math.isfinite(getattr(score, f.name)) for f in fields(Score) if f.type == "float")


def test_a_zero_by_the_policy_is_explained():
    """A machine that passes but earns nothing under the policy is told which term is 0."""
    machine = executor()

    score = score_of(
        machine, report(machine), verdict(machine, 4_800.0), policy=with_scoring(uptime_floor=0.0)
    )

    assert (score.score, [(r.code, r.got) for r in score.reasons]) == (0.0, [("TERM_IS_ZERO", "uptime 0")])


# --- the whole -------------------------------------------------------------------------------------


@st.composite
def worlds(draw):
    """Machines of three miners: models, counts, prices, proofs, histories, leases and failures drawn."""
    machines = [
        executor(miner, f"m-{n}", price=draw(st.sampled_from([0.0, 0.3, 3.0, 1e6])))
        for miner in ("5Alice", "5Bob", "5Carol")
        for n in range(draw(st.integers(0, 3)))
    ]
    reports, verdicts, records, leases = [], [], {}, []
    for machine in machines:
        cards = draw(st.sampled_from([1, 2, 3, 8]))
        reasons = draw(st.sampled_from([(), (), (WARNED,), (FAILED,), (SILENT,)]))
        model = draw(st.sampled_from([*MODELS, "NVIDIA Imaginary 9"]))
        if draw(st.integers(0, 9)):
            mbit_s = draw(st.none() | st.floats(0, 1e5))
            told = {"runtimes": draw(st.sampled_from([ISOLATED, SHARED])), "mbit_s": mbit_s}
            driver = draw(st.sampled_from(["580.65.06", "535.1", ""]))
            reports.append(report(machine, model=model, cards=cards, reasons=reasons, driver=driver, **told))
        if draw(st.integers(0, 9)):
            figure = st.floats(1.0, 1e4) | st.floats()
            verdicts.append(verdict(machine, *draw(st.lists(figure, min_size=cards, max_size=cards))))
        if draw(st.booleans()):
            records[machine.key] = record(machine, passed_for=timedelta(seconds=draw(st.integers(0, 10**7))))
        if not draw(st.integers(0, 2)):
            leases.append(
                lease(machine, *draw(st.sampled_from([(), (0,), (0, 1)])), rent=draw(st.floats(0, 9)))
            )
    return machines, reports, verdicts, records, tuple(leases)


SUBNET = view("5Alice", "5Bob", "5Carol", locked={"5Alice": 10**10, "5Bob": 2 * 10**9})


TOKENS = (*PAR, Quote("token", "tao_usd", 400.0, "test", NOW))
EVERY_POLICY = st.sampled_from(
    [
        ASKING,
        LOCALNET,
        LIUM_2025,
        LIUM_2026,
        replace(LIUM_2026, shadow=ShadowPolicy(terms=("driver", "price"))),
    ]
)


def score_world(world, policy):
    machines, reports, verdicts, records, leases = world
    known = grounds(SUBNET, records.values(), leases=leases, quotes=TOKENS)
    return score_epoch(machines, reports, verdicts, known, policy)


@given(worlds(), EVERY_POLICY, st.randoms())
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_records_changes_no_bit(world, policy, random):
    """Machines, reports and verdicts in any order give the very same scores, under every formula."""
    *shuffled, records, leases = world
    shuffled = [random.sample(part, len(part)) for part in shuffled]

    assert score_world((*shuffled, records, leases), policy) == score_world(world, policy)


@given(worlds(), EVERY_POLICY, st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_rows_changes_no_bit(world, policy, random):
    """The frame's rows in any order give every row the same terms."""
    machines, reports, verdicts, records, leases = world
    known = grounds(SUBNET, records.values(), leases=leases, quotes=TOKENS)
    frame = machines_frame(machines, reports, verdicts, known, policy)
    order = random.sample(range(len(frame)), len(frame))

    straight = score_machines(frame, known, policy)
    mixed = score_machines(frame.iloc[order], known, policy)

    assert mixed == tuple(straight[at] for at in order)


@given(worlds(), EVERY_POLICY)
@settings(max_examples=60, deadline=None)
def test_every_score_can_be_read_like_a_bill(world, policy):
    """For any machines and formula: the terms' product is the score to the last bit, all is finite, every zero has a reason."""
    for score in score_world(world, policy):
        assert score.score == total_of(score, policy.shadow.terms)
        assert policy.shadow.terms or score.enforced_score == score.score
        assert all(math.isfinite(getattr(score, f.name)) for f in fields(Score) if f.type == "float")
        assert (score.score > 0) == (not any(r.decides for r in score.reasons))


@given(worlds(), EVERY_POLICY)
@settings(max_examples=40, deadline=None)
def test_pools_are_never_overdrawn(world, policy):
    """Scores that are shares of the emission come to 1 at most, those of the leased pool to 0.09."""
    scores = [score for score in score_world(world, policy) if score.formula == "lium-2026"]

    assert math.fsum(score.score for score in scores) <= 1.0 + 1e-12
    assert math.fsum(s.leased_pool * s.leased_points / s.leased_total for s in scores) <= 0.09 + 1e-12


def test_no_machines_give_no_scores():
    """An empty network is an answer."""
    assert score_world(([], [], [], {}, ()), DEFAULT) == ()


def test_two_machines_of_one_key_are_refused():
    """A key names one machine: two of them would share a proof."""
    with pytest.raises(ValueError, match="'5Alice/m-0' is listed more than once"):
        score_world(([executor(), executor()], [], [], {}, ()), DEFAULT)


def test_a_term_that_is_no_number_is_refused():
    """A NaN that gets into a column stops there, with the machine's name."""
    machine = executor()
    given = grounds(view())
    frame = machines_frame([machine], [], [], given, DEFAULT)
    frame["rate_usd_per_hour"] = np.nan

    with pytest.raises(
        ValueError, match="rate_usd_per_hour of executor '5Alice/m-0' is not a finite number: nan"
    ):
        score_machines(frame, given, DEFAULT)
