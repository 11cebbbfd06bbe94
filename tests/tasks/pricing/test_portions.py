"""Portions follow what renters pay, one per cent of the way every ten minutes."""

from datetime import UTC, datetime, timedelta
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import Lease
from tasks.policy import PricingPolicy
from tasks.pricing.portions import moved, next_portions, revenue_shares

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
STEP = timedelta(minutes=10)
POLICY = PricingPolicy()
SHARES = st.floats(0.0, 1.0)


def lease(key, price):
    """A renter's lease of a whole machine."""
    return Lease(f"lease-{key}", key, (), price, NOON)


def shares(portions):
    """By model."""
    return {quote.name: quote.value for quote in portions}


def test_one_step_is_one_per_cent_of_the_way():
    """Each step is p += 0.01 x (revenue - p): from 0.10 towards 0.60 the first step goes to 0.105."""

    assert moved(0.10, 0.60, 600.0, POLICY) == pytest.approx(0.105)


def test_half_of_the_way_takes_69_steps():
    """After 69 steps, 11.5 hours, half of the way is gone: 0.99 ^ 69 = 0.4998."""

    portion = 0.0
    for _ in range(69):
        portion = moved(portion, 1.0, 600.0, POLICY)

    assert portion == pytest.approx(0.5, abs=3e-4)
    assert 69 * 600 / 3600 == 11.5


@given(SHARES, SHARES, st.floats(0.0, 1800.0), st.floats(0.0, 1800.0))
def test_many_small_steps_are_one_large(portion, revenue, first_s, second_s):
    """However the time is cut, the portion ends at the same place: a crash between steps loses and doubles nothing."""

    at_once = moved(portion, revenue, first_s + second_s, POLICY)

    assert moved(moved(portion, revenue, first_s, POLICY), revenue, second_s, POLICY) == pytest.approx(
        at_once, abs=1e-12
    )


def test_the_first_value_is_half_way_from_the_base():
    """It is rate + 0.5 x (revenue - rate): an H200 of base 0.56 that brings 0.40 of the revenue begins at 0.48."""

    first = shares(next_portions((), {"H200": 0.4, "L4": 0.6}, POLICY, NOON))

    assert first["H200"] == pytest.approx(0.48)
    assert first["L4"] == pytest.approx(0.305)
    assert first["B200"] == pytest.approx(0.025)
    assert fsum(first.values()) == pytest.approx(1.0)


def test_without_rents_nothing_moves():
    """No rents: base shares; later, what is kept stays, and the idle time is not caught up when rents come."""

    base = next_portions((), {}, POLICY, NOON)
    begun = next_portions((), {"L4": 1.0}, POLICY, NOON)
    idle = next_portions(begun, {}, POLICY, NOON + 50 * STEP)
    busy = next_portions(idle, {"L4": 1.0}, POLICY, NOON + 51 * STEP)

    assert shares(base)["H200"] == 0.56
    assert shares(idle) == shares(begun)
    assert shares(busy)["L4"] == pytest.approx(1.0 - 0.99 * (1.0 - shares(begun)["L4"]))


def test_an_hour_at_most_is_caught_up():
    """After a day without this validator the portions go on six steps, not 144."""

    begun = next_portions((), {"L4": 1.0}, POLICY, NOON)
    later = shares(next_portions(begun, {"H200": 1.0}, POLICY, NOON + timedelta(days=1)))

    assert later["L4"] == pytest.approx(shares(begun)["L4"] * 0.99**6)


def test_a_clock_that_was_set_back_moves_nothing():
    """Portions of a later moment stay as they are, and keep their time."""

    begun = next_portions((), {"L4": 1.0}, POLICY, NOON)

    assert next_portions(begun, {"H200": 1.0}, POLICY, NOON - STEP) == begun


def test_a_clock_that_was_far_ahead_stops_no_portion():
    """A step that was made in a year that has not come: from now on they move again."""

    begun = next_portions((), {"L4": 1.0}, POLICY, NOON + timedelta(days=365))
    back = next_portions(begun, {"H200": 1.0}, POLICY, NOON)
    later = next_portions(back, {"H200": 1.0}, POLICY, NOON + STEP)

    assert shares(back) == pytest.approx(shares(begun) | {"H200": shares(begun).get("H200", 0.0)})
    assert shares(later)["L4"] == pytest.approx(shares(begun)["L4"] * 0.99)


@given(st.dictionaries(st.sampled_from(["a/1", "a/2", "b/1", "c/9"]), st.floats(0.01, 1e4), max_size=4))
def test_shares_of_revenue_are_shares(prices):
    """They sum to 1 over models, whatever the leases; a machine of no known model counts for nobody."""

    models = {"a/1": "H200", "a/2": "L4", "b/1": "L4"}
    known = {key: price for key, price in prices.items() if key in models}
    told = revenue_shares([lease(key, price) for key, price in prices.items()], models)

    assert fsum(told.values()) == pytest.approx(1.0 if known else 0.0)
    assert set(told) == {models[key] for key in known}


def test_the_base_shares_are_those_of_the_reference():
    """22 models, together 1."""

    assert len(POLICY.base_portions) == 22
    assert fsum(share for _, share in POLICY.base_portions) == pytest.approx(1.0)
