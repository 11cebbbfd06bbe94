"""The steps of a watch over the market that all work on leases shares."""

import asyncio

import sqlalchemy as sa

from flows.rent import rent_lease
from storage.rental import RentalState
from storage.renters import Renters
from tasks.renting.rounds import tidy
from tests.databases import fresh
from tests.tasks.renting.leases import after
from tests.tasks.renting.renters import api_key, renter
from tests.tasks.renting.sites import Town, proved

WEEK_S = 7 * 86_400


def works(engine):
    """How many are kept."""
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT count(*) FROM works")).scalar_one()


def test_work_that_was_started_is_forgotten_after_a_week(tmp_path):
    """Else the outbox of a market would grow for ever; the lease that came of it stays as it is."""
    engine = fresh(tmp_path)
    proved(engine)
    now = [after(0)]
    town = Town(tmp_path, engine, now=lambda: now[0])
    town.ask()
    (work,) = town.market.works.unstarted()
    town.market.works.started(work.work_id, "run")
    asyncio.run(rent_lease(town.market, "l-1"))
    lease, kept = town.lease(), []
    for seconds in (WEEK_S, WEEK_S + 1):
        now[0] = after(seconds)
        asyncio.run(tidy(town.market))
        kept.append(works(engine))
    town.market.close()
    engine.dispose()

    assert kept == [1, 0]
    assert town.market.rentals.get("l-1") == lease


def test_an_account_that_nothing_was_ever_done_with_is_forgotten_after_two_weeks(tmp_path):
    """Else whoever makes accounts would fill the state; one that an operator made stays."""
    engine = fresh(tmp_path)
    now = [after(0)]
    town = Town(tmp_path, engine, now=lambda: now[0])
    renters, kept = Renters(engine), []
    renters.enrol(renter("r-1", created_at=after(0), is_self_made=True), api_key(renter_id="r-1"))
    renters.add(renter("bob", created_at=after(0)))
    for seconds in (2 * WEEK_S, 2 * WEEK_S + 1):
        now[0] = after(seconds)
        asyncio.run(tidy(town.market))
        kept.append({"r-1", "bob"} & {one.renter_id for one in renters.all()})
    town.market.close()
    engine.dispose()

    assert kept == [{"r-1", "bob"}, {"bob"}]


def test_what_happened_to_a_lease_is_forgotten_by_policy(tmp_path):
    """Ninety days after its end, in a round of the watch; not a second before."""
    engine = fresh(tmp_path)
    now = [after(0)]
    town = Town(tmp_path, engine, now=lambda: now[0])
    town.ask()
    asyncio.run(rent_lease(town.market, "l-1"))  # no epoch has proved a machine: it fails at once
    town.ask("l-2", usd=0)
    kept = []
    for seconds in (0, 1):
        now[0] = after(90 * 86_400 + seconds)
        asyncio.run(tidy(town.market))
        kept.append(len(town.market.events.after(0, lease_id="l-1")))
    ended = town.lease().state
    town.market.close()
    engine.dispose()

    assert ended is RentalState.FAILED
    assert kept[0] >= 2
    assert kept[1] == 0
