"""Whose fault, and what is given back for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Party, RentalState, Terms
from tasks.policy import RentingPolicy
from tasks.renting.faults import credit_micro_usd, credit_s, party_of
from tasks.renting.moves import end_asked, failed, stopped
from tests.tasks.renting.leases import NOON, USD, after, rental, running

POLICY = RentingPolicy(goodwill_s=600)


def broken(seconds, price=3_600 * USD, **changes):
    """A lease that was ended so long after its hand-over."""
    return end_asked(running(price, **changes), after(seconds), Party.MACHINE, "gone")


@pytest.mark.parametrize(
    ("dead", "party"),
    [
        ("out of memory", Party.RENTER),
        ("stopped", Party.MACHINE),
        ("gone", Party.MACHINE),
        ("dead", Party.MACHINE),
    ],
)
def test_a_dead_container_has_a_party(dead, party):
    """Memory used up is the renter's doing; a container that is gone, dead or stopped from outside the machine's."""
    assert party_of(dead) is party


@pytest.mark.parametrize(
    ("party", "seconds"),
    [(Party.MACHINE, 630), (Party.PLATFORM, 630), (Party.RENTER, 0), (Party.NOBODY, 0)],
)
def test_a_fault_gives_back_the_time_since_it_was_well(party, seconds):
    """Seen well 30 s before the end: those and ten minutes; for the renter's own doing nothing."""
    lease = broken(5_000)

    assert credit_s(lease, party, after(4_970), POLICY) == seconds
    assert credit_micro_usd(lease, party, after(4_970), POLICY) == seconds * USD


def test_a_lease_gives_back_no_more_than_it_cost():
    """Broken in its first minutes it is free; what was never seen well since its hand-over is, too."""
    assert credit_micro_usd(broken(100), Party.MACHINE, after(90), POLICY) == 100 * USD
    assert credit_micro_usd(broken(5_000), Party.MACHINE, None, POLICY) == 5_000 * USD
    assert credit_micro_usd(broken(5_000), Party.MACHINE, after(-900), POLICY) == 5_000 * USD


def test_what_stood_still_gives_back_the_goodwill_alone():
    """A stopped lease whose machine lost its data cost nothing since the stop."""
    lease = end_asked(stopped(running(3_600 * USD), after(1_000)), after(90_000), Party.MACHINE, "gone")

    assert credit_micro_usd(lease, Party.MACHINE, after(995), POLICY) == 600 * USD


def test_a_capped_cost_is_given_back_first():
    """What the cap had taken off already is not given back a second time."""
    lease = broken(5_000, terms=Terms(cap_micro_usd=4_900 * USD))

    assert credit_micro_usd(lease, Party.MACHINE, after(4_970), POLICY) == (4_900 - 4_370) * USD


def test_what_was_never_handed_over_gives_nothing_back():
    """It cost nothing."""
    lease = failed(rental(state=RentalState.PROVISIONING), NOON, Party.MACHINE, "pull")

    assert credit_micro_usd(lease, Party.MACHINE, None, POLICY) == 0


@given(st.integers(0, 10**10), st.integers(0, 10**6), st.integers(-100, 10**6), st.sampled_from(Party))
def test_a_credit_is_between_nothing_and_the_cost(price, seconds, well, party):
    """Whatever the moments."""
    lease = broken(seconds, price)

    assert 0 <= credit_micro_usd(lease, party, after(well), POLICY) <= price * seconds // 3_600
