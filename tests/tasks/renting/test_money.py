"""What a lease costs, to the second and the micro-USD, however often it is looked at."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Entry, RentalState
from tasks.renting.money import affordable_s, cost_micro_usd, credit_note, deposit, metered
from tests.tasks.renting.leases import NOON, USD, rental


def active(price=3_600 * USD, **changes):
    """A lease that was handed over at noon, by default for a dollar a second."""
    return rental(
        state=RentalState.ACTIVE, active_at=NOON, executor_key="5Miner/a", micro_usd_per_hour=price, **changes
    )


def after(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("price", "seconds", "cost"),
    [
        (3_600 * USD, 1, USD),
        (3_600 * USD, 0.999, 0),
        (USD, 3_600, USD),
        (USD, 1, 277),
        (1, 3_599, 0),
        (7, -5, 0),
    ],
)
def test_a_lease_costs_its_price_by_the_second(price, seconds, cost):
    """Whole seconds, rounded down to the micro-USD."""
    assert cost_micro_usd(active(price), after(seconds)) == cost


def test_nothing_is_charged_before_the_hand_over_or_after_the_end():
    """A lease that never was usable costs nothing; one that is torn down costs what it did when its end was asked for."""
    assert cost_micro_usd(rental(), after(9_999)) == 0
    assert cost_micro_usd(active(ended_at=after(10)), after(9_999)) == 10 * USD


@given(st.integers(1, 10**9), st.lists(st.integers(0, 10_000), min_size=1, max_size=20))
def test_metering_in_steps_comes_to_the_same(price, steps):
    """Any steps: together they charge exactly what one metering at the end would, and each sums to zero."""
    lease, charged, at = active(price), 0, 0
    for step in steps:
        at += step
        transfer = metered(lease, charged, after(at), 50_000)
        if transfer is not None:
            assert sum(e.micro_usd for e in transfer.entries) == 0
            charged -= transfer.entries[0].micro_usd

    assert charged == cost_micro_usd(lease, after(at))


def test_a_metering_that_is_repeated_has_the_same_name():
    """From the same charge on it is the same transfer, whenever the retry comes: the ledger takes one of them."""
    first, again = metered(active(), 0, after(5), 0), metered(active(), 0, after(9), 0)

    assert first.transfer_id == again.transfer_id
    assert metered(active(), 5 * USD, after(9), 0).transfer_id != first.transfer_id
    assert metered(active(), 9 * USD, after(9), 0) is None


def test_the_platform_has_its_part_and_the_miner_the_rest():
    """5 % of ten dollars."""
    assert metered(active(), 0, after(10), 50_000).entries == (
        Entry("renter:5Renter", -10 * USD),
        Entry("miner:5Miner", 9_500_000),
        Entry("platform", 500_000),
    )


def test_a_deposit_is_named_by_its_extrinsic():
    """Credited once, whoever sees it how often."""
    transfer = deposit("5Renter", 7, "359-1", NOON)

    assert (transfer.transfer_id, transfer.entries) == (
        "deposit:359-1",
        (Entry("outside", -7), Entry("renter:5Renter", 7)),
    )


@given(st.integers(1, 10**9), st.integers(0, 1_000_000))
def test_a_credit_note_sums_to_zero(price, share_ppm):
    """Whatever share is given back, from everybody who got a part, and never more than was taken."""
    meter = metered(active(price), 0, after(100_000), 50_000)
    note = credit_note(active(price), meter, share_ppm, "the machine was away", NOON)

    assert sum(e.micro_usd for e in note.entries) == 0
    assert 0 <= note.entries[-1].micro_usd <= -meter.entries[0].micro_usd
    assert note.transfer_id == f"credit:{meter.transfer_id}"


def test_a_balance_pays_for_whole_seconds():
    """A dollar at a dollar a second is one second; what is free is paid for ever."""
    assert [affordable_s(b, 3_600 * USD) for b in (USD, USD - 1, 0, -5)] == [1, 0, 0, 0]
    assert affordable_s(0, 0) > 10**9
