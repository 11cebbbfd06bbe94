"""Deposits from the chain: each credited once, to the renter whose memo it carries, at the price of its time."""

from dataclasses import replace
from datetime import timedelta

import bittensor as bt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.localnet.chain.actors import dev_wallet, send
from deployments.localnet.chain.genesis import genesis
from deployments.localnet.chain.substrate import LocalSubstrate
from storage.deposits import Deposits, DepositState
from storage.money import Money
from storage.prices import PriceStore
from storage.records import PriceAnswer, Quote
from tasks.collateral.confirming import remark_of
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.transfers import Arrival, Arrivals, Transfer
from tasks.policy import RentingPolicy
from tasks.renting.deposits import (
    Desk,
    Price,
    claim,
    desk_of,
    invite,
    memo_of,
    price_at,
    read_deposits,
    worth_micro_usd,
)
from tests.databases import fresh
from tests.deployments.localnet.conftest import close_whole
from tests.tasks.renting.leases import NOON, USD, after

TAO = 10**9
POLICY = RentingPolicy(deposit_blocks=10, deposit_price_age_s=3_600)


class Blocks:
    """A chain of final blocks: what came to us in each, and those that the node can't tell."""

    def __init__(self, final=100):
        self.final, self.came, self.gone = final, {}, set()

    def add(self, block, rao=TAO, memo="", index=1):
        """A transfer in a block."""
        memos = (remark_of(memo),) if memo else ()
        sent = Transfer("5Them", "5Us", rao, memos)
        self.came.setdefault(block, []).append(Arrival(f"{block}-{index}", block, NOON, sent))

    def arrivals(self, _receiver, after, most):
        """As the chain edge tells them."""
        first = max(0, self.final - most + 1) if after is None else after + 1
        blocks = range(first, min(self.final, first + most - 1) + 1)
        unread = tuple(block for block in blocks if block in self.gone)
        found = tuple(one for b in blocks if b not in unread for one in self.came.get(b, ()))
        return Arrivals(blocks[-1] if blocks else after, found, unread)


@pytest.fixture
def engine(tmp_path):
    """A migrated database."""
    engine = fresh(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def desk(engine):
    """A TAO is 400 dollars."""
    return Desk(Deposits(engine), Money(engine), lambda _: [Price(400.0, NOON)], POLICY)


def read(desk, chain):
    """A round of reading."""
    return read_deposits(desk, chain, "test", "5Us", NOON)


def test_a_transfer_with_a_memo_is_credited_once(desk):
    """Two and a half TAO at 400 dollars are a thousand; reading on, or anew, credits nothing more."""
    chain = Blocks()
    chain.add(95, 5 * TAO // 2, invite(desk.deposits, "r-1"))
    first = read(desk, chain)
    chain.final = 120
    again = [read(desk, chain) for _ in range(4)]

    [done] = first.credited
    assert (done.renter_id, done.micro_usd, done.usd_per_tao) == ("r-1", 1_000 * USD, 400.0)
    assert [one.credited for one in again] == [()] * 4
    assert [one.through for one in again] == [110, 120, 120, 120]
    assert desk.money.balance("renter:r-1") == 1_000 * USD
    assert (desk.money.rao("treasury"), desk.money.rao("unclaimed")) == (5 * TAO // 2, 0)
    assert desk.money.books().is_even


@pytest.mark.parametrize("memo", ["", "renter:nobody", "r-1", "Renter:r-1", "renter:r-1 "])
def test_a_transfer_without_a_renters_memo_waits(desk, memo):
    """Its rao are in the books as nobody's; an operator says whose it is, once."""
    invite(desk.deposits, "r-1")
    chain = Blocks()
    chain.add(99, TAO, memo)
    assert read(desk, chain).credited == ()
    assert [one.waits_for for one in desk.deposits.unclaimed()] == ["the memo of one renter"]
    assert desk.money.rao("unclaimed") == TAO

    claimed = claim(desk, "99-1", "r-2", NOON)
    assert (claimed.state, claimed.renter_id) == (DepositState.CREDITED, "r-2")
    assert claim(desk, "99-1", "r-3", NOON) == claimed
    assert claim(desk, "1-1", "r-3", NOON) is None
    assert desk.money.balances()["renter:r-2"] == 400 * USD
    assert desk.money.rao("unclaimed") == 0


def test_a_memo_that_comes_after_its_money_finds_it(desk):
    """A transfer sent before the renter asked for its memo is looked at again."""
    chain = Blocks()
    chain.add(99, TAO, memo_of("r-1"))
    read(desk, chain)
    assert desk.money.balance("renter:r-1") == 0

    invite(desk.deposits, "r-1")
    assert len(read(desk, chain).credited) == 1
    assert desk.money.balance("renter:r-1") == 400 * USD


def test_the_memos_of_two_renters_are_nobodys(desk):
    """Nobody could tell whose it is."""
    chain = Blocks()
    chain.add(99)
    [only] = chain.came[99]
    memos = tuple(remark_of(invite(desk.deposits, name)) for name in ("a", "b"))
    chain.came[99] = [replace(only, transfer=replace(only.transfer, remarks=memos))]

    assert read(desk, chain).credited == ()
    assert len(desk.deposits.unclaimed()) == 1


def test_without_a_price_of_its_time_a_deposit_waits(desk):
    """It is credited as soon as there is one; what is worth less than a micro-USD is not."""
    chain, prices = Blocks(), []
    desk = replace(desk, prices=lambda _: prices)
    memo = invite(desk.deposits, "r-1")
    chain.add(99, TAO, memo)
    chain.add(99, 1, memo, index=2)
    read(desk, chain)
    assert {one.waits_for for one in desk.deposits.open()} == {"a price of its time"}

    prices.append(Price(0.5, after(3_600)))
    read(desk, chain)
    assert desk.money.balance("renter:r-1") == USD // 2
    assert [one.waits_for for one in desk.deposits.unclaimed()] == ["more: it is less than a micro-USD"]


@pytest.mark.parametrize(
    ("prices", "found"),
    [
        ([], None),
        ([(400.0, 3_601)], None),
        ([(400.0, 3_600), (300.0, -60), (200.0, 61)], 300.0),
        ([(float("nan"), 0)], None),
        ([(-1.0, 0), (0.0, 0), (1e9, 0)], None),
    ],
)
def test_the_nearest_price_counts(prices, found):
    """If it is near enough, and a price at all."""
    assert price_at([Price(usd, after(s)) for usd, s in prices], NOON, POLICY) == found


@given(st.integers(1, 21_000_000 * TAO), st.floats(1e-6, 1e5))
def test_worth_is_whole_and_never_more(rao, usd):
    """In integers, at the price to the micro-USD."""
    price = round(usd * USD)

    assert worth_micro_usd(rao, usd) * TAO <= rao * price < (worth_micro_usd(rao, usd) + 1) * TAO


def test_blocks_that_no_node_tells_hold_up_nothing(desk):
    """What comes after them is credited; they are asked for in every round, until somebody tells them."""
    chain = Blocks()
    memo = invite(desk.deposits, "r-1")
    chain.add(95, TAO, memo)
    chain.add(97, TAO, memo)
    chain.gone.add(95)
    assert read(desk, chain).unread == (95,)
    assert desk.money.balance("renter:r-1") == 400 * USD

    chain.gone.clear()
    assert read(desk, chain).unread == ()
    assert desk.money.balance("renter:r-1") == 800 * USD


class Cut(Exception):
    """The power is gone."""


class Cuts:
    """A store whose so-many-th write is the last: before it, or just after it, all ends."""

    def __init__(self, store, counter):
        self._store, self._counter = store, counter

    def __getattr__(self, name):
        act = getattr(self._store, name)
        if name not in ("post", "advance", "change", "know_memo", "read_late"):
            return act

        def cut(*args, **kwargs):
            self._counter["left"] -= 1
            if self._counter["left"] == 0 and self._counter["before"]:
                raise Cut
            done = act(*args, **kwargs)
            if self._counter["left"] == 0:
                raise Cut
            return done

        return cut


@pytest.mark.parametrize("before", [True, False])
def test_a_power_cut_at_any_write_loses_and_doubles_nothing(desk, before):
    """Cut before or after every single write, with another price in the next round: one credit, at one of the prices,
    and the row says what the ledger does.
    """
    memo = invite(desk.deposits, "r-1")
    for number in range(1, 8):
        chain = Blocks(final=100 + number)
        chain.add(100 + number, TAO, memo)
        counter = {"left": number, "before": before}
        cut = Desk(Cuts(desk.deposits, counter), Cuts(desk.money, counter), desk.prices, POLICY)
        try:
            read(cut, chain)
        except Cut:
            read(replace(desk, prices=lambda _: [Price(500.0, NOON)]), chain)

        row, posted = desk.deposits.get(f"{100 + number}-1"), desk.money.transfer(f"deposit:{100 + number}-1")
        assert row.state is DepositState.CREDITED
        assert row.micro_usd == {e.account: e.micro_usd for e in posted.entries}["renter:r-1"]
        assert row.usd_per_tao * USD == row.micro_usd in (400 * USD, 500 * USD)
    assert desk.money.rao("treasury") == 7 * TAO
    assert desk.money.books().is_even


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A local chain with a rich wallet: the chain as the validator reads it, the SDK, and our address."""
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
    subtensor = bt.Subtensor("local", substrate=LocalSubstrate(file))
    chain = Chain(ChainSettings(cache=tmp_path / "cache"), substrate_factory=lambda: LocalSubstrate(file))
    yield chain, subtensor, us
    chain.close()
    close_whole(subtensor)


def test_a_wallet_deposits_on_the_chain(engine, world, tmp_path):
    """A transfer with the memo in a remark beside it, sent through the SDK, is the renter's balance a round later; one
    without stays nobody's. The price is the last that the validator has agreed on.
    """
    chain, subtensor, us = world
    desk = desk_of(engine, tmp_path / "history", RentingPolicy())
    memo = invite(desk.deposits, "r-1")
    sent = send(subtensor, dev_wallet("owner"), us, 2 * TAO, memo)
    other = send(subtensor, dev_wallet("owner"), us, TAO)
    now = chain.head().time
    agreed = Quote("token", "tao_usd", 321.5, "a,b", now - timedelta(minutes=9))
    PriceStore(engine).save([PriceAnswer("a", now, "", (agreed,))], [agreed])
    rounds = [read_deposits(desk, chain, "embedded", us, now) for _ in range(3)]

    assert [len(one.credited) for one in rounds] == [1, 0, 0]
    assert desk.money.balance("renter:r-1") == 643 * USD
    names = [f"{int(block)}-{int(index)}" for block, index in (one.split("-") for one in (sent, other))]
    assert [one.extrinsic_id for one in desk.deposits.all()] == names
    assert desk.deposits.all()[0].sender == dev_wallet("owner").coldkey.ss58_address
    assert desk.deposits.all()[1].state is DepositState.UNCLAIMED
    assert (desk.money.rao("treasury"), desk.money.rao("unclaimed")) == (2 * TAO, TAO)
