"""Machines as renters find them: what the last finished epoch proved of each, at which price.

    Snapshot + bans + regions -> tuple[Offer, ...]

A machine is offered when its proof and its inspection let it be paid, nobody has banned its miner or cards, its miner
has not paused it, and its price is one (`tasks/renting/pricing.py`). Which of its cards are free is looked up when it is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address, ip_network

import sqlalchemy as sa

from storage.records import Ban, BanKind, Executor, OfferTerms, ProvedDay, Score
from storage.rental import Offer
from storage.snapshots import Snapshot, Snapshots
from storage.state import State
from tasks.inspection import models
from tasks.policy import Policy, RentingPolicy
from tasks.renting.pricing import Demand, price_refusal

MICRO = 1_000_000
SOLD_GIB = (8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 288)
"""What cards are sold with; they report up to a tenth less: the driver and ECC keep some."""
REMEMBERED_DAYS = 30
"""A machine whose last proof was a lease's light one has the performance of its last full proof."""

Regions = tuple[tuple[str, str], ...]
"""(network as 203.0.113.0/24, name of the region): the longest that an address is in counts."""


class Offering:
    """The offers of the newest epoch, made once for each."""

    def __init__(self, engine: sa.Engine, policy: Policy, snapshots: Snapshots | None = None) -> None:
        self._state, self._policy = State(engine), policy
        self._snapshots = snapshots or Snapshots(engine)
        self._made: tuple[int, tuple[Offer, ...]] = (-1, ())

    def offers(self, now: datetime) -> tuple[Offer, ...]:
        """All that may be rented, by key; none before the first epoch."""
        snapshot = self._snapshots.newest()
        if snapshot is None:
            return ()
        if self._made[0] != snapshot.epoch:
            since = datetime.fromordinal(now.toordinal() - REMEMBERED_DAYS).strftime("%Y-%m-%d")
            is_real = self._policy.proof.enforce_bandwidth  # a simulated card has that of a processor
            proved = self._state.load_proved_days(since) if is_real else ()
            self._made = (snapshot.epoch, offers_of(snapshot, proved, self._policy.renting))
        return without_banned(without_paused(self._made[1], now), self._state.active_bans(now))


def offers_of(snapshot: Snapshot, proved: Iterable[ProvedDay], policy: RentingPolicy) -> tuple[Offer, ...]:
    """An offer for each machine that may be rented, in the order of their keys."""
    remembered = {day.executor_key: day for day in sorted(proved, key=lambda day: day.day)}
    rates = _rates(snapshot)
    made = (
        _offer(snapshot, score, remembered.get(key), rates, policy)
        for key, score in sorted(snapshot.scores.items())
    )
    return tuple(offer for offer in made if offer is not None)


def _offer(
    snapshot: Snapshot,
    score: Score,
    remembered: ProvedDay | None,
    rates: Mapping[str, float],
    policy: RentingPolicy,
) -> Offer | None:
    key = score.executor_key
    executor, verdict = snapshot.executors.get(key), snapshot.verdicts.get(key)
    if executor is None or verdict is None or not verdict.proved or score.passed <= 0 or not verdict.cards:
        return None
    cards = tuple(card.card_uuid for card in sorted(verdict.cards, key=lambda card: card.card_index))
    price = card_price(executor, len(cards))
    if _price_refusal(price, score, rates, policy):
        return None
    record = snapshot.records.get(key)
    terms = snapshot.terms.get(key) or OfferTerms(key)
    return Offer(
        executor_key=key,
        model=score.model,
        vram_gib=sold_gib(score.vram_bytes / max(1, score.card_count) / (1 << 30)),
        card_uuids=cards,
        micro_usd_per_card_hour=price,
        performance=_performance(score, remembered, is_leased=key in snapshot.leased),
        reliability=record.epochs_passed / record.epochs_seen if record and record.epochs_seen else 0.0,
        region=region_of(executor.address, policy.regions),
        epoch=snapshot.epoch,
        min_cards=terms.min_cards,
        paused_from=terms.paused_from,
    )


def price_refused(snapshot: Snapshot, executor_key: str, policy: RentingPolicy) -> str:
    """Why nobody is offered a machine of the newest epoch at its miner's price; empty when that is not the reason."""
    executor, score = snapshot.executors.get(executor_key), snapshot.scores.get(executor_key)
    verdict = snapshot.verdicts.get(executor_key)
    if executor is None or score is None or verdict is None or not verdict.cards:
        return ""
    return _price_refusal(card_price(executor, len(verdict.cards)), score, _rates(snapshot), policy)


def _rates(snapshot: Snapshot) -> Mapping[str, float]:
    """The market's USD an hour for one card, by model."""
    return {quote.name: quote.value for quote in snapshot.quotes if quote.kind == "rate"}


def _price_refusal(price: int, score: Score, rates: Mapping[str, float], policy: RentingPolicy) -> str:
    return price_refusal(price, round(rates.get(score.model, 0.0) * MICRO), policy)


def card_price(executor: Executor, cards: int) -> int:
    """Micro-USD for one card and hour of what the miner asks for the whole machine."""
    return round(executor.price_usd_per_hour * MICRO / cards)


def _performance(score: Score, remembered: ProvedDay | None, *, is_leased: bool) -> float:
    """Proved bandwidth of the slowest card over the model's, as the score counts it."""
    model = models.find(score.model)
    if not is_leased or remembered is None or model is None:
        return score.performance
    proved = remembered.sum_kb_s / remembered.proofs / 1e6
    return min(1.25, proved / model.bandwidth_gb_s)


def sold_gib(reported_gib: float) -> float:
    """The size that a card which reports this much is sold with."""
    sold = next((size for size in SOLD_GIB if size >= reported_gib - 0.01), None)
    return float(sold) if sold is not None and reported_gib >= 0.9 * sold else round(reported_gib, 1)


def region_of(address: str, regions: Regions) -> str:
    """The region of the smallest network that the address is in; empty when none is known."""
    found = ip_address(address)
    known = [(ip_network(network), name) for network, name in regions]
    fit = [(network.prefixlen, name) for network, name in known if found in network]
    return max(fit)[1] if fit else ""


def without_paused(offers: Iterable[Offer], now: datetime) -> tuple[Offer, ...]:
    """Those whose miner still wants new leases: one that announces a pause goes on until it begins."""
    return tuple(offer for offer in offers if offer.paused_from is None or now < offer.paused_from)


def without_banned(offers: Iterable[Offer], bans: Iterable[Ban]) -> tuple[Offer, ...]:
    """Those whose miner and cards nobody has banned."""
    banned: dict[BanKind, set[str]] = {kind: set() for kind in BanKind}
    for ban in bans:
        banned[ban.kind].add(ban.subject)
    return tuple(
        offer
        for offer in offers
        if offer.executor_key.partition("/")[0] not in banned[BanKind.MINER]
        and not banned[BanKind.CARD].intersection(offer.card_uuids)
    )


def demand_of(offers: Iterable[Offer], held: Mapping[str, str]) -> dict[str, Demand]:
    """How many of each model's cards are offered, and how many of them some lease holds."""
    cards: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for offer in offers:
        cards[offer.model] += len(offer.card_uuids)
        taken[offer.model] += sum(uuid in held for uuid in offer.card_uuids)
    return {model: Demand(taken[model], count) for model, count in cards.items()}
