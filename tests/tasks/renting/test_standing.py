"""Which machines an epoch takes for leased."""

from dataclasses import replace

import pytest

from storage.records import Lease
from storage.rental import Mode, RentalState, Wish
from storage.rentals import Rentals
from tasks.renting.moves import ended, ending, handed_over, moved, reserved, stopped
from tasks.renting.standing import running_leases
from tests.databases import fresh
from tests.tasks.inspection.runs import edges_in, run_over
from tests.tasks.renting.leases import NOON, offer, rental


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(("mode", "while_stopped"), [(Mode.ON_DEMAND, False), (Mode.RESERVED, True)])
def test_cards_are_leased_from_the_first_thing_done_to_the_last(engine, mode, while_stopped):
    """From provisioning to the end of the teardown; while it is stopped only if its cards are held."""
    leases, machine = Rentals(engine), offer(cards=2)
    lease, _ = leases.request(rental(wish=Wish(mode=mode)))
    found = []
    for move in (
        lambda one: reserved(one, machine, machine.card_uuids[:1], NOON),
        lambda one: moved(one, RentalState.PROVISIONING, NOON),
        lambda one: handed_over(one, NOON),
        lambda one: stopped(one, NOON),
        lambda one: ending(one, NOON),
        lambda one: ended(one, NOON),
    ):
        after = move(lease)
        assert leases.move(lease, after)
        lease = after
        found.append(bool(running_leases(engine)))

    assert found == [False, True, True, while_stopped, while_stopped, False]


def test_a_lease_is_told_with_its_cards_and_its_price(engine):
    """In USD an hour, for the cards that it has."""
    leases, machine = Rentals(engine), offer(cards=2)
    lease, _ = leases.request(rental())
    held = reserved(lease, machine, machine.card_uuids[:1], NOON)
    leases.move(lease, held)
    leases.move(held, moved(held, RentalState.PROVISIONING, NOON))
    (told,) = running_leases(engine)

    assert (told.lease_id, told.executor_key, told.card_uuids) == ("l-1", "5Miner/a", machine.card_uuids[:1])
    assert (told.price_usd_per_hour, told.started_at) == (0.5, NOON)


def test_who_rents_while_an_epoch_runs_is_spared_its_full_proof_too(tmp_path):
    """The leases are looked at again before each wave: what came meanwhile is added, what was there stays as it was."""
    first = [Lease("l-1", "5Miner/a", ("GPU-1",), 1.0, NOON)]
    with edges_in(tmp_path) as edges, run_over(edges) as run:
        run.edges = replace(run.edges, leases=lambda: tuple(first))
        run.renew_leases()
        first[0] = replace(first[0], price_usd_per_hour=9.0)
        first.append(Lease("l-2", "5Miner/b", ("GPU-2",), 2.0, NOON))
        run.renew_leases()

        assert [(lease.lease_id, lease.price_usd_per_hour) for lease in run.leases] == [
            ("l-1", 1.0),
            ("l-2", 2.0),
        ]
        assert run.leased_keys == {"5Miner/a", "5Miner/b"}
