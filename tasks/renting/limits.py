"""What is due for a lease that stands: a warning, a stop, an end. Pure; the first that was due wins.

    ends_by, TTL           end, at the very moment: nothing beyond it is charged either
    cap, balance           stop, `ahead_s` before the next micro-USD would be one too many; the data are kept for `grace_s`, then end
    balance                a warning `warn_s` before
    idle                   stop, when GPU use was below the renter's share for the renter's time
    stopped too long       end
    notice                 end, when the notice to a spot lease is over
    operator               end, when the grace of a stopped renter is over
    dead, away             end: a container dead in `dead_looks` looks, a machine without an answer for `away_s`

Of what is due at the same moment an end goes before a stop, and a stop before a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from storage.rental import Party, Rental, RentalState
from tasks.policy import RentingPolicy
from tasks.renting.faults import party_of
from tasks.renting.metering import (
    affordable_s,
    burn_micro_usd_per_hour,
    committed_s,
    cost_micro_usd,
    limit_at,
    paid_seconds,
    seconds_for,
)


class StepKind(IntEnum):
    """What is to be done, the gravest first."""

    END = 0
    STOP = 1
    NOTICE = 2
    WARN = 3
    CALM = 4
    """The warning is taken back: the balance lasts again."""
    NOTHING = 5


@dataclass(frozen=True, slots=True)
class Step:
    """What is due, why, and whose doing it is."""

    kind: StepKind
    reason: str = ""
    party: Party = Party.NOBODY


NOTHING = Step(StepKind.NOTHING)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the looks at a lease's machine have found."""

    idle_since: datetime | None = None
    """Since when the GPU use is below the renter's share; None: it is not."""
    dead: str = ""
    """How its container was found: `stopped`, `gone`, ...; empty: alive, or not known."""
    dead_looks: int = 0
    """In a row that found it so."""
    away_since: datetime | None = None
    """Since when the machine gives no answer; None: it does."""


@dataclass(frozen=True, slots=True)
class Funds:
    """What the renter has for all its leases, and what an operator says of it."""

    available_micro_usd: int
    """The balance, less what runs unposted."""
    burn_micro_usd_per_hour: int
    """Of all its leases together."""
    grace_until: datetime | None = None
    """An operator stopped the renter: its leases end then. None: it may rent."""
    stop_reason: str = ""


def judge(rental: Rental, usage: Usage, funds: Funds, now: datetime, policy: RentingPolicy) -> Step:
    """The step that is due now; NOTHING for a lease that is not handed over, or is being ended already."""
    if rental.state not in (RentalState.ACTIVE, RentalState.STOPPED) or rental.end_asked_at is not None:
        return NOTHING
    due = [(at, step.kind, step) for at, step in _moments(rental, usage, funds, now, policy) if at <= now]
    if due:
        return min(due, key=lambda one: one[:2])[2]
    return _about_the_balance(rental, funds, now, policy)


def _moments(
    rental: Rental, usage: Usage, funds: Funds, now: datetime, policy: RentingPolicy
) -> Iterator[tuple[datetime, Step]]:
    """Each step of this lease with the moment at which it is due."""
    end_at = limit_at(rental)
    if end_at is not None:
        yield end_at, Step(StepKind.END, f"its time is over: it was to end by {end_at:%Y-%m-%d %H:%M:%S} UTC")
    if rental.notice_until is not None and funds.grace_until is None:
        yield rental.notice_until, Step(StepKind.END, "it gave way: the notice is over")
    if funds.grace_until is not None:
        told = f"an operator stopped the renter: {funds.stop_reason}"
        yield funds.grace_until, Step(StepKind.END, told, Party.RENTER)
    if rental.state is RentalState.STOPPED:
        yield from _while_stopped(rental, funds, policy)
    else:
        yield from _while_active(rental, usage, funds, now, policy)


def _while_active(
    rental: Rental, usage: Usage, funds: Funds, now: datetime, policy: RentingPolicy
) -> Iterator[tuple[datetime, Step]]:
    ahead = timedelta(seconds=policy.ahead_s)
    if rental.terms.cap_micro_usd and rental.paid_from is not None:
        left_s = seconds_for(rental.terms.cap_micro_usd, rental.micro_usd_per_hour) - rental.paid_s
        yield after(rental.paid_from, left_s) - ahead, Step(StepKind.STOP, "its cap is reached")
    if burn_micro_usd_per_hour(rental, now):
        left_s = affordable_s(funds.available_micro_usd, funds.burn_micro_usd_per_hour)
        yield after(now, left_s) - ahead, Step(StepKind.STOP, "the balance is used up")
    if rental.terms.idle_for_s and usage.idle_since is not None:
        told = f"idle: GPU use below {rental.terms.idle_below_percent:g} % for {rental.terms.idle_for_s} s"
        yield after(usage.idle_since, rental.terms.idle_for_s), Step(StepKind.STOP, told)
    if usage.dead and usage.dead_looks >= policy.dead_looks:
        yield now, Step(StepKind.END, f"its container was found {usage.dead}", party_of(usage.dead))
    if usage.away_since is not None:
        told = f"its machine gives no answer since {usage.away_since:%Y-%m-%d %H:%M:%S} UTC"
        yield after(usage.away_since, policy.away_s), Step(StepKind.END, told, Party.MACHINE)


def _while_stopped(rental: Rental, funds: Funds, policy: RentingPolicy) -> Iterator[tuple[datetime, Step]]:
    """A reserved lease keeps its cards and data through its committed hours: they are paid."""
    stopped_at = rental.stopped_at or rental.moved_at
    if rental.active_at is not None:
        stopped_at = max(stopped_at, after(rental.active_at, committed_s(rental)))
    yield after(stopped_at, policy.stopped_most_s), Step(StepKind.END, "it stood still for too long")
    cap = rental.terms.cap_micro_usd
    if cap and cost_micro_usd(rental, stopped_at) + _price_of(rental, policy.ahead_s + 1) >= cap:
        yield after(stopped_at, policy.grace_s), Step(StepKind.END, "its cap is reached and the grace over")
    if is_short(rental, funds, policy) and rental.warned_at is not None:
        at = after(max(stopped_at, rental.warned_at), policy.grace_s)
        yield at, Step(StepKind.END, "the balance is used up and the grace over")


def _about_the_balance(rental: Rental, funds: Funds, now: datetime, policy: RentingPolicy) -> Step:
    """A warning, or that it is taken back."""
    if rental.state is RentalState.STOPPED:
        is_prepaid = paid_seconds(rental, now) < committed_s(rental)
        is_ending = is_short(rental, funds, policy) and not is_prepaid
        told = f"the balance does not last for a start: the data are kept for {policy.grace_s} s"
    else:
        left_s = affordable_s(funds.available_micro_usd, funds.burn_micro_usd_per_hour)
        is_ending = bool(burn_micro_usd_per_hour(rental, now)) and left_s <= policy.warn_s
        told = f"the balance lasts {left_s} s"
    if is_ending and rental.warned_at is None:
        return Step(StepKind.WARN, told)
    if not is_ending and rental.warned_at is not None:
        return Step(StepKind.CALM, "the balance lasts")
    return NOTHING


def is_short(rental: Rental, funds: Funds, policy: RentingPolicy) -> bool:
    """Whether the renter's balance does not last for the least time beside what runs already: nothing is begun then."""
    burn = funds.burn_micro_usd_per_hour + rental.micro_usd_per_hour
    return affordable_s(funds.available_micro_usd, burn) < policy.min_balance_s


def idle_after(
    since: datetime | None, percent: float | None, rental: Rental, now: datetime, looked_at: datetime | None
) -> datetime | None:
    """Since when a lease is idle, after a look that found this GPU use; None: it is not.

    Unknown use is no idleness: it begins anew. `looked_at`: the look before, from which on it may have been idle.
    """
    if percent is None or not rental.terms.idle_for_s or percent >= rental.terms.idle_below_percent:
        return None
    begin = max(looked_at or now, rental.paid_from or now)
    return since or min(begin, now)


def after(moment: datetime, seconds: int) -> datetime:
    """So much later; times beyond the calendar are its end."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=moment.tzinfo) - timedelta(days=1)


def _price_of(rental: Rental, seconds: int) -> int:
    return rental.micro_usd_per_hour * seconds // 3_600
