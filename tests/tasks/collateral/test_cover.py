"""How much a machine needs, exact to the rao, and when it has it."""

from dataclasses import replace

import pytest

from tasks.collateral.cover import Stake, alpha_of_tao, covered, needed_rao
from tasks.inspection.models import MODELS
from tasks.policy import CollateralPolicy

LEDGER = CollateralPolicy(source="ledger")
CHAIN = CollateralPolicy(source="chain")
NEED = 5_768_000_000


@pytest.mark.parametrize(
    ("model", "cards", "rao"),
    [
        ("H100 80GB HBM3", 8, 5_768_000_000),
        ("H100 80GB HBM3", 1, 721_000_000),
        ("B200", 8, 12_488_000_000),
        ("H200", 8, 8_848_000_000),
        ("RTX PRO 6000 Blackwell", 1, 321_300_000),
        ("GeForce RTX 4090", 1, 70_000_000),
        ("GeForce RTX 4080", 2, 112_000_000),
        ("H200", 0, 0),
    ],
)
def test_unit_times_cards_times_seven_days(model, cards, rao):
    """8x H100 80GB HBM3: 0.103 TAO a card and day x 8 x 7 = 5.768 TAO; a model without a unit has the policy's other."""

    assert needed_rao(model, cards, LEDGER) == rao


def test_an_exempt_model_needs_nothing():
    """Nor does any, where the policy asks nobody."""

    assert needed_rao("B200", 8, replace(LEDGER, exempt_models=("B200",))) == 0
    assert needed_rao("H200", 8, CollateralPolicy()) == 0


def test_units_are_of_models_of_the_table():
    """26 of them, each the name of a model that there is."""
    units = dict(LEDGER.units_rao)

    assert len(units) == len(LEDGER.units_rao) == 26
    assert set(units) <= {model.name for model in MODELS}


def stake(deposited=0, locked=0, miner="5Alice", need=NEED):
    """One machine's need and what stands behind it."""
    return Stake(miner, need, locked, deposited)


def test_the_ledger_covers_machine_by_machine():
    """To the rao: one less is not covered; another machine's deposit does not help."""

    assert covered([stake(NEED), stake(NEED - 1), stake(2 * NEED)], 0, LEDGER) == [True, False, True]


def test_a_lock_covers_all_machines_of_its_miner_or_none():
    """Alice locks for one of two: none is covered. Bob for his one: it is. Prices in alpha, 0.05 TAO each."""
    alpha = NEED * 20

    stakes = [stake(locked=alpha), stake(locked=alpha), stake(locked=alpha, miner="5Bob")]
    assert covered(stakes, 50_000_000, CHAIN) == [False, False, True]
    assert covered([stake(locked=2 * alpha)] * 2, 50_000_000, CHAIN) == [True, True]
    assert covered([stake(locked=2 * alpha - 1)] * 2, 50_000_000, CHAIN) == [False, False]


def test_without_an_alpha_price_no_lock_covers_anything():
    """But a machine that needs nothing."""

    assert covered([stake(locked=10**18), stake(need=0, miner="5Bob")], 0, CHAIN) == [False, True]


@pytest.mark.parametrize(
    ("tao_rao", "price", "alpha"), [(1, 3, 333_333_334), (3, 3, 10**9), (0, 3, 0), (10**9, 10**9, 10**9)]
)
def test_alpha_is_rounded_up(tao_rao, price, alpha):
    """What is worth a rao less does not do."""

    assert alpha_of_tao(tao_rao, price) == alpha
