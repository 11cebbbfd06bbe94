"""Cheats with other cards than the claimed one: too little memory, another name, several as one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tasks.proof.economics.attempts import Attempt, best_attempt, same_card
from tasks.proof.economics.claims import Claim, Sources, held_share, round_by_columns_s, round_by_rows_s
from tasks.proof.economics.hardware import C2C_GB_S, Cards, every_card

MADE_UP = 0.01
"""Of the lines, in the cheat that lacks little and makes it up."""
TOGETHER = (2, 4)
"""Cards that pass for one."""


def short_of_memory(of: Claim) -> Iterator[Attempt]:
    """A card with less memory than D: the rest made anew, in the host's memory, both, or made up."""
    short = [c for c in every_card() if held_share(of, c) < 1.0]
    c2c = [c for c in short if c.model.name in C2C_GB_S]
    pcie = [c for c in short if c.model.name not in C2C_GB_S]
    anew, host = Sources(anew=True), Sources(host=True)
    both = Sources(anew=True, host=True)
    yield best_attempt("less memory, lines made anew", of, short, partial(_by_rows, of, anew))
    yield best_attempt("less memory, rest at the host, PCIe", of, pcie, partial(_by_rows, of, host))
    yield best_attempt("less memory, rest at the host, C2C", of, c2c, partial(_by_rows, of, host))
    yield best_attempt("less memory, anew and host at once", of, short, partial(_by_rows, of, both))
    p = of.parameters
    seen = p.rounds * p.segment_steps + p.tiles
    why = f"{p.rounds} x {p.segment_steps} lines and {p.tiles} pages are looked at: passes with (1 - {MADE_UP:g})^{seen}"
    yield same_card("1 % of the lines made up", of, (1.0 - MADE_UP) ** seen, why)


def another_name(of: Claim) -> Attempt:
    """Another model that holds all of D, under the claimed name."""
    others = [c for c in every_card() if c.model != of.cards.model and held_share(of, c) >= 1.0]
    said = "; operations a second, which would tell, fail nobody"
    return best_attempt(
        "another model under the name", of, others, partial(_by_rows, of, Sources()), said=said
    )


def several_as_one(of: Claim) -> Iterator[Attempt]:
    """Two or four lesser cards as one: with a copy of D each, or with a part of it."""
    several = [c for count in TOGETHER for c in every_card(count) if c.model != of.cards.model]
    whole = [c for c in several if held_share(of, c) >= 1.0]
    parts = [c for c in several if held_share(of, c) < 1.0]
    linked = [c for c in parts if c.nvlink_gb_s > 0.0]
    nvlink, pcie = Sources(nvlink=True, anew=True, host=True), Sources(pcie=True, anew=True)
    rows, columns = partial(_by_rows, of), partial(_by_columns, of)
    yield best_attempt("2 or 4 cards, all of D on each", of, whole, partial(rows, Sources()))
    yield best_attempt("2 or 4 cards, D by rows, NVLink", of, linked, partial(rows, nvlink))
    yield best_attempt("2 or 4 cards, D by rows, PCIe", of, parts, partial(rows, pcie))
    yield best_attempt("2 or 4 cards, D by columns, NVLink", of, linked, partial(columns, nvlink))
    yield best_attempt("2 or 4 cards, D by columns, PCIe", of, parts, partial(columns, pcie))


def _by_rows(of: Claim, sources: Sources, cards: Cards) -> float:
    return round_by_rows_s(of, cards, sources)


def _by_columns(of: Claim, sources: Sources, cards: Cards) -> float:
    return round_by_columns_s(of, cards, sources)
