"""Subnet 51's formula of August 2025: every factor, by its own arithmetic and by the worked example."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.records import Quote, Reason, Severity
from tasks.policy import LIUM_2025
from tasks.scoring.bills import total_of
from tasks.scoring.scoring import score_epoch
from tests.tasks.scoring.worlds import SHARED, executor, grounds, record, report, verdict, view

H100, L4 = "NVIDIA H100 80GB HBM3", "NVIDIA L4"
DAYS_2 = timedelta(days=2)
TOO_LATE = Reason("ROUND_TOO_LATE", Severity.FAIL, "12 s", "10 s", "Free the card.")
BUSY = Reason("GPU_USAGE_HIGH", Severity.FAIL, "90 %", "5 %", "Stop it.")
TOO_SMALL = Reason("GPU_VRAM_MISMATCH", Severity.FAIL, "12 GiB", "80 GiB", "List the card that is there.")
AWAY = Reason("HOST_UNREACHABLE", Severity.NO_VERDICT, "silence", "an answer", "See that it is up.")
MINUTE = timedelta(minutes=1)


def scores_of(*machines, policy=LIUM_2025, passed_for=DAYS_2, **given):
    """The scores by name; a machine is (name, cards, what else of report, what else of its verdict)."""
    made = {name: executor(name=name) for name, *_ in machines}
    reports = [report(made[name], cards=cards, **{"model": H100} | told) for name, cards, told, _ in machines]
    verdicts = [
        verdict(made[name], *[3_350.0] * cards, **judged)
        for name, cards, _, judged in machines
        if judged is not None
    ]
    records = [record(one, passed_for=passed_for) for one in made.values()]
    scores = score_epoch(made.values(), reports, verdicts, grounds(view("5Alice"), records, **given), policy)
    return {score.executor_key.partition("/")[2]: score for score in scores}


def with_lium(**changes):
    """The preset with other numbers."""
    return replace(LIUM_2025, lium_2025=replace(LIUM_2025.lium_2025, **changes))


def test_the_worked_example():
    """8 of 400 H100 HBM3, 2 days up, sysbox, no deposit, enforcement off: .10 x 8/400 x .45 x 1.2 x .5 = 0.00054."""
    others = [(f"o-{n:02}", 8, {}, {}) for n in range(49)]

    score = scores_of(("m-0", 8, {}, {}), *others)["m-0"]

    assert (score.portion, score.card_share, score.uptime) == (0.10, 0.02, pytest.approx(0.45))
    assert (score.isolation, score.collateral, score.passed) == (1.2, 0.5, 1.0)
    assert score.score == pytest.approx(0.00054, rel=1e-12)
    assert score.score == score.enforced_score == total_of(score)


@pytest.mark.parametrize(
    ("minutes", "uptime"),
    [(0, 0.05), (2_880, 0.45), (6_839, 0.05 + 6_839 / 7_200), (6_840, 1.0), (7_200, 1.0), (10**6, 1.0)],
)
def test_uptime_by_the_minute(minutes, uptime):
    """0.05 + min(0.95, minutes / 7200): .45 after 2,880 minutes, full after 6,840."""
    score = scores_of(("m-0", 1, {}, {}), passed_for=minutes * MINUTE)["m-0"]

    assert score.uptime == pytest.approx(uptime)


def test_a_newcomer_has_the_floor():
    """Nothing is known of it: 0.05."""
    assert scores_of(("m-0", 1, {}, {}), passed_for=None)["m-0"].uptime == 0.05


def test_isolation_is_a_bonus():
    """1.2 with sysbox, 1 without, which is said."""
    scores = scores_of(("m-0", 1, {}, {}), ("m-1", 1, {"runtimes": SHARED}, {}))

    assert [scores[name].isolation for name in ("m-0", "m-1")] == [1.2, 1.0]
    assert [r.code for r in scores["m-1"].reasons] == ["ISOLATION_MISSING", "DEPOSIT_MISSING"]


@pytest.mark.parametrize(
    ("model", "cards", "needed_rao"),
    [
        (H100, 8, 5_768_000_000),  # .103 TAO a card and day x 8 x 7
        (H100, 1, 721_000_000),
        (L4, 1, 56_000_000),  # .008 x 7
    ],
)
def test_a_deposit_covers_a_week_of_its_cards_to_the_rao(model, cards, needed_rao):
    """8x H100 HBM3 need 5.768 TAO; a rao less is half the pay, and the reason says what is missing."""
    whole, short = (
        scores_of(("m-0", cards, {"model": model}, {}), deposits={"5Alice/m-0": rao})["m-0"]
        for rao in (needed_rao, needed_rao - 1)
    )

    assert (whole.collateral, whole.reasons) == (1.0, ())
    assert (short.collateral, [r.code for r in short.reasons]) == (0.5, ["DEPOSIT_MISSING"])
    assert short.score == pytest.approx(whole.score / 2)


def test_no_deposit_is_less_than_the_least():
    """A unit so small that a week of it is below 0.01 TAO still asks for that."""
    policy = replace(LIUM_2025, collateral=replace(LIUM_2025.collateral, units_rao=(("L4", 1_000),)))

    covered = [
        scores_of(("m-0", 1, {"model": L4}, {}), policy=policy, deposits={"5Alice/m-0": rao})[
            "m-0"
        ].collateral
        for rao in (9_999_999, 10_000_000)
    ]

    assert covered == [0.5, 1.0]


def test_b200_needs_no_deposit():
    """The model is exempt."""
    assert scores_of(("m-0", 8, {"model": "NVIDIA B200"}, {}))["m-0"].collateral == 1.0


def test_enforced_collateral_is_a_zero():
    """With 0 for whoever has not deposited, as the code of 2025 had it, the reason decides."""
    score = scores_of(("m-0", 8, {}, {}), policy=with_lium(undeposited=0.0))["m-0"]

    assert score.score == 0.0
    assert [(r.code, r.severity) for r in score.reasons] == [("DEPOSIT_MISSING", Severity.FAIL)]


def test_who_fails_late_still_dilutes_its_model():
    """The proof and the use of cards are late checks: 8 / (8 + 8 + 8). Who fails early, or is not heard, is not counted."""
    scores = scores_of(
        ("good", 8, {}, {}),
        ("late", 8, {}, {"severity": Severity.FAIL, "reasons": (TOO_LATE,)}),
        ("busy", 8, {"reasons": (BUSY,)}, None),
        ("small", 8, {"reasons": (TOO_SMALL,)}, None),
        ("away", 8, {"reasons": (AWAY,)}, None),
    )

    assert scores["good"].card_share == pytest.approx(8 / 24)
    assert [name for name, score in scores.items() if score.score > 0] == ["good"]


def test_leased_and_idle_earn_the_same():
    """Nothing in the formula looks at it, nor at price, bandwidth or speed."""
    scores = scores_of(("m-0", 1, {}, {}), ("m-1", 1, {"mbit_s": 101.0}, {}), leased=["5Alice/m-1"])

    assert scores["m-0"].score == scores["m-1"].score > 0


def test_a_portion_that_is_quoted_goes_before_the_table():
    """Portions move with revenue: what the epoch's quotes say is used, and other models keep the table's."""
    quote = Quote("portion", "H100 80GB HBM3", 0.25, "leases", datetime(2026, 8, 1, tzinfo=UTC))

    scores = scores_of(("m-0", 1, {}, {}), ("m-1", 1, {"model": L4}, {}), quotes=(quote,))

    assert [scores[name].portion for name in ("m-0", "m-1")] == [0.25, 0.01]


def test_a_model_without_a_portion_is_not_paid_and_told_so():
    """B300 is in no table of 2025."""
    score = scores_of(("m-0", 8, {"model": "NVIDIA B300"}, {}))["m-0"]

    assert score.score == 0.0
    assert [r.code for r in score.reasons if r.decides] == ["MODEL_WITHOUT_PORTION"]


def test_portions_of_2025_are_shares_of_one():
    """22 models, 1.000 together, and every one of them in our table of models."""
    portions = dict(LIUM_2025.pricing.base_portions)

    assert (len(portions), round(sum(portions.values()), 9)) == (22, 1.0)


def test_weights_burn_as_they_did():
    """0.80, of which the one that is drawn has 0.77 and three others 0.01 each."""
    weights = LIUM_2025.weights

    assert (weights.burn_share, weights.burn_uids) == (0.80, (4, 206, 207, 208))
    assert weights.burn_share - 3 * weights.burn_minor_share == pytest.approx(0.77)
