"""What cards cost: on demand, reserved and spot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Mode, Wish
from tasks.errors import SpecRefused
from tasks.policy import RentingPolicy
from tasks.renting.pricing import Demand, Quote, check_wish, discount_ppm, price_refusal, quote, spot_ppm
from tests.tasks.renting.leases import USD

POLICY = RentingPolicy()
FREE = Demand(0, 100)


def test_on_demand_is_the_miners_price():
    """Four cards at half a dollar; more than the renter's most is told."""
    assert quote(Wish(), USD // 2, 4, FREE, POLICY) == Quote(2 * USD)
    told = quote(Wish(max_micro_usd_per_hour=USD), USD // 2, 4, FREE, POLICY)
    assert told.refusal == "it costs 2.000000 USD an hour, more than the most that was asked for"


@pytest.mark.parametrize(
    ("price", "rate", "is_offered"),
    [
        (999, 0, False),
        (1_000, 0, True),
        (100 * USD, 0, True),
        (100 * USD + 1, 0, False),
        (6 * USD, 2 * USD, True),
        (6 * USD + 1, 2 * USD, False),
        (100_000, 2 * USD, True),
        (99_999, 2 * USD, False),
    ],
)
def test_a_price_out_of_bounds_is_refused(price, rate, is_offered):
    """Absolute bounds, and from a twentieth to three times the market's rate where it is known; nothing is clamped."""
    assert (price_refusal(price, rate, POLICY) == "") is is_offered


@pytest.mark.parametrize(
    ("hours", "ppm"),
    [(1, 0), (23, 0), (24, 50_000), (167, 50_000), (168, 100_000), (720, 200_000), (8_760, 300_000)],
)
def test_committed_hours_have_a_discount(hours, ppm):
    """The greatest of the table that they reach; none below its first row."""
    assert discount_ppm(hours, POLICY) == ppm
    price = quote(Wish(mode=Mode.RESERVED, hours=hours), USD, 1, FREE, POLICY).micro_usd_per_hour
    assert price == USD - ppm


def test_a_cap_below_the_commitment_is_told():
    """It could not be held: the hours are paid ahead."""
    wish = Wish(mode=Mode.RESERVED, hours=10)

    assert quote(wish, USD, 1, FREE, POLICY, cap_micro_usd=10 * USD) == Quote(USD)
    assert "more than the cap" in quote(wish, USD, 1, FREE, POLICY, cap_micro_usd=10 * USD - 1).refusal


@pytest.mark.parametrize(
    ("held", "cards", "ppm"),
    [(0, 0, 300_000), (0, 10, 300_000), (5, 10, 475_000), (10, 10, 1_000_000), (20, 10, 1_000_000)],
)
def test_the_spot_price_rises_with_demand(held, cards, ppm):
    """From the floor to the full price, with the square of the share that is leased."""
    assert spot_ppm(Demand(held, cards), POLICY) == ppm


def test_a_spot_lease_is_charged_the_going_price():
    """At most its bid: 30 cents for a bid of 40, and none for a bid of 29."""
    told = [
        quote(Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=bid), USD, 1, FREE, POLICY)
        for bid in (400_000, 300_000, 290_000)
    ]

    assert told[:2] == [Quote(300_000), Quote(300_000)]
    assert told[2].refusal == "the going spot price is 0.300000 USD an hour, above the bid"


@given(
    price=st.integers(1_000, 10**8),
    cards=st.integers(1, 14),
    held=st.integers(0, 100),
    hours=st.integers(1, 8_760),
    bid=st.integers(1, 10**10),
)
def test_no_mode_costs_more_than_on_demand(price, cards, held, hours, bid):
    """Discount and spot are below the listed price or at it, a spot price is never above its bid, and none is negative."""
    listed = quote(Wish(), price, cards, FREE, POLICY).micro_usd_per_hour
    reserved = quote(Wish(mode=Mode.RESERVED, hours=hours), price, cards, FREE, POLICY).micro_usd_per_hour
    spot = quote(Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=bid), price, cards, Demand(held, 100), POLICY)

    assert 0 < reserved <= listed
    assert 0 < spot.micro_usd_per_hour <= listed
    assert spot.refusal or spot.micro_usd_per_hour <= bid


@pytest.mark.parametrize(
    ("wish", "key"),
    [
        (Wish(mode=Mode.SPOT), "bid"),
        (Wish(bid_micro_usd_per_hour=5), "bid"),
        (Wish(mode=Mode.RESERVED), "hours"),
        (Wish(mode=Mode.RESERVED, hours=8_761), "hours"),
        (Wish(hours=5), "hours"),
    ],
)
def test_a_mode_has_what_it_needs(wish, key):
    """A bid for spot, hours for reserved, neither for any other: refused with the key and what was expected."""
    with pytest.raises(SpecRefused, match=key):
        check_wish(wish, POLICY)


def test_wishes_that_make_sense_pass():
    """One of each mode."""
    for wish in (
        Wish(),
        Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=1),
        Wish(mode=Mode.RESERVED, hours=8_760),
    ):
        check_wish(wish, POLICY)
