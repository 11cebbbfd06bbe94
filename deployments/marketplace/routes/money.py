"""Balance, invoices, deposits."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query

from deployments.marketplace.fields import usd
from deployments.marketplace.guard import Caller, OfDesk, Pays
from deployments.marketplace.market import Desk
from deployments.marketplace.models import Balance, Deposit, Invoice, InvoiceLease, Page
from deployments.marketplace.problems import responses
from storage.deposits import Deposits
from storage.rental import RentalState
from storage.statements import Line
from tasks.renting.deposits import invite
from tasks.renting.metering import affordable_s, burn_micro_usd_per_hour, unposted_micro_usd
from tasks.renting.money import renter
from tasks.renting.moves import CLOSED

MAX_MONTHS = 36
MAX_OPEN = 10_000
OPEN = frozenset(RentalState) - CLOSED
_PUT_IN = frozenset({"DEPOSIT", "GRANT"})
router = APIRouter(tags=["money"])


@router.get("/v1/balance", summary="What you have", responses=responses())
def balance(caller: Pays, desk: OfDesk) -> Balance:
    """To the second: what runs is counted up to now, billed or not."""
    now, stores = desk.market.now(), desk.stores
    leases = stores.rentals.page(caller.renter_id, MAX_OPEN, OPEN)
    billed = stores.money.metered_by_lease(one.lease_id for one in leases)
    unbilled = sum(unposted_micro_usd(one, billed.get(one.lease_id, 0), now) for one in leases)
    has = stores.money.balance(renter(caller.renter_id)) - unbilled
    burns = sum(burn_micro_usd_per_hour(one, now) for one in leases)
    return Balance(
        micro_usd=has,
        usd=usd(has),
        micro_usd_per_hour=burns,
        usd_per_hour=usd(burns),
        lasts_s=affordable_s(has, burns) if burns else None,
    )


@router.get("/v1/invoices", summary="Your months", responses=responses())
def invoices(
    caller: Pays, desk: OfDesk, months: Annotated[int, Query(ge=1, le=MAX_MONTHS)] = 12
) -> Page[Invoice]:
    """The present month and those before it (UTC), newest first; those before the account was made are left out."""
    found = []
    until = _next_month(desk.market.now())
    for _ in range(months):
        since = _month_before(until)
        if until <= caller.renter.created_at:
            break
        found.append(_invoice(desk, caller, since, until))
        until = since
    return Page(items=tuple(found))


@router.get("/v1/deposit", summary="How to put money in", responses=responses())
def deposit(caller: Pays, desk: OfDesk) -> Deposit:
    """Where to transfer TAO to, and what to send with it."""
    info = desk.market.deposit
    if not info.address:
        how = "this marketplace takes no deposits from the chain: ask its operator for credit"
        return Deposit(address="", memo="", network=info.network, how=how)
    memo = invite(Deposits(desk.market.engine), caller.renter_id)
    how = (
        f"send one extrinsic, utility.batch_all of system.remark_with_event with the memo and a transfer of TAO to "
        f"{info.address}: it is credited in USD at the price of its time when its block is final"
    )
    return Deposit(address=info.address, memo=memo, network=info.network, how=how)


def _invoice(desk: Desk, caller: Caller, since: datetime, until: datetime) -> Invoice:
    told = desk.stores.money.invoice(renter(caller.renter_id), since, until)
    by_lease: dict[str, int] = defaultdict(int)
    for line in told.lines:
        if line.lease_id:
            by_lease[line.lease_id] -= line.micro_usd
    put_in = sum(line.micro_usd for line in told.lines if line.kind in _PUT_IN)
    charged, credited = -_sum(told.lines, is_charge=True), _sum(told.lines, is_charge=False)
    return Invoice(
        month=f"{since:%Y-%m}",
        opening_micro_usd=told.opening_micro_usd,
        deposited_micro_usd=put_in,
        credited_micro_usd=credited,
        charged_micro_usd=charged,
        closing_micro_usd=told.closing_micro_usd,
        charged_usd=usd(charged),
        closing_usd=usd(told.closing_micro_usd),
        leases=tuple(
            InvoiceLease(lease_id=name, micro_usd=paid, usd=usd(paid))
            for name, paid in sorted(by_lease.items())
        ),
    )


def _sum(lines: tuple[Line, ...], *, is_charge: bool) -> int:
    return sum(
        line.micro_usd for line in lines if line.kind not in _PUT_IN and (line.micro_usd < 0) == is_charge
    )


def _next_month(now: datetime) -> datetime:
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return datetime(year, month, 1, tzinfo=UTC)


def _month_before(first: datetime) -> datetime:
    year, month = (first.year - 1, 12) if first.month == 1 else (first.year, first.month - 1)
    return datetime(year, month, 1, tzinfo=UTC)
