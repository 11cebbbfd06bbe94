"""How much a machine needs, exact to the rao, and when it has it."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.collateral.cover import alpha_of_tao, cover_by_chain, cover_by_ledger, needed_rao
from tasks.inspection.models import MODELS
from tasks.policy import CollateralPolicy

LEDGER = CollateralPolicy(source="ledger")
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


def column(*numbers):
    """As a frame's."""
    return np.array(numbers, dtype="int64")


def test_the_ledger_covers_machine_by_machine():
    """To the rao: one less is not covered; another machine's deposit does not help."""

    cover = cover_by_ledger(column(NEED, NEED, NEED), column(NEED, NEED - 1, 2 * NEED))

    assert cover.is_covered.tolist() == [True, False, True]
    assert (cover.needed_rao.tolist(), cover.has_rao.tolist()) == ([NEED] * 3, [NEED, NEED - 1, 2 * NEED])


def test_a_lock_covers_all_machines_of_its_miner_or_none():
    """Alice locks for one of two: none is covered. Bob for his one: it is. Prices in alpha, 0.05 TAO each."""
    alpha = NEED * 20
    miner = column(0, 0, 1)

    short = cover_by_chain(miner, column(NEED, NEED, NEED), column(alpha, alpha, alpha), 50_000_000)
    enough = cover_by_chain(
        miner, column(NEED, NEED, NEED), column(2 * alpha, 2 * alpha, alpha - 1), 50_000_000
    )

    assert short.is_covered.tolist() == [False, False, True]
    assert short.needed_rao.tolist() == [2 * alpha, 2 * alpha, alpha]
    assert enough.is_covered.tolist() == [True, True, False]


def test_without_an_alpha_price_no_lock_covers_anything():
    """But a machine that needs nothing; a price of one rao asks for more than there can be."""

    for price in (0, 1):
        cover = cover_by_chain(column(0, 1), column(21_000_000 * 10**9, 0), column(10**18, 0), price)
        assert cover.is_covered.tolist() == [False, True]


@pytest.mark.parametrize(
    ("tao_rao", "price", "alpha"), [(1, 3, 333_333_334), (3, 3, 10**9), (0, 3, 0), (10**9, 10**9, 10**9)]
)
def test_alpha_is_rounded_up(tao_rao, price, alpha):
    """What is worth a rao less does not do."""

    assert alpha_of_tao(tao_rao, price) == alpha
