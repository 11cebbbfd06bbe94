"""The weights of other validators beside ours, and how far each agrees with us. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployments.marketplace.board import Look
from deployments.marketplace.chain_asking import ChainRows


@dataclass(frozen=True, slots=True)
class Other:
    """One of the others."""

    uid: int
    hotkey: str
    weights: Mapping[str, float]
    """Share by hotkey."""
    agreement: float | None
    """The part of the emission that both give to the same; None: we mean nothing yet."""


def others_of(look: Look, told: ChainRows | None) -> tuple[Other, ...]:
    """Those that have set any, in the order of the list of validators."""
    own = look.newest.header.validator_hotkey if look.newest else ""
    meant = {one.hotkey: one.meant for one in look.shares if one.meant}
    rows = told.rows if told else {}
    return tuple(
        Other(one.uid, one.hotkey, row, _same(meant, row) if meant else None)
        for one in look.validators
        if one.hotkey != own and (row := rows.get(one.hotkey))
    )


def _same(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    return sum(min(part, theirs.get(hotkey, 0.0)) for hotkey, part in ours.items())
