"""Leases in the state: one key one lease, one card one lease, whatever races and whatever dies."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from storage.errors import CardsTaken
from storage.rental import Party, RentalState, Wish
from storage.rentals import Rentals
from tasks.renting.matching import candidates
from tasks.renting.moves import ended, ending, failed, handed_over, let_go, moved, reserved
from tests.databases import fresh
from tests.tasks.renting.leases import NOON, offer, rental


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def hold(leases, lease, machine, card_uuids=None):
    """The lease with cards of the machine held; CardsTaken when another has them."""
    after = reserved(lease, machine, card_uuids or machine.card_uuids, NOON)
    assert leases.move(lease, after)
    return after


def test_one_key_is_one_lease(engine):
    """A retried request gets the lease of the first, whatever it asks for now; another renter's key is another's."""
    leases = Rentals(engine)
    first, is_new = leases.request(rental("l-1", key="k"))
    again, is_new_again = leases.request(rental("l-2", key="k", wish=Wish(model="H200")))
    other, _ = leases.request(rental("l-3", renter="5Other", key="k"))

    assert (is_new, is_new_again) == (True, False)
    assert (first.lease_id, again, other.lease_id) == ("l-1", first, "l-3")


def test_a_lease_moves_once(engine):
    """Of two who have seen the same lease, one moves it; the other changes nothing, and looks again."""
    leases = Rentals(engine)
    seen, _ = leases.request(rental())

    assert leases.move(seen, failed(seen, NOON, Party.PLATFORM, "no machine"))
    assert not leases.move(seen, moved(seen, RentalState.ENDED, NOON))
    assert leases.get("l-1").state is RentalState.FAILED


def test_a_card_is_held_once(engine):
    """A second lease of one card is refused, and stays where it was; the machine's other card is free."""
    leases, machine = Rentals(engine), offer(cards=2)
    first, _ = leases.request(rental("l-1"))
    second, _ = leases.request(rental("l-2"))
    hold(leases, first, machine, machine.card_uuids[:1])

    with pytest.raises(CardsTaken, match="is held by another lease"):
        hold(leases, second, machine)
    assert leases.get("l-2") == second
    hold(leases, second, machine, machine.card_uuids[1:])
    assert set(leases.held().values()) == {"l-1", "l-2"}


def test_cards_are_free_when_a_lease_is_over_or_lets_its_machine_go(engine):
    """Through the teardown they are held; with the lease's end, or its way to the next machine, they are not."""
    leases, machine = Rentals(engine), offer()
    lease = hold(leases, leases.request(rental())[0], machine)
    lease, before = moved(lease, RentalState.PROVISIONING, NOON), lease
    leases.move(before, lease)
    lease, before = let_go(lease, NOON, "no"), lease
    leases.move(before, lease)
    assert leases.held() == {}

    lease = hold(leases, lease, offer("5Miner/b"))
    for step in (
        lambda one: moved(one, RentalState.PROVISIONING, NOON),
        lambda one: handed_over(one, NOON),
        lambda one: ending(one, NOON),
    ):
        lease, before = step(lease), lease
        assert leases.move(before, lease)
        assert len(leases.held()) == 2
    assert leases.move(lease, ended(lease, NOON))
    assert leases.held() == {}


def test_what_is_open_is_found_again(engine):
    """A restart goes on with every lease that has not ended, oldest first."""
    leases = Rentals(engine)
    kept = [leases.request(rental(f"l-{n}"))[0] for n in range(3)]
    leases.move(kept[1], failed(kept[1], NOON, Party.PLATFORM, "no"))

    assert [one.lease_id for one in leases.open()] == ["l-0", "l-2"]
    assert [one.lease_id for one in leases.of_renter("5Renter")] == ["l-2", "l-1", "l-0"]


@pytest.mark.parametrize("many", [12, pytest.param(50, marks=pytest.mark.long)])
def test_four_times_as_many_want_machines_as_there_are(engine, many):
    """Requests at once, each sent twice: exactly as many leases as machines, no machine twice, the rest is told no."""
    leases, machines = Rentals(engine), [offer(f"5Miner/m-{n:02}", cards=2) for n in range(many)]
    start = threading.Barrier(8)

    def rent(number):
        if number < 8:
            start.wait(30)
        lease, _ = leases.request(rental(f"l-{number}", key=f"k-{number % (4 * many)}"))
        while lease.state is RentalState.REQUESTED:
            fit = candidates(lease, machines, leases.held())
            if not fit:
                after = failed(lease, NOON, Party.NOBODY, "no machine is free")
            else:
                after = reserved(lease, fit[0].offer, fit[0].card_uuids, NOON)
            try:
                leases.move(lease, after)
            except CardsTaken:
                continue
            finally:
                lease = leases.get(lease.lease_id)
        return lease

    with ThreadPoolExecutor(8) as pool:
        told = {lease.lease_id: lease for lease in pool.map(rent, range(8 * many))}

    got = [lease for lease in told.values() if lease.state is RentalState.RESERVED]
    assert len(told) == 4 * many
    assert len(got) == len({lease.executor_key for lease in got}) == many
    assert len(leases.held()) == 2 * many
    assert {lease.reason for lease in told.values()} == {"", "no machine is free"}


def test_a_move_that_dies_half_way_changes_nothing(engine):
    """The lease and its cards move together: when a card can't be held, the lease has not moved either."""
    leases, machine = Rentals(engine), offer(cards=3)
    first = hold(leases, leases.request(rental("l-1"))[0], machine, machine.card_uuids[2:])
    second, _ = leases.request(rental("l-2"))

    with pytest.raises(CardsTaken):
        hold(leases, second, replace(machine), machine.card_uuids)
    assert leases.held() == {machine.card_uuids[2]: first.lease_id}
