"""An upgrade leaves running leases alone: new processes over the same state find nothing to do on their machines."""

import asyncio
from dataclasses import replace

import pytest

from flows.operate import operate_lease
from flows.rent import rent_lease
from flows.teardown import end_lease
from storage.database import migrate
from storage.rental import Operation, OperationKind, OperationState, Party, RentalState
from tasks.renting.asking import ask_end, ask_operation
from tasks.renting.metering import cost_micro_usd
from tasks.renting.reconciling import reconcile
from tasks.renting.sweeping import sweep
from tests.databases import fresh
from tests.tasks.renting.epochs import MINER, finish, machine
from tests.tasks.renting.leases import NOON, after
from tests.tasks.renting.sites import HOTKEY, Engine, Town, proved

A = f"{MINER}/a"


class Clock:
    """The time of all processes."""

    at = NOON

    def __call__(self):
        return self.at


@pytest.fixture
def town(tmp_path):
    """One machine of two L4 for a dollar an hour, whose lease was handed over at noon."""
    engine = fresh(tmp_path)
    proved(engine, ("a",))
    town = Town(tmp_path, engine, ("a",), now=Clock())
    town.ask()
    asyncio.run(rent_lease(town.market, "l-1"))
    assert town.lease().state is RentalState.ACTIVE
    yield town
    town.market.close()
    engine.dispose()


def upgrade(town):
    """All processes end; others with another policy begin an hour later, after an epoch at three times the price."""
    town.market.close()
    town.clock.at = after(3_600)
    renting = replace(town.policy.renting, first_port=20_000, last_port=29_999, machine_s=60.0, most_tries=1)
    town.policy = replace(town.policy, renting=renting)
    migrate(town.engine)
    finish(town.engine, [machine("a", price=3.0)], epoch=8, leased=(A,))
    town.market = town.open()


def told(town):
    """All that was told of the lease."""
    return town.market.events.after(0, lease_id="l-1", limit=1_000)


def test_new_processes_find_nothing_to_do(town):
    """Its row, what was told of it, and its machine stay as they were: asked again, worked on again, swept."""
    lease, events = town.lease(), told(town)
    there, done = dict(town.disks[A].containers), list(town.disks[A].done)
    upgrade(town)
    asked = reconcile(town.engine, town.clock())
    asyncio.run(rent_lease(town.market, "l-1"))  # a run of before, which the orchestrator gives out again
    asyncio.run(end_lease(town.market, "l-1"))
    swept = sweep(Engine(town.disks[A]), town.engine, HOTKEY, A, now=town.clock, deadline=0.0)

    assert (asked, swept.removed, swept.unknown) == ((), (), ())
    assert (town.lease(), told(town)) == (lease, events)
    assert town.disks[A].containers == there
    assert town.disks[A].done[len(done) :] == [("list",)]
    assert set(town.market.rentals.held().values()) == {"l-1"}


def test_it_goes_on_at_its_price_and_is_operated_and_ended_by_the_new_processes(town):
    """Stopped and started in its own container at its own port, with its host key; an hour costs what it cost before."""
    before = town.lease()
    upgrade(town)
    for number, kind in enumerate((OperationKind.STOP, OperationKind.START)):
        name = f"op-{number}"
        operation = Operation(name, "l-1", name, kind, OperationState.ASKED, town.clock())
        ask_operation(town.market.operations, town.lease(), operation)
        asyncio.run(operate_lease(town.market, name))
        assert town.market.operations.get(name).state is OperationState.DONE
    lease = town.lease()
    town.clock.at = after(7_200)
    ask_end(town.market.rentals, "l-1", town.clock(), Party.RENTER, "enough")
    asyncio.run(end_lease(town.market, "l-1"))
    over = town.lease()

    assert (lease.access, lease.attempt, lease.card_uuids) == (before.access, 1, before.card_uuids)
    assert lease.micro_usd_per_hour == before.micro_usd_per_hour == 1_000_000
    assert (over.state, town.containers) == (RentalState.ENDED, [])
    assert town.market.money.metered("l-1") == cost_micro_usd(over, over.ended_at) == 2_000_000
    assert town.market.money.books().is_even
