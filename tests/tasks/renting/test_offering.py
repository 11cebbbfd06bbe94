"""What renters find: what was proved, at the miner's price, as far as nothing speaks against it."""

from datetime import timedelta

import pytest

from storage.records import RATE, Ban, BanKind, OfferTerms, ProvedDay, ProvedEpoch, Quote
from storage.snapshots import Snapshots
from storage.state import State
from tasks.policy import DEFAULT, LOCALNET, RentingPolicy
from tasks.renting.offering import Offering, demand_of, offers_of, region_of, sold_gib
from tasks.renting.pricing import Demand
from tests.databases import fresh
from tests.tasks.renting.epochs import MINER, finish, machine
from tests.tasks.renting.leases import NOON, USD


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


def test_before_the_first_epoch_nothing_is_offered(engine):
    """Nothing is proved."""
    assert Offering(engine, DEFAULT).offers(NOON) == ()


def test_an_offer_is_what_was_proved(engine):
    """Two L4 for a dollar an hour: half a dollar each, with all that the epoch and those before it know."""
    finish(engine, [machine("b"), machine("a")], performance=1.1)
    first, second = Offering(engine, LOCALNET).offers(NOON)

    assert (first.executor_key, second.executor_key) == (f"{MINER}/a", f"{MINER}/b")
    assert first.card_uuids == (f"GPU-{MINER}/a-0", f"GPU-{MINER}/a-1")
    assert (first.micro_usd_per_card_hour, first.micro_usd_per_hour) == (USD // 2, USD)
    assert (first.model, first.vram_gib, first.performance, first.reliability) == ("L4", 24.0, 1.1, 0.9)
    assert (first.region, first.epoch) == ("local", 7)


def test_offers_are_made_once_for_an_epoch(engine):
    """The same tuple until the next epoch is finished."""
    finish(engine, [machine("a")])
    offering = Offering(engine, DEFAULT)
    before = Snapshots(engine)
    assert offering.offers(NOON) == offering.offers(NOON)
    assert before.newest() is before.newest()

    finish(engine, [machine("b")], epoch=8)
    assert [offer.executor_key for offer in offering.offers(NOON)] == [f"{MINER}/b"]
    assert before.newest().epoch == 8


@pytest.mark.parametrize(
    ("change", "offered"),
    [
        ({}, True),
        ({"passed": 0.0}, False),
        ({"price": 0.0}, False),
        ({"price": 1_000.0}, False),
        ({"quotes": (Quote(RATE, "L4", 0.16, "table", NOON),)}, False),
        ({"quotes": (Quote(RATE, "L4", 0.17, "table", NOON),)}, True),
    ],
)
def test_what_may_not_be_paid_or_has_no_price_is_not_offered(engine, change, offered):
    """A machine that failed, one for nothing, one beyond the bounds, one that asks over three times the market's rate."""
    price = change.pop("price", 1.0)
    finish(engine, [machine("a", price=price)], **change)

    assert bool(Offering(engine, DEFAULT).offers(NOON)) is offered


def test_who_is_banned_is_not_offered(engine):
    """A miner's or a card's ban counts at once, and no longer than it lasts."""
    finish(engine, [machine("a"), machine("b"), machine("c", miner="5Other")])
    offering, state = Offering(engine, DEFAULT), State(engine)
    state.add_ban(Ban(BanKind.MINER, "5Other", "no", NOON, None, "me"))
    state.add_ban(Ban(BanKind.CARD, f"GPU-{MINER}/a-1", "no", NOON, NOON + timedelta(days=1), "me"))

    def keys(now):
        return [offer.executor_key.partition("/")[2] for offer in offering.offers(now)]

    assert keys(NOON) == ["b"]
    assert keys(NOON + timedelta(days=2)) == ["a", "b"]


def test_a_paused_machine_is_not_offered_from_then_on(engine):
    """Its miner announces the moment: until then it is offered, after it not, and the other one always."""
    begin = NOON + timedelta(hours=1)
    finish(engine, [machine("a"), machine("b")], wanted=[OfferTerms(machine("a").key, begin)])
    offering = Offering(engine, DEFAULT)

    def keys(now):
        return [offer.executor_key.partition("/")[2] for offer in offering.offers(now)]

    assert keys(begin - timedelta(seconds=1)) == ["a", "b"]
    assert keys(begin) == ["b"]

    finish(engine, [machine("a"), machine("b")], epoch=8)
    assert keys(begin) == ["a", "b"]


def test_the_fewest_cards_of_a_lease_are_told(engine):
    """As the miner announced them with the machine that was proved; of a machine that is not listed nothing is kept."""
    wanted = [OfferTerms(machine("a").key, min_cards=2), OfferTerms(machine("gone").key, min_cards=2)]
    finish(engine, [machine("a"), machine("b")], wanted=wanted)

    assert [offer.min_cards for offer in Offering(engine, DEFAULT).offers(NOON)] == [2, 1]


def test_a_leased_machine_has_the_performance_of_its_last_full_proof(engine):
    """The light proof measures nothing: 150 GB/s of an L4's 300 were proved yesterday."""
    key = machine("a").key
    finish(engine, [machine("a")], leased=(key,), performance=1.0)
    day = ProvedDay("2026-07-31", key, "L4", 23_034, 2, 2 * 150_000_000)
    State(engine).count_proofs(ProvedEpoch(6, "2026-07-31"), [day])
    (offer,) = Offering(engine, DEFAULT).offers(NOON)

    assert offer.performance == pytest.approx(0.5)
    snapshot = Snapshots(engine).newest()
    assert offers_of(snapshot, (), DEFAULT.renting)[0].performance == 1.0
    assert (
        Offering(engine, LOCALNET).offers(NOON)[0].performance == 1.0
    )  # a simulated card has no speed of its own


@pytest.mark.parametrize(
    ("reported", "sold"),
    [(81_559 / 1_024, 80), (23_034 / 1_024, 24), (24_564 / 1_024, 24), (143_771 / 1_024, 141), (5.5, 5.5)],
)
def test_cards_are_offered_by_the_size_that_they_are_sold_with(reported, sold):
    """An H100 of 80 GB reports 79.6: who asks for 80 finds it."""
    assert sold_gib(reported) == sold


def test_the_smallest_network_names_the_region():
    """An operator's table of networks: the longest that fits counts, and what is in none is nowhere."""
    regions = (("10.0.0.0/8", "here"), ("10.1.0.0/16", "there"), ("2001:db8::/32", "far"))

    assert [region_of(a, regions) for a in ("10.2.0.1", "10.1.0.1", "2001:db8::1", "192.0.2.1")] == [
        "here",
        "there",
        "far",
        "",
    ]
    assert RentingPolicy().regions == ()


def test_demand_counts_cards(engine):
    """Of four L4 one is held."""
    finish(engine, [machine("a"), machine("b")])
    offers = Offering(engine, DEFAULT).offers(NOON)

    assert demand_of(offers, {offers[0].card_uuids[0]: "l-1", "GPU-x": "l-2"}) == {"L4": Demand(1, 4)}
