"""Cheats that leave some of the work out: told by chance, and by what a failure costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tasks.proof.economics.attempts import Attempt, best_attempt, honest_usd, same_card, without_card
from tasks.proof.economics.claims import Claim, Sources, passes, proved_share, round_by_rows_s
from tasks.proof.economics.hardware import Cards, every_card

INVENTED = (0.01, 0.10, 0.30)


def segments_invented(of: Claim) -> Iterator[Attempt]:
    """A share x of the walk's segments made up: one of them is looked at in each round, (1 - x)^rounds pass."""
    for share in INVENTED:
        yield _invented(of, share)
    why = f"passes with (1 - 1)^{of.parameters.rounds} = 0"
    yield without_card("100 % of the segments invented", of, why)
    again = "; hanging up after the first nonce fails the epoch: there is no second try"
    once = _invented(of, INVENTED[-1])
    yield replace(once, cheat="30 % invented, hung up, tried again", why=once.why + again)


def product_left_out(of: Claim) -> Iterator[Attempt]:
    """A share x of the product's tiles made up, or the product helped with; the operations are not paid for."""
    tiles = of.parameters.tiles
    for share, name in ((0.10, "10 % of C made up"), (1.0, "all of C made up")):
        why = f"passes with (1 - {share:g})^{tiles}; the time saved is not paid"
        yield same_card(name, of, (1.0 - share) ** tiles, why)
    two = Cards(of.cards.model, of.cards.sku, 2)
    yield Attempt(
        "a second card helps with the product",
        of.cards.model.name,
        str(two),
        1.0,
        honest_usd(of.cards, of),
        honest_usd(two, of),
        "operations a second are reported and not paid",
    )


def replayed(of: Claim) -> Attempt:
    """Yesterday's answers, or another machine's."""
    return without_card("a transcript replayed", of, "32 fresh bytes in every seed: passes with 2^-256")


def _invented(of: Claim, share: float) -> Attempt:
    """For the sake of speed: by the claimed model itself, or by one that would be too slow without."""
    candidates = [
        c
        for c in every_card()
        if c.model == of.cards.model or not passes(of, proved_share(of, _round_s(of, 0.0, c)))
    ]
    rounds = of.parameters.rounds
    chance = (1.0 - share) ** rounds
    said = f"; passes with (1 - {share:g})^{rounds} = {chance:.3f}"
    name = f"{100 * share:.0f} % of the segments invented"
    return best_attempt(name, of, candidates, partial(_round_s, of, share), chance, said)


def _round_s(of: Claim, share: float, cards: Cards) -> float:
    return (1.0 - share) * round_by_rows_s(of, cards, Sources(anew=True, host=True))
