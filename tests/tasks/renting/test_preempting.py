"""Spot leases give way to who pays the full price: as few of them as can be, and nobody else."""

from dataclasses import replace

from storage.rental import Mode, RentalState, Wish
from tasks.policy import RentingPolicy
from tasks.renting.preempting import giving_way, outbid
from tasks.renting.pricing import Demand
from tests.tasks.renting.leases import NOON, USD, after, offer, rental, running

POLICY = RentingPolicy()


def spot(name, cards, bid=USD, **changes):
    """A running spot lease of these cards."""
    wish = Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=bid)
    return replace(running(wish=wish, card_uuids=tuple(cards), **changes), lease_id=name)


def held_by(*leases):
    """The cards that they hold."""
    return {card: lease.lease_id for lease in leases for card in lease.card_uuids}


def names(found):
    """Who has to be told."""
    return [lease.lease_id for lease in found.leases]


def test_the_fewest_and_then_the_lowest_bids_give_way():
    """Two cards are wanted: one lease that has both goes before two that have one each; among equals the lowest bid."""
    one, two, three = (offer(f"5Miner/{name}", cards=2) for name in "abc")
    many = [spot("s-1", one.card_uuids[:1]), spot("s-2", one.card_uuids[1:])]
    dear, cheap = spot("s-3", two.card_uuids, bid=9 * USD), spot("s-4", three.card_uuids, bid=8 * USD)
    leases = [*many, dear, cheap]

    found = giving_way(rental(wish=Wish(card_count=2)), [one, two, three], held_by(*leases), leases)
    assert (found.executor_key, names(found)) == ("5Miner/c", ["s-4"])
    few = giving_way(rental(wish=Wish(card_count=1)), [one], held_by(*many), many)
    assert names(few) == ["s-1"]


def test_only_spot_leases_give_way():
    """Not to a spot wish; not what is on demand, nor what is not handed over yet."""
    machine = offer(cards=2)
    lease = spot("s-1", machine.card_uuids)
    paid = replace(lease, wish=Wish())
    coming = replace(lease, state=RentalState.PROVISIONING)
    wanted = rental(wish=Wish(card_count=1))

    assert giving_way(wanted, [machine], held_by(lease), [lease])
    for other in (paid, coming):
        assert giving_way(wanted, [machine], held_by(other), [other]) is None
    spots = rental(wish=Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=9 * USD))
    assert giving_way(spots, [machine], held_by(lease), [lease]) is None


def test_nobody_gives_way_in_vain():
    """Where the wish would not fit even with all of them gone, nobody is told."""
    machine = offer(cards=2)
    lease = spot("s-1", machine.card_uuids[:1])
    held = held_by(lease) | {machine.card_uuids[1]: "l-paid"}

    assert giving_way(rental(wish=Wish(card_count=2)), [machine], held, [lease]) is None
    assert giving_way(rental(wish=Wish(model="H200")), [machine], held, [lease]) is None
    assert giving_way(rental(tried=("5Miner/a",)), [machine], held, [lease]) is None


def test_who_has_its_notice_is_asked_for_nothing_more():
    """What is going already is waited for, before another machine's lease is told."""
    one, two = offer("5Miner/a", cards=1), offer("5Miner/b", cards=1)
    going = spot("s-1", one.card_uuids, bid=9 * USD, notice_until=after(60))
    other = spot("s-2", two.card_uuids)
    leases = [going, other]

    found = giving_way(rental(wish=Wish(card_count=1)), [one, two], held_by(*leases), leases)
    assert (found.executor_key, names(found)) == ("5Miner/a", [])


def test_a_price_above_the_bid_ends_a_lease():
    """At half a dollar a card: two cards at the floor of 30 % are 30 cents, with all leased a dollar."""
    machine = offer(cards=2)
    lease = spot("s-1", machine.card_uuids, bid=400_000)

    assert not outbid(lease, machine, Demand(0, 10), POLICY)
    assert outbid(lease, machine, Demand(10, 10), POLICY)
    assert not outbid(replace(lease, wish=Wish()), machine, Demand(10, 10), POLICY)
    assert not outbid(
        replace(lease, state=RentalState.STOPPED, stopped_at=NOON), machine, Demand(10, 10), POLICY
    )
