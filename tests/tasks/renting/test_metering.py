"""What of a lease is paid: to the second, over several intervals, and never past what ends it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Mode, Party, RentalState, Terms, Wish
from tasks.renting.metering import (
    affordable_s,
    burn_micro_usd_per_hour,
    committed_micro_usd,
    cost_micro_usd,
    limit_at,
    paid_seconds,
    seconds_for,
)
from tasks.renting.money import metered
from tasks.renting.moves import end_asked, ended, ending, rehold, started, stopped
from tests.tasks.renting.leases import NOON, USD, after, running

SECOND = 3_600 * USD


def reserved(hours=2, **changes):
    """A running lease that committed to so many hours."""
    return running(SECOND, wish=Wish(mode=Mode.RESERVED, hours=hours), **changes)


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
    assert cost_micro_usd(running(price), after(seconds)) == cost


def test_stopped_time_is_not_paid():
    """Ten seconds, a stop of an hour, and five seconds more are fifteen."""
    lease = stopped(running(SECOND), after(10))
    assert cost_micro_usd(lease, after(3_000)) == 10 * USD

    lease = started(rehold(lease, after(3_600)), after(3_610))
    assert cost_micro_usd(lease, after(3_615)) == 15 * USD


@pytest.mark.parametrize(
    "changes",
    [
        {"ends_by": after(20)},
        {"terms": Terms(ttl_s=20)},
        {"terms": Terms(cap_micro_usd=20 * USD)},
        {"ends_by": after(20), "terms": Terms(ttl_s=30, cap_micro_usd=40 * USD)},
    ],
)
def test_a_watch_that_comes_late_charges_no_more(changes):
    """Whatever ends a lease ends what is charged, also when it is stopped an hour late, and in every later look."""
    lease = running(SECOND, **changes)
    late = stopped(lease, after(3_600))

    assert [cost_micro_usd(lease, after(s)) for s in (19, 20, 3_600)] == [19 * USD, 20 * USD, 20 * USD]
    assert cost_micro_usd(late, after(9_999)) == 20 * USD


def test_a_ttl_counts_from_the_hand_over():
    """Not from the last start: what was stopped has its end all the same."""
    lease = running(SECOND, terms=Terms(ttl_s=100))
    again = started(rehold(stopped(lease, after(10)), after(50)), after(60))

    assert limit_at(again) == after(100)
    assert cost_micro_usd(again, after(500)) == 50 * USD
    assert limit_at(running(SECOND)) is None


def test_an_end_ends_what_is_paid():
    """From the moment it was asked for, whatever the teardown takes."""
    asked = end_asked(running(SECOND), after(7), Party.RENTER, "cancelled")
    over = ended(ending(asked, after(60)), after(90))

    assert [cost_micro_usd(one, after(999)) for one in (asked, over)] == [7 * USD, 7 * USD]


def test_a_reserved_lease_is_paid_through_its_hours():
    """Stopped or not; stopped beyond them it costs nothing more, and started again it does."""
    still = stopped(reserved(), after(600))
    assert [paid_seconds(still, after(s)) for s in (600, 3_600, 7_200, 9_000)] == [600, 3_600, 7_200, 7_200]

    again = started(still, after(9_000))
    assert paid_seconds(again, after(9_010)) == 7_210
    late = stopped(again, after(9_020))
    assert paid_seconds(late, after(99_999)) == 7_220


@pytest.mark.parametrize(("start", "paid"), [(1_000, 7_200), (8_000, 7_200 + 1_000)])
def test_a_reserved_lease_that_was_stopped_is_paid_on(start, paid):
    """A start within the hours leaves no gap; a start after them begins to be paid there."""
    again = started(stopped(reserved(), after(600)), after(start))

    assert paid_seconds(again, after(max(7_200, start + 1_000))) == paid


def test_committed_hours_are_their_price():
    """Two hours at a dollar a second."""
    assert committed_micro_usd(reserved()) == 7_200 * USD
    assert committed_micro_usd(running()) == 0


def test_what_is_prepaid_or_stopped_takes_nothing_from_the_balance():
    """A reserved lease burns from the end of its hours on; one that is stopped burns nothing."""
    assert burn_micro_usd_per_hour(running(USD), NOON) == USD
    assert burn_micro_usd_per_hour(stopped(running(USD), after(9)), after(10)) == 0
    assert [burn_micro_usd_per_hour(reserved(), after(s)) for s in (7_199, 7_200)] == [0, SECOND]


@given(
    price=st.integers(1, 10**10),
    steps=st.lists(
        st.tuples(st.integers(0, 10_000_000), st.sampled_from(["look", "stop", "start"])), max_size=40
    ),
    platform_ppm=st.integers(0, 500_000),
    changes=st.fixed_dictionaries(
        {},
        optional={
            "ends_by": st.integers(0, 10**5).map(after),
            "terms": st.builds(Terms, ttl_s=st.integers(0, 10**5), cap_micro_usd=st.integers(0, 10**9)),
            "wish": st.builds(Wish, mode=st.just(Mode.RESERVED), hours=st.integers(1, 30)),
        },
    ),
)
def test_any_partition_comes_to_the_same(price, steps, platform_ppm, changes):
    """Metered at any moments, through stops and starts: in all it is what one metering at the end would take, no step
    is below zero, each sums to zero, and cap and limit hold at every look.
    """
    lease, moved, at = running(price, **changes), 0, NOON
    for milliseconds, does in (*steps, (1_000, "look")):
        at += timedelta(milliseconds=milliseconds)
        if does == "stop" and lease.state is RentalState.ACTIVE:
            lease = stopped(lease, at)
        elif does == "start" and lease.state is RentalState.STOPPED:
            lease = started(rehold(lease, at), at)
        transfer = metered(lease, moved, at, platform_ppm)
        if transfer is not None:
            assert sum(entry.micro_usd for entry in transfer.entries) == 0
            step = sum(entry.micro_usd for entry in transfer.entries if entry.micro_usd > 0)
            assert step > 0
            moved += step
        cap, limit = lease.terms.cap_micro_usd, limit_at(lease)
        assert not cap or moved <= cap
        assert limit is None or paid_seconds(lease, at) <= max(0, (limit - NOON).total_seconds())

    assert moved == cost_micro_usd(lease, at)
    assert moved <= price * ((at - NOON) // timedelta(seconds=1)) // 3_600


@given(st.integers(1, 10**12), st.integers(0, 10**12))
def test_the_last_second_that_a_cap_allows(price, cap):
    """It costs no more than the cap, and a second more costs more."""
    seconds = seconds_for(cap, price)

    assert price * seconds // 3_600 <= cap < price * (seconds + 1) // 3_600


def test_a_balance_pays_for_whole_seconds():
    """A dollar at a dollar a second is one second; what is free is paid for ever."""
    assert [affordable_s(b, 3_600 * USD) for b in (USD, USD - 1, 0, -5)] == [1, 0, 0, 0]
    assert affordable_s(0, 0) == seconds_for(0, 0) > 10**9


def test_a_clock_that_goes_back_takes_nothing_back():
    """A look from before the hand-over counts no second, and one from before the last metering charges nothing."""
    lease = running(SECOND)

    assert paid_seconds(lease, after(-50)) == 0
    assert metered(lease, 10 * USD, after(5), 0) is None
    assert metered(replace(lease, paid_s=3), 0, after(-1), 0).entries[0].micro_usd == -3 * USD
