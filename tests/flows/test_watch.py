"""The watch over real machines: a real engine's containers, a real session for each machine, a real chain for deposits."""

import asyncio
from dataclasses import replace

import bittensor as bt
import pytest

from deployments.localnet.chain.actors import dev_wallet, send
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.substrate import LocalSubstrate
from flows.watch import watch_market
from storage.deposits import Deposits
from storage.lease_events import LeaseEvents
from storage.rental import Access, Mode, Party, RentalState, Wish, WorkKind
from storage.renter import Renter
from storage.renters import Renters
from storage.sealing import Sealer
from tasks.edges.chain import Chain, ChainSettings
from tasks.epoch import Edges
from tasks.errors import HostAway
from tasks.policy import Policy, RentingPolicy
from tasks.renting.deposits import invite
from tasks.renting.market import Market
from tasks.renting.money import granted
from tasks.renting.noticing import NOTICE_AT
from tests.databases import fresh
from tests.deployments.localnet.conftest import close_whole
from tests.engines import soon
from tests.tasks.edges.rented import rented, spec
from tests.tasks.renting.leases import NOON, USD, after, rental, running

pytestmark = pytest.mark.xdist_group("engine")
POLICY = Policy(renting=RentingPolicy(goodwill_s=600, away_s=300))
TAO = 10**9


class World:
    """A market whose machine is a real one over a real session; the clock is ours."""

    def __init__(self, engine, chain, address, docker, folder):
        self.now, self.entered, self.is_away = NOON, 0, False
        self._docker, self.folder = docker, folder
        edges = Edges(
            chain=chain,
            peers=None,
            shell=None,
            engine=engine,
            history=folder / "history",
            own_hotkey="5Validator",
            is_embedded=True,
            deposit_address=address,
        )
        sealer = Sealer.of(folder / "key")
        self.market = Market(
            edges, POLICY, sealer, folder / "backups", enter=self._enter, now=lambda: self.now
        )

    async def _enter(self, *_, **__):
        if self.is_away:
            raise HostAway("connect", "refused")
        self.entered += 1
        return Site(self._docker.runtime(self.folder / "machine"))

    def watch(self, seconds):
        """A round so long after noon."""
        self.now = after(seconds)
        return asyncio.run(watch_market(self.market))

    def let(self, box, made_of, **changes):
        """A lease of this container that was handed over at noon."""
        access = Access(box.address, box.port, (), "", "", box.name)
        told = {
            "executor_key": "5Miner/one",
            "card_uuids": made_of.card_uuids,
            "access": access,
            "attempt": 1,
        }
        lease = running(3_600 * USD, version=1, **(told | changes))
        lease = replace(lease, lease_id=made_of.lease_id, idempotency_key=made_of.lease_id)
        before = rental(made_of.lease_id)
        self.market.rentals.request(before)
        assert self.market.rentals.move(before, lease)
        return lease

    def close(self):
        """All of it."""
        self.market.close()


class Site:
    """A machine's engine over a session, until it is left."""

    def __init__(self, opening):
        self._opening, self.runtime = opening, opening.__enter__()

    def engine(self, _deadline):
        """Its container engine."""
        return self.runtime

    def close(self):
        """The session, and our program over there."""
        self._opening.__exit__(None, None, None)


@pytest.fixture
def world(tmp_path, docker, monkeypatch):
    """A renter with 100,000 dollars, a local chain, and a machine."""
    for name in ("BITTENSOR_RUNTIME_CACHE_DIR", "BTCLI_TOKEN_SYMBOLS_CACHE"):
        monkeypatch.setenv(name, "")
    owner, us = dev_wallet("owner"), dev_wallet("platform").coldkey.ss58_address
    file = tmp_path / "chain.sqlite"
    genesis(
        file,
        owner_coldkey=owner.coldkey.ss58_address,
        owner_hotkey=owner.hotkey.ss58_address,
        accounts={owner.coldkey.ss58_address: 100 * TAO},
    )
    chain = Chain(ChainSettings(cache=tmp_path / "cache"), substrate_factory=lambda: LocalSubstrate(file))
    engine = fresh(tmp_path)
    world = World(engine, chain, us, docker, tmp_path)
    Renters(engine).add(Renter("5Renter", NOON))
    world.market.money.post(granted("5Renter", 100_000 * USD, "start", NOON, ""))
    yield world
    world.close()
    chain.close()
    engine.dispose()


def kinds(world, lease):
    """What was told of a lease."""
    return [event.kind for event in LeaseEvents(world.market.edges.engine).after(0, lease_id=lease.lease_id)]


def test_a_lease_is_watched_until_its_container_is_gone(world, docker, tmp_path):
    """It is charged and measured over one session; killed over there, it is ended in the second look, its teardown asked
    for, and what was paid since it was last seen well credited at once.
    """
    made_of, market = spec(), world.market
    with docker.runtime(tmp_path / "own") as runtime, rented(docker, runtime, made_of) as box:
        lease = world.let(box, made_of)
        assert [world.watch(s) for s in (0, 30, 60)] == [True, True, True]
        assert market.money.metered(lease.lease_id) == 60 * USD
        samples = market.health.metrics(lease.lease_id)
        docker.run("kill", box.name)
        world.watch(75)
        assert market.rentals.get(lease.lease_id).end_asked_at is None
        world.watch(90)
        ended = market.rentals.get(lease.lease_id)

    assert [sample.pids is not None for sample in samples] == [True, False, True]
    assert samples[0].pids > 0
    assert [card.uuid for card in samples[0].cards] == list(made_of.card_uuids)
    assert (ended.end_party, ended.end_reason) == (Party.MACHINE, "its container was found killed")
    assert market.money.balance("renter:5Renter") == 100_000 * USD
    assert [work.kind for work in market.works.unstarted()] == [WorkKind.TEARDOWN]
    assert world.entered == 1
    assert market.money.books().is_even


def test_a_spot_lease_finds_its_notice_and_ends(world, docker, tmp_path):
    """The file is in its container with the first look after the notice; at its moment it ends, and nobody is to blame."""
    made_of, wish = spec(), Wish(mode=Mode.SPOT, bid_micro_usd_per_hour=9_000 * USD)
    with docker.runtime(tmp_path / "own") as runtime, rented(docker, runtime, made_of) as box:
        lease = world.let(box, made_of, wish=wish, notice_until=after(120))
        world.watch(0)
        notice = runtime.execute(box.name, ["cat", NOTICE_AT], deadline=soon()).stdout.decode()
        world.watch(120)

    assert notice == "until=2026-08-01T12:02:00+00:00\nreason=the spot lease gives way\n"
    ended = world.market.rentals.get(lease.lease_id)
    assert (ended.end_party, ended.end_reason) == (Party.NOBODY, "it gave way: the notice is over")
    assert world.market.money.metered(lease.lease_id) == 120 * USD


def test_a_machine_that_is_away_and_comes_back_is_entered_anew(world, docker, tmp_path):
    """Nothing is ended for a minute without an answer; the next look knows it is well again."""
    made_of = spec()
    with docker.runtime(tmp_path / "own") as runtime, rented(docker, runtime, made_of) as box:
        lease = world.let(box, made_of)
        world.watch(0)
        world.market.lookout.leave("5Miner/one")
        world.is_away = True
        world.watch(15)
        assert world.market.health.get(lease.lease_id).away_since == after(15)
        world.is_away = False
        world.watch(75)

    found = world.market.health.get(lease.lease_id)
    assert (found.away_since, found.well_at) == (None, after(75))
    assert world.entered == 2
    assert "END_ASKED" not in kinds(world, lease)


def test_what_a_lease_left_behind_is_swept(world, docker, tmp_path):
    """A machine that nobody rents any more is visited for it: the container of a lease that is over is gone."""
    made_of, market = spec(), world.market
    with docker.runtime(tmp_path / "own") as runtime, rented(docker, runtime, made_of) as box:
        lease = world.let(box, made_of)
        over = replace(
            lease, version=2, state=RentalState.ENDED, ended_at=after(5), moved_at=after(5), is_holding=False
        )
        market.rentals.move(lease, over)
        world.watch(10)
        assert runtime.inspect(box.name, deadline=soon()) is None
        world.watch(25)
    assert world.entered == 1


def test_deposits_come_in(world):
    """A transfer with a memo is a balance after the round, at the price file's price on the local chain."""
    market = world.market
    memo = invite(Deposits(market.edges.engine), "5Renter")
    subtensor = bt.Subtensor("local", substrate=LocalSubstrate(world.folder / "chain.sqlite"))
    send(subtensor, dev_wallet("owner"), market.edges.deposit_address, 2 * TAO, memo)
    close_whole(subtensor)
    world.watch(0)

    price = market.edges.book.tokens["tao_usd"]
    assert market.money.balance("renter:5Renter") == 100_000 * USD + round(2 * price * USD)
    assert market.money.rao("treasury") == 2 * TAO


def test_one_watch_at_a_time(world):
    """A second is told that it is not needed."""
    until = after(60)
    assert world.market.claims.take("watch", "another", until, NOON)
    assert world.watch(0) is False
    world.market.claims.release("watch", "another")
    assert world.watch(1) is True
