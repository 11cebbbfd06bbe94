"""When several sources are one number: the median of those that agree, or a reason why there is none."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import RATE, TAO_USD, TOKEN, PriceAnswer, Quote
from tasks.policy import PricingPolicy
from tasks.pricing.agreement import agree

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
POLICY = PricingPolicy()


def tao(source, value, age=timedelta()):
    """What a source says TAO costs."""
    return PriceAnswer(source, NOON, "", (Quote(TOKEN, TAO_USD, value, source, NOON - age),))


def rate(source, value, model="L4"):
    """What a source says a card costs."""
    return PriceAnswer(source, NOON, "", (Quote(RATE, model, value, source, NOON),))


def test_the_median_of_those_that_agree():
    """Three that agree give their median, with their names and the age of the oldest."""

    told = agree([tao("b", 302.0), tao("a", 300.0), tao("c", 305.0, timedelta(minutes=5))], {}, POLICY, NOON)

    assert told.quotes == (Quote(TOKEN, TAO_USD, 302.0, "a,b,c", NOON - timedelta(minutes=5)),)
    assert told.refused == {}


def test_an_outlier_is_left_out():
    """One that is more than 3 % from the median has no say: the middle of the other two is the price."""

    told = agree([tao("a", 300.0), tao("b", 302.0), tao("liar", 3_000.0)], {}, POLICY, NOON)

    assert told.quotes == (Quote(TOKEN, TAO_USD, 301.0, "a,b", NOON),)


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([tao("a", 300.0)], "1 of 1 within 3% of their median, 2 needed (a 300)"),
        ([tao("a", 300.0), tao("b", 400.0)], "0 of 2 within 3% of their median, 2 needed (a 300, b 400)"),
        (
            [tao("a", 300.0), tao("b", 301.0, timedelta(hours=2))],
            "1 of 1 within 3% of their median, 2 needed (a 300)",
        ),
    ],
)
def test_too_few_give_no_price(answers, why):
    """One alone, two that contradict each other, one beside one that is too old: no price, and the reason in words."""

    told = agree(answers, {}, POLICY, NOON)

    assert (told.quotes, told.refused) == ((), {(TOKEN, TAO_USD): why})


def test_an_answer_of_tomorrow_is_not_taken():
    """A source whose clock is ahead could keep its number for ever."""

    told = agree([tao("a", 300.0), tao("b", 300.0, -timedelta(hours=1))], {}, POLICY, NOON)

    assert told.quotes == ()


def test_a_rate_far_from_the_price_file_is_not_taken():
    """Two that agree on more than four times the file's rate, or on less than a quarter, are not believed."""

    for value in (0.45, 0.02):
        assert agree([rate("a", value), rate("b", value)], {"L4": 0.11}, POLICY, NOON).quotes == ()
    [quote] = agree([rate("a", 0.2), rate("b", 0.26)], {"L4": 0.11}, POLICY, NOON).quotes
    assert (quote.value, quote.source) == (pytest.approx(0.23), "a,b")


def test_the_chain_needs_nobody_beside_it():
    """The alpha price is read from the chain itself: it stands alone."""

    quote = Quote(TOKEN, "alpha_tao", 0.05, "chain", NOON)

    assert agree([PriceAnswer("chain", NOON, "", (quote,))], {}, POLICY, NOON).quotes == (quote,)


@given(
    honest=st.lists(st.floats(99.0, 101.0), min_size=3, max_size=9),
    lies=st.lists(st.floats(1.0, 1e5), max_size=2),
)
def test_a_minority_of_liars_moves_no_price(honest, lies):
    """With fewer liars than honest sources the price stays between what honest ones say, give or take the spread."""

    answers = [tao(f"s{i}", value) for i, value in enumerate((*honest, *lies[: len(honest) - 1]))]

    for quote in agree(answers, {}, POLICY, NOON).quotes:
        assert 99.0 * 0.97 <= quote.value <= 101.0 * 1.03
