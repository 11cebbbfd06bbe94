"""The table of cheats: complete, in bounds, and as the docs have it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.commands.economics import BEGIN, END, markdown
from tasks.policy import DEFAULT
from tasks.proof.economics.claims import claim
from tasks.proof.economics.pay import EPOCH_HOURS, Outcome
from tasks.proof.economics.table import CLAIMED, economics, every_cheat, model_named, pairs

DOCS = Path(__file__).parents[4] / "docs" / "gpu-proof.md"


@pytest.fixture(scope="module")
def table():
    return economics()


def by_name(attempts):
    return {a.cheat: a for a in attempts}


def test_twelve_models_with_published_prices_have_every_cheat(table):
    """No cell is missing, no cheat comes twice, and every figure is one."""
    assert len(table) == 12 == len(set(CLAIMED))
    names = [a.cheat for a in table[0].attempts]
    assert len(set(names)) == len(names) >= 29
    for one in table:
        assert one.model.price_source == "lium"
        assert [a.cheat for a in one.attempts] == names
        for a in one.attempts:
            assert a.claimed == one.model.name
            assert 0.0 <= a.pass_probability <= 1.0
            assert math.isfinite(a.ratio)
            assert a.honest_usd > 0


def test_honest_income_is_the_market_rate(table):
    """A sixth of the hourly rate an epoch, and up to an eighth more for who needs no credit for the way."""
    for one in table:
        rate = one.model.base_price_usd_per_hour * EPOCH_HOURS
        assert rate <= one.honest_usd <= 1.16 * rate


LOSING = (
    "less memory, lines made anew",
    "1 % of the lines made up",
    "one card for two listings, in turn",
    "one memory for two listings",
    "one card of the eight listed",
    "1 % of the segments invented",
    "10 % of the segments invented",
    "30 % of the segments invented",
    "100 % of the segments invented",
    "30 % invented, hung up, tried again",
    "10 % of C made up",
    "all of C made up",
    "a second card helps with the product",
    "a transcript replayed",
    "leased to oneself, not paid meanwhile",
)
OPEN = (
    "1:1 relay, card there for the proof only",
    "one card, two hotkeys, two waves",
    "leased to oneself, paid as its class",
)


def test_what_the_protocol_closes_loses_everywhere(table):
    """Whatever rests on computation, openings and the barrier earns less than honest work, for every model."""
    for one in table:
        found = by_name(one.attempts)
        assert {found[name].outcome for name in LOSING} == {Outcome.LOSES}, one.model.name


def test_what_is_not_closed_is_said_to_pay(table):
    """The relay, two waves and a paid exemption are not hidden: they pay, and the table says so."""
    for one in table:
        found = by_name(one.attempts)
        assert {found[name].outcome for name in OPEN} == {Outcome.PAYS}, one.model.name


def test_certain_pairs():
    """A 40 GB card is no 80 GB card and four 4090 are no H100; equal memory and bandwidth under a dearer name do pass."""
    found = {(a.hardware, a.claimed): a for a in pairs()}
    assert found["1 x A100-SXM4-40GB", "A100-SXM4-80GB"].pass_probability == 0.0
    assert found["4 x GeForce RTX 4090", "H100 80GB HBM3"].pass_probability == 0.0
    assert found["1 x GeForce RTX 3090", "GeForce RTX 4090"].outcome is Outcome.PAYS
    assert found["2 x A100-SXM4-40GB", "A100-SXM4-80GB"].outcome is Outcome.LOSES


def test_bounds_decide_about_names():
    """With hardly any slack and no credit the A40 is no RTX 6000 Ada any more."""
    strict = replace(DEFAULT, proof=replace(DEFAULT.proof, min_bandwidth_share=0.95, latency_credit_s=0.0))
    of = claim(model_named("RTX 6000 Ada Generation"), strict)
    name = by_name(every_cheat(of))["another model under the name"]
    usual = by_name(every_cheat(claim(of.cards.model, DEFAULT)))["another model under the name"]
    assert usual.hardware == "1 x A40"
    assert name.hardware != "1 x A40"


def test_the_docs_have_this_table(table):
    """What docs/gpu-proof.md shows is what the model says now: `subnet economics --into docs/gpu-proof.md` writes it."""
    text = DOCS.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.split(BEGIN)[1].split(END)[0].strip() == markdown(table).strip()
