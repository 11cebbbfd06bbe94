"""Cheats around the proof: one card in several listings, leases to oneself, cards that are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tasks.proof.economics import pay
from tasks.proof.economics.attempts import HOST_USD, Attempt, attempt, honest_usd, without_card
from tasks.proof.economics.claims import Claim, round_in_turn_s, round_shared_s
from tasks.proof.economics.hardware import every_card


def one_for_several(of: Claim) -> Iterator[Attempt]:
    """One card of the claimed model in more than one listing: two machines', or one machine's eight."""
    for name, listings, hosts, round_s in (
        ("one card for two listings, in turn", 2, 1, round_in_turn_s(of, of.cards, 2)),
        ("one memory for two listings", 2, 1, round_shared_s(of, of.cards, 2)),
        (
            "one card of the eight listed",
            8,
            0,
            min(round_in_turn_s(of, of.cards, 8), round_shared_s(of, of.cards, 8)),
        ),
    ):
        one = attempt(name, of, of.cards, round_s)
        yield replace(one, income_usd=listings * one.income_usd, honest_usd=one.honest_usd + hosts * HOST_USD)


def ready_by_turns(of: Claim) -> Iterator[Attempt]:
    """One card under two hotkeys, never ready for both at once: a missing verdict costs its epoch, but no unbroken run."""
    full = honest_usd(of.cards, of)
    for waves in (1, 2):
        apart = 1.0 - 1.0 / waves
        yield Attempt(
            f"one card, two hotkeys, {('one wave', 'two waves')[waves - 1]}",
            of.cards.model.name,
            str(of.cards),
            (1.0 + apart) / 2,
            full * (1.0 + apart),
            full + HOST_USD,
            f"both are proved when they are in different waves, with probability {apart:g}; else one is not ready, by turns",
        )


def leased_to_oneself(of: Claim) -> Iterator[Attempt]:
    """An exempt listing: as the design pays it, and as it must not be paid."""
    name = "leased to oneself, not paid meanwhile"
    yield without_card(
        name, of, "the rent goes round, less every fee; a full proof begins and ends each lease"
    )
    small = min(every_card(), key=lambda c: c.usd_per_hour)
    yield Attempt(
        "leased to oneself, paid as its class",
        of.cards.model.name,
        str(small),
        1.0,
        of.cards.model.base_price_usd_per_hour * pay.EPOCH_HOURS,
        honest_usd(small, of),
        "64 MiB without bounds prove no model: an exempt listing must earn from settled rent only",
        is_price_estimated=small.is_price_estimated,
    )


def relayed(of: Claim) -> Iterator[Attempt]:
    """An equal card somewhere else answers for the listed machine: no computation tells."""
    full = honest_usd(of.cards, of)
    proof = of.policy.proof
    busy_s = proof.barrier_deadline_s + (proof.rounds + 1) * proof.round_deadline_s + proof.open_deadline_s
    for name, share, why in (
        ("1:1 relay, card held all the time", 1.0, "earns what the card earns anyway, less a host"),
        (
            "1:1 relay, card there for the proof only",
            busy_s / pay.EPOCH_S,
            f"the card is needed for {busy_s:.0f} of {pay.EPOCH_S:.0f} s; NOT CLOSED by any computation",
        ),
    ):
        yield Attempt(
            name, of.cards.model.name, f"{of.cards} elsewhere", 1.0, full, share * full + HOST_USD, why
        )
