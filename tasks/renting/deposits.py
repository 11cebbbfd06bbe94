"""Deposits: what renters send to the platform's address on the chain becomes their balance.

    final blocks -> transfers to the address -> whose memo is in a remark beside it -> micro-USD at the price of the time

A renter is known by its memo, `renter:<renter id>`: it stands in a remark of the same extrinsic (`utility.batch_all` of
`system.remark_with_event` and the transfer), of which the chain keeps the hash. A transfer without the memo of exactly one
renter waits, as rao of account `unclaimed`, until an operator says whose it is. A transfer is named by its extrinsic: it is
credited once, whoever reads the block how often and whoever dies where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from storage.deposits import ChainDeposit, Deposits, DepositState
from storage.errors import StorageError
from storage.history import read_arrow
from storage.money import Money
from storage.places import Place
from storage.prices import PriceStore
from storage.records import TAO_USD, TOKEN
from tasks.collateral.account import RAO
from tasks.collateral.confirming import remark_of
from tasks.edges.transfers import Arrival, Arrivals
from tasks.policy import RentingPolicy
from tasks.renting.money import PPM, deposit, received

UNREAD_AT_ONCE = 4
EPOCH_BLOCKS = 50
MAX_USD_PER_TAO = 1_000_000.0


class ReadsDeposits(Protocol):
    """The chain, as far as deposits need it."""

    def arrivals(self, receiver: str, after: int | None, most: int) -> Arrivals:
        """What came to an address in the final blocks after one."""


@dataclass(frozen=True, slots=True)
class Price:
    """USD for a TAO, and when it was true."""

    usd: float
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Desk:
    """What crediting needs of us."""

    deposits: Deposits
    money: Money
    prices: Callable[[ChainDeposit], Iterable[Price]]
    """Prices that may fit a deposit's time."""
    policy: RentingPolicy


@dataclass(frozen=True, slots=True)
class Round:
    """What one reading came to."""

    through: int | None
    """The last block that was read; None: no address is set."""
    seen: int
    credited: tuple[ChainDeposit, ...]
    unread: tuple[int, ...]
    """Blocks that no node has told yet."""


def memo_of(renter_id: str) -> str:
    """What a renter writes into the remark."""
    return f"renter:{renter_id}"


def invite(deposits: Deposits, renter_id: str) -> str:
    """The renter's memo, known from now on: transfers that came with it before are looked at again."""
    memo = memo_of(renter_id)
    deposits.know_memo(remark_of(memo), renter_id)
    return memo


def desk_of(engine: sa.Engine, history: Place, policy: RentingPolicy) -> Desk:
    """Over the state and the archive."""
    prices = PriceStore(engine)
    return Desk(Deposits(engine), Money(engine), lambda one: _prices(prices, history, one), policy)


def read_deposits(desk: Desk, chain: ReadsDeposits, network: str, address: str, now: datetime) -> Round:
    """Read on from the last block, keep what came, and credit what can be; ChainAway, ChainRefused when no node answers."""
    place = f"{network}/{address}"
    before = desk.deposits.mark(place)
    came = chain.arrivals(address, before, desk.policy.deposit_blocks)
    seen = 0
    if before is None or came.through > before:
        kept = desk.deposits.advance(
            place, before, came.through, [_kept(one) for one in came.found], came.unread
        )
        seen = len(came.found) if kept else 0
    for block in desk.deposits.unread(place, UNREAD_AT_ONCE):
        late = chain.arrivals(address, block - 1, 1)
        if late.through == block and not late.unread:
            desk.deposits.read_late(place, block, [_kept(one) for one in late.found])
            seen += len(late.found)
    return Round(came.through, seen, credit_all(desk, now), desk.deposits.unread(place))


def credit_all(desk: Desk, now: datetime) -> tuple[ChainDeposit, ...]:
    """Credit every transfer that has a renter and a price; those that were."""
    return tuple(one for one in (credit(desk, seen, now) for seen in desk.deposits.open()) if one is not None)


def credit(desk: Desk, seen: ChainDeposit, now: datetime) -> ChainDeposit | None:
    """Credit one, or note what it waits for; None when it still does."""
    desk.money.post(received(seen.rao, seen.extrinsic_id, now))
    renter_id = seen.renter_id or _renter(desk.deposits, seen)
    if not renter_id:
        waits = replace(seen, state=DepositState.UNCLAIMED, waits_for="the memo of one renter")
        desk.deposits.change(seen, waits)
        return None
    usd = price_at(desk.prices(seen), seen.at, desk.policy)
    micro_usd = 0 if usd is None else worth_micro_usd(seen.rao, usd)
    if usd is None or micro_usd == 0:
        told = "a price of its time" if usd is None else "more: it is less than a micro-USD"
        state = DepositState.SEEN if usd is None else DepositState.UNCLAIMED
        desk.deposits.change(seen, replace(seen, state=state, waits_for=told))
        return None
    message = f"{seen.rao} rao of {seen.sender} at {usd:.6f} USD a TAO"
    posted = deposit(renter_id, micro_usd, seen.extrinsic_id, now, rao=seen.rao, message=message)
    if not desk.money.post(posted):
        # Whoever came before us may have had another price, and another renter: what stands in the ledger counts.
        renter_id, micro_usd = _as_posted(desk.money, posted.transfer_id)
        usd = micro_usd * RAO / seen.rao / PPM
    done = replace(
        seen,
        state=DepositState.CREDITED,
        renter_id=renter_id,
        micro_usd=micro_usd,
        usd_per_tao=usd,
        waits_for="",
    )
    return done if desk.deposits.change(seen, done) else None


def claim(desk: Desk, extrinsic_id: str, renter_id: str, now: datetime) -> ChainDeposit | None:
    """An operator says whose a transfer is that waits; it as it stands then, None when there is no such transfer."""
    seen = desk.deposits.get(extrinsic_id)
    if seen is None or seen.state is DepositState.CREDITED:
        return seen
    claimed = replace(seen, state=DepositState.SEEN, renter_id=renter_id, waits_for="")
    if desk.deposits.change(seen, claimed):
        credit(desk, claimed, now)
    return desk.deposits.get(extrinsic_id)


def price_at(prices: Iterable[Price], at: datetime, policy: RentingPolicy) -> float | None:
    """The price nearest to a moment, None when none is near enough or sane."""
    most = timedelta(seconds=policy.deposit_price_age_s)
    near = [
        (abs(price.as_of - at), price.usd)
        for price in prices
        if abs(price.as_of - at) <= most and 0 < price.usd < MAX_USD_PER_TAO
    ]
    return min(near)[1] if near else None


def worth_micro_usd(rao: int, usd_per_tao: float) -> int:
    """Rao in micro-USD, rounded down; the price counts to the micro-USD."""
    return rao * round(usd_per_tao * PPM) // RAO


def _kept(arrival: Arrival) -> ChainDeposit:
    sent = arrival.transfer
    return ChainDeposit(
        arrival.extrinsic_id, arrival.block, arrival.at, sent.sender, sent.amount_rao, sent.remarks
    )


def _renter(deposits: Deposits, seen: ChainDeposit) -> str:
    """The one renter whose memo is with it; empty when there is none, or more than one."""
    renters = deposits.renters(seen.memos)
    return next(iter(renters)) if len(renters) == 1 else ""


def _as_posted(money: Money, transfer_id: str) -> tuple[str, int]:
    posted = money.transfer(transfer_id)
    assert posted is not None, "it was refused for being there"
    [own] = [entry for entry in posted.entries if entry.account.startswith("renter:")]
    return own.account.removeprefix("renter:"), own.micro_usd


def _prices(store: PriceStore, history: Place, seen: ChainDeposit) -> Iterable[Price]:
    """The last good price, and that of the block's epoch where it is archived."""
    for quote in store.seen():
        if (quote.kind, quote.name) == (TOKEN, TAO_USD):
            yield Price(quote.value, quote.as_of)
    try:
        table = read_arrow(
            history,
            "prices",
            epoch=seen.block // EPOCH_BLOCKS,
            columns=["kind", "name", "value", "as_of"],
        )
    except StorageError:
        return
    for row in table.to_pylist():
        if (row["kind"], row["name"]) == (TOKEN, TAO_USD):
            yield Price(float(row["value"]), row["as_of"])
