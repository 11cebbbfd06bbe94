"""What a machine's cards cost in each of the three modes. Pure: integers of micro-USD.

    on demand   the miner's price. One outside of the policy's bounds (absolute, and as times the market's rate) is refused
                and not moved to the bound: a price that nobody named is charged to nobody
    reserved    the miner's price less the discount that the committed hours reach in the policy's table; after them the
                lease goes on at the same price. They are paid ahead; a renter who ends early pays `early_end_ppm` of what
                is left of them
    spot        the going spot price, at most the bid: the miner's price times a share that rises from `spot_floor_ppm`,
                while no card of the model is leased, with the square of the leased share to 1. A lease keeps the
                price of its begin; it gives way, after a notice, to who pays the full price, and when the going
                price rises above its bid

The mode is the wish's; a wish that no machine can meet (no bid, no hours) is refused once, with the mend.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.rental import Mode, Wish
from tasks.errors import SpecRefused
from tasks.policy import RentingPolicy

PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class Demand:
    """How many of a model's cards are leased."""

    held: int = 0
    cards: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """A price for all cards together, or why there is none."""

    micro_usd_per_hour: int = 0
    refusal: str = ""
    """Empty: it stands."""


def check_wish(wish: Wish, policy: RentingPolicy) -> None:
    """SpecRefused when what is asked of the mode makes no sense, whatever the machine."""
    if wish.mode is Mode.SPOT and wish.bid_micro_usd_per_hour <= 0:
        raise SpecRefused("bid", str(wish.bid_micro_usd_per_hour), "a price an hour for a spot lease")
    if wish.mode is not Mode.SPOT and wish.bid_micro_usd_per_hour:
        raise SpecRefused("bid", str(wish.bid_micro_usd_per_hour), "none: only a spot lease has one")
    if wish.mode is Mode.RESERVED and not 1 <= wish.hours <= policy.reserved_most_hours:
        raise SpecRefused("hours", str(wish.hours), f"1 to {policy.reserved_most_hours} for a reserved lease")
    if wish.mode is not Mode.RESERVED and wish.hours:
        raise SpecRefused("hours", str(wish.hours), "none: only a reserved lease has some")


def quote(
    wish: Wish,
    card_micro_usd_per_hour: int,
    cards: int,
    demand: Demand,
    policy: RentingPolicy,
    *,
    cap_micro_usd: int = 0,
) -> Quote:
    """What so many cards cost at the miner's price for one, in the wish's mode; `cap`: the lease's, 0 for none."""
    listed = card_micro_usd_per_hour * cards
    match wish.mode:
        case Mode.RESERVED:
            price = listed * (PPM - discount_ppm(wish.hours, policy)) // PPM
            if cap_micro_usd and price * wish.hours > cap_micro_usd:
                return Quote(price, f"{wish.hours} committed hours cost more than the cap")
        case Mode.SPOT:
            price = listed * spot_ppm(demand, policy) // PPM
            if price > wish.bid_micro_usd_per_hour:
                return Quote(price, f"the going spot price is {_usd(price)}, above the bid")
        case _:
            price = listed
    if wish.max_micro_usd_per_hour and price > wish.max_micro_usd_per_hour:
        return Quote(price, f"it costs {_usd(price)}, more than the most that was asked for")
    return Quote(price)


def price_refusal(card_micro_usd_per_hour: int, rate_micro_usd_per_hour: int, policy: RentingPolicy) -> str:
    """Why a miner's price for a card is not offered; empty when it is. `rate`: the market's for the model, 0: not known."""
    least, most = policy.least_card_micro_usd_per_hour, policy.most_card_micro_usd_per_hour
    if rate_micro_usd_per_hour > 0:
        least = max(least, round(rate_micro_usd_per_hour * policy.price_least))
        most = min(most, round(rate_micro_usd_per_hour * policy.price_most))
    if least <= card_micro_usd_per_hour <= most:
        return ""
    return f"{_usd(card_micro_usd_per_hour)} for a card is not between {_usd(least)} and {_usd(most)}"


def discount_ppm(hours: int, policy: RentingPolicy) -> int:
    """The greatest discount of the table that so many committed hours reach."""
    return max((ppm for least, ppm in policy.reserved_discounts if hours >= least), default=0)


def spot_ppm(demand: Demand, policy: RentingPolicy) -> int:
    """The going spot price in millionths of the listed one."""
    floor = policy.spot_floor_ppm
    if demand.cards <= 0:
        return floor
    held = min(max(demand.held, 0), demand.cards)
    return floor + (PPM - floor) * held**2 // demand.cards**2


def _usd(micro_usd: int) -> str:
    return f"{micro_usd / PPM:.6f} USD an hour"
