"""Every row of the bench, in the order in which they are measured."""

from __future__ import annotations

from tests.bench import commands, cuda, epochs, history, proving, refusing, rented, renting, scoring

GROUPS = (
    *commands.GROUPS,
    *proving.GROUPS,
    *cuda.GROUPS,
    *scoring.GROUPS,
    *epochs.GROUPS,
    *history.GROUPS,
    *renting.GROUPS,
    *rented.GROUPS,
    *refusing.GROUPS,
)
