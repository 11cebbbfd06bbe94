"""Every row of the bench, in the order in which they are measured."""

from __future__ import annotations

from tests.bench import (
    commands,
    cuda,
    epochs,
    fleet,
    history,
    hostile,
    pages,
    proving,
    refusing,
    rented,
    renting,
    sampling,
    scoring,
    streams,
)

GROUPS = (
    *commands.GROUPS,
    *proving.GROUPS,
    *cuda.GROUPS,
    *scoring.GROUPS,
    *epochs.GROUPS,
    *fleet.GROUPS,
    *history.GROUPS,
    *renting.GROUPS,
    *rented.GROUPS,
    *sampling.GROUPS,
    *pages.GROUPS,
    *streams.GROUPS,
    *refusing.GROUPS,
    *hostile.GROUPS,
)
