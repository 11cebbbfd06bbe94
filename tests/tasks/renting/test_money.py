"""The transfers of a lease: who gives and who gets, each under a name that a repetition has too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.rental import Entry, Mode, Wish
from tasks.renting.money import committed, credited, deposit, granted, metered, received, released
from tests.tasks.renting.leases import NOON, USD, after, running

SECOND = 3_600 * USD


def reserved(hours=1):
    """A running lease that committed to so many hours at a dollar a second."""
    return running(SECOND, wish=Wish(mode=Mode.RESERVED, hours=hours), attempt=2)


def test_a_metering_that_is_repeated_has_the_same_name():
    """From the same sum on it is the same transfer, whenever the retry comes: the ledger takes one of them."""
    first, again = metered(running(SECOND), 0, after(5), 0), metered(running(SECOND), 0, after(9), 0)

    assert first.transfer_id == again.transfer_id
    assert metered(running(SECOND), 5 * USD, after(9), 0).transfer_id != first.transfer_id
    assert metered(running(SECOND), 9 * USD, after(9), 0) is None


def test_the_platform_has_its_part_and_the_miner_the_rest():
    """5 % of ten dollars."""
    assert metered(running(SECOND), 0, after(10), 50_000).entries == (
        Entry("renter:5Renter", -10 * USD),
        Entry("miner:5Miner", 9_500_000),
        Entry("platform", 500_000),
    )


def test_committed_hours_are_paid_ahead_and_drawn_first():
    """An hour into the escrow under the attempt's name; a metering over its end takes the rest from the balance."""
    paid = committed(reserved(), NOON)
    over_the_end = metered(reserved(), 3_590 * USD, after(3_605), 0)

    assert paid.transfer_id == "commit:l-1:2"
    assert paid.entries == (Entry("renter:5Renter", -3_600 * USD), Entry("escrow:l-1", 3_600 * USD))
    assert over_the_end.entries == (
        Entry("escrow:l-1", -10 * USD),
        Entry("renter:5Renter", -5 * USD),
        Entry("miner:5Miner", 15 * USD),
    )
    assert committed(running(SECOND), NOON) is None


def test_what_is_left_of_the_commitment_goes_back():
    """But for the part that is paid all the same; with nothing left there is nothing to move."""
    early = released(reserved(), 1_000 * USD, 250 * USD, NOON, 50_000)

    assert early.entries == (
        Entry("escrow:l-1", -1_000 * USD),
        Entry("renter:5Renter", 750 * USD),
        Entry("miner:5Miner", 237_500_000),
        Entry("platform", 12_500_000),
    )
    assert released(reserved(), 5, 5, NOON, 0).entries == (Entry("escrow:l-1", -5), Entry("miner:5Miner", 5))
    assert released(reserved(), 0, 0, NOON, 0) is None


@pytest.mark.parametrize(
    ("by_platform", "givers"),
    [
        (True, (Entry("platform", -10 * USD),)),
        (False, (Entry("miner:5Miner", -9_500_000), Entry("platform", -500_000))),
    ],
)
def test_a_credit_is_given_by_whose_fault_it_was(by_platform, givers):
    """The machine's comes from those who got the money, the platform's from the platform alone; a lease has one."""
    credit = credited(running(), 10 * USD, NOON, 50_000, "it was away", by_platform=by_platform)

    assert credit.entries == (*givers, Entry("renter:5Renter", 10 * USD))
    assert (credit.transfer_id, credit.message) == ("credit:l-1", "it was away")
    assert credited(running(), 0, NOON, 50_000, "", by_platform=by_platform) is None


def test_a_deposit_is_named_by_its_extrinsic():
    """Credited once, whoever sees it how often; its rao are ours before anybody knows whose they are."""
    came, credit = received(50, "359-1", NOON), deposit("5Renter", 7, "359-1", NOON, rao=50)

    assert (came.transfer_id, came.entries) == (
        "received:359-1",
        (Entry("outside", 0, -50), Entry("unclaimed", 0, 50)),
    )
    assert (credit.transfer_id, credit.entries) == (
        "deposit:359-1",
        (
            Entry("outside", -7),
            Entry("renter:5Renter", 7),
            Entry("unclaimed", 0, -50),
            Entry("treasury", 0, 50),
        ),
    )


def test_an_operators_credit_has_a_name():
    """Repeated under it, nothing moves again; it can be taken back under another."""
    assert granted("5Renter", 7, "ops-1", NOON, "welcome").transfer_id == "grant:ops-1"
    assert granted("5Renter", -7, "ops-2", NOON, "mistake").entries[1] == Entry("renter:5Renter", -7)


@given(st.integers(1, 10**15), st.integers(0, 10**15), st.integers(0, 500_000))
def test_every_transfer_sums_to_zero(amount, kept, platform_ppm):
    """Whatever the amounts and the platform's part, and no side of it is empty."""
    lease = reserved()
    transfers = (
        metered(lease, 0, after(amount % 10_000), platform_ppm),
        credited(lease, amount, NOON, platform_ppm, "", by_platform=False),
        released(lease, amount, min(amount, kept), NOON, platform_ppm),
        received(amount, "1-1", NOON),
        deposit("r", amount, "1-1", NOON, rao=kept),
    )
    for transfer in filter(None, transfers):
        assert sum(entry.micro_usd for entry in transfer.entries) == 0
        assert sum(entry.rao for entry in transfer.entries) == 0
        assert all(entry.micro_usd or entry.rao for entry in transfer.entries)
