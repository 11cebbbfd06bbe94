"""Machines for a wish: those that fit, best first, with cards that nobody holds."""

import pytest

from storage.rental import Mode, Wish
from tasks.renting.matching import candidates
from tasks.renting.pricing import Demand
from tests.tasks.renting.leases import USD, offer, rental


def found(wish, offers, held=(), **changes):
    """The keys of the machines that fit, in order."""
    lease = rental(wish=wish, **changes)
    return [c.offer.executor_key for c in candidates(lease, offers, dict.fromkeys(held, "l-0"))]


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        (Wish(), True),
        (Wish(executor_key="5Miner/a"), True),
        (Wish(executor_key="5Miner/b"), False),
        (Wish(model="L4"), True),
        (Wish(model="H200"), False),
        (Wish(card_count=2), True),
        (Wish(card_count=3), False),
        (Wish(min_vram_gib=24.0), True),
        (Wish(min_vram_gib=24.1), False),
        (Wish(max_micro_usd_per_hour=USD), True),
        (Wish(max_micro_usd_per_hour=USD - 1), False),
        (Wish(card_count=1, max_micro_usd_per_hour=USD // 2), True),
        (Wish(min_performance=1.0), True),
        (Wish(min_performance=1.01), False),
        (Wish(min_reliability=1.0), True),
        (Wish(region="eu"), True),
        (Wish(region="us"), False),
        (Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=USD * 3 // 10), True),
        (Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=USD * 3 // 10 - 1), False),
        (Wish(mode=Mode.RESERVED, hours=24, max_micro_usd_per_hour=USD * 95 // 100), True),
        (Wish(mode=Mode.RESERVED, hours=23, max_micro_usd_per_hour=USD * 95 // 100), False),
    ],
)
def test_a_wish_is_met_in_every_point(wish, fits):
    """Two L4 of 24 GiB at half a dollar each, of full performance and reliability: each point to its last digit."""
    assert found(wish, [offer(region="eu")]) == (["5Miner/a"] if fits else [])


def test_the_least_price_for_what_is_proved_goes_first():
    """A dearer machine that is as much faster is as good; then reliability decides, then the name."""
    offers = [
        offer("5Miner/slow", performance=0.75),
        offer("5Miner/flaky", reliability=0.9),
        offer("5Miner/b"),
        offer("5Miner/a"),
        offer("5Miner/fast", performance=1.25, micro_usd_per_card_hour=USD // 2 * 5 // 4, reliability=0.95),
    ]

    assert [key.partition("/")[2] for key in found(Wish(), offers)] == ["a", "b", "fast", "flaky", "slow"]


def test_a_card_that_is_held_is_not_offered():
    """One of two cards is held: the machine is not whole any more, and has one card for who wants one."""
    machine = offer()
    held = machine.card_uuids[:1]
    (one,) = candidates(rental(wish=Wish(card_count=1)), [machine], dict.fromkeys(held, "l-0"))

    assert found(Wish(), [machine], held) == found(Wish(card_count=2), [machine], held) == []
    assert one.card_uuids == machine.card_uuids[1:]


def test_a_candidate_has_the_price_of_its_mode():
    """Two L4 of half a dollar: a dollar on demand, 5 % less for a day, and by demand on the spot market."""

    def price(demand, **wish):
        (one,) = candidates(rental(wish=Wish(**wish)), [offer()], {}, demand={"L4": demand})
        return one.micro_usd_per_hour

    half = Demand(1, 2)
    assert price(half) == USD
    assert price(half, mode=Mode.RESERVED, hours=24) == 950_000
    assert price(half, mode=Mode.SPOT, bid_micro_usd_per_hour=USD) == 475_000
    assert price(Demand(2, 2), mode=Mode.SPOT, bid_micro_usd_per_hour=USD) == USD


def test_among_equals_the_smallest_rest_goes_first():
    """One card is taken from the machine that has one left, so that whole machines stay whole."""
    big, small = offer("5Miner/big", cards=8), offer("5Miner/small", cards=1)

    assert found(Wish(card_count=1), [big, small]) == ["5Miner/small", "5Miner/big"]


def test_a_machine_that_failed_is_left_out():
    """What was tried for this lease is not tried again."""
    assert found(Wish(), [offer("5Miner/a"), offer("5Miner/b")], tried=("5Miner/a",)) == ["5Miner/b"]


@pytest.mark.parametrize(
    ("fewest", "cards", "fits"),
    [(2, 1, False), (2, 2, True), (2, 0, True), (3, 2, False), (16, 4, True), (16, 3, False), (16, 0, True)],
)
def test_a_miner_may_want_leases_of_more_cards(fewest, cards, fits):
    """Fewer than its minimum are no lease; the whole machine of four always is."""
    machine = offer(cards=4, min_cards=fewest)

    assert bool(found(Wish(card_count=cards), [machine])) is fits
