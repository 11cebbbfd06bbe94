"""What a machine would earn: the same code, beside the machines that are there."""

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.records import ALPHA_TAO, TAO_USD, TOKEN, EpochOutcome, EpochState, Quote, Reason, Severity
from tasks.estimating import Hypothetical, estimate, is_proven_in, models_named
from tasks.inspection.models import MODELS, find
from tasks.policy import DEFAULT, PRESETS
from tests.tasks.scoring.worlds import NOW, executor, grounds, record, report, verdict, view

H200 = find("H200")
BURNING = replace(DEFAULT, weights=replace(DEFAULT.weights, burn_share=0.2))


def world(*, reasons=(), tokens=()):
    """An epoch with one machine of one H200, five days up."""
    machine = executor()
    given = grounds(view("5Alice"), [record(machine, passed_for=timedelta(days=5))])
    quotes = tuple(Quote(TOKEN, name, value, "test", NOW) for name, value in tokens)
    return EpochOutcome(
        epoch=7,
        netuid=3,
        block=350,
        block_hash="0xab",
        validator_hotkey="5V",
        policy="default",
        policy_digest="",
        code_version="",
        started_at=NOW,
        finished_at=NOW,
        state=EpochState.FINISHED,
        executors=(machine,),
        reports=(report(machine),),
        verdicts=(verdict(machine, H200.skus[0].bandwidth_gb_s, reasons=reasons),),
        grounds=replace(given, quotes=quotes),
    )


def twin(**changed):
    """A machine like the one that is there, of another miner."""
    return Hypothetical(H200, 1, passing_s=432_000.0, **changed)


def test_a_twin_halves_the_pay():
    """Of what does not burn each of two equal machines has half; alpha, TAO and USD follow from the share."""

    found = estimate(world(tokens=((TAO_USD, 300.0), (ALPHA_TAO, 0.02))), twin(), BURNING, 1_000.0)

    assert found.share == pytest.approx(0.4)
    assert (found.alpha_per_day, found.tao_per_day) == (pytest.approx(400.0), pytest.approx(8.0))
    assert found.usd_per_day == pytest.approx(2_400.0)


def test_a_price_that_is_not_known_gives_no_money():
    """Without quotes there is alpha, and nothing is made up."""

    found = estimate(world(), twin(), DEFAULT)

    assert (found.tao_per_day, found.usd_per_day) == (None, None)
    assert found.share == pytest.approx(0.5)


def test_what_it_adds_for_a_miner_that_is_there():
    """A second machine of the only miner adds nothing: it had everything that is paid."""

    found = estimate(world(), twin(miner_hotkey="5Alice"), DEFAULT)

    assert found.share == 0.0
    assert found.score.score > 0


def test_a_newcomer_earns_by_its_uptime():
    """New, it has the floor of the ramp: 0.05 against 1 of the machine that is there."""

    found = estimate(world(), replace(twin(), passing_s=0.0), DEFAULT)

    assert found.score.uptime == 0.05
    assert found.share == pytest.approx(0.05 / 1.05)


def test_a_leased_machine_has_its_rent_beside_it():
    """The lease is in the grounds that scoring is given, and the rent is told apart from pay."""

    found = estimate(world(), twin(is_leased=True, rent_usd_per_hour=2.0), DEFAULT)

    assert found.score.leased_cards == 1
    assert found.rent_usd_per_day == 48.0


def test_a_model_that_nobody_has_proved_is_paid_as_unproven():
    """As in the epoch: flagged there, or not there at all."""
    flagged = world(reasons=(Reason("MODEL_UNPROVEN", Severity.WARN, "", "", ""),))

    assert is_proven_in(world(), H200)
    assert not is_proven_in(flagged, H200)
    assert not is_proven_in(world(), find("L4"))
    assert estimate(flagged, twin(), DEFAULT).score.performance == 0.75
    assert estimate(flagged, twin(is_proven=True), DEFAULT).score.performance == 1.0
    lenient = replace(DEFAULT, proof=replace(DEFAULT.proof, history_miners=0))
    assert estimate(flagged, twin(), lenient).score.performance == 1.0


@pytest.mark.parametrize(("has_collateral", "factor"), [(True, 1.0), (False, 0.5)])
@pytest.mark.parametrize("source", ["chain", "ledger"])
def test_collateral_is_there_wherever_the_policy_looks_for_it(source, has_collateral, factor):
    """A newcomer that is said to have its collateral has it, in the ledger or locked on the chain."""
    policy = replace(DEFAULT, collateral=replace(DEFAULT.collateral, source=source))

    found = estimate(world(tokens=((ALPHA_TAO, 0.02),)), twin(has_collateral=has_collateral), policy)

    assert found.score.collateral == factor


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_estimates(name):
    """Alone on a subnet a machine of a listed model is paid while it is leased, under every formula."""

    found = estimate(
        None, Hypothetical(find("H100 PCIe"), 8, is_leased=True, passing_s=432_000.0), PRESETS[name]
    )

    assert found.share == pytest.approx(1.0 - found.burn_share)
    assert found.score.score > 0


def test_models_by_the_words_people_use():
    """The vendor's long name, its end, or its words; several when it is not clear."""

    assert [m.name for m in models_named("RTX 4090", MODELS)] == ["GeForce RTX 4090"]
    assert [m.name for m in models_named("NVIDIA H200", MODELS)] == ["H200"]
    assert len(models_named("H100", MODELS)) > 1
    assert models_named("Voodoo 2", MODELS) == ()
