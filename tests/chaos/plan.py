"""What is done to the system and when, drawn from a seed alone: the same seed is the same faults. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What happens."""

    KILL = "kill -9"
    """One process of a role that is drawn among those that live then."""
    POWER = "power cut"
    """Whoever keeps all others up, and with it everything."""
    STATE_LOCKED = "state locked"
    """Our database takes no writes for some seconds."""
    PREFECT_LOCKED = "Prefect's database locked"
    CHAIN_AWAY = "chain away"
    """No node answers for some seconds."""
    LINE_CUT = "line cut"
    """Miners and machines stand still for some seconds: no answer, and no end either."""


WEIGHTS: Mapping[Kind, int] = MappingProxyType(
    {
        Kind.KILL: 71,
        Kind.POWER: 3,
        Kind.STATE_LOCKED: 8,
        Kind.PREFECT_LOCKED: 5,
        Kind.CHAIN_AWAY: 7,
        Kind.LINE_CUT: 6,
    }
)
LASTING_S: Mapping[Kind, tuple[float, float]] = MappingProxyType(
    {
        Kind.STATE_LOCKED: (2.0, 40.0),  # beyond the 30 s for which our own writers wait, too
        Kind.PREFECT_LOCKED: (2.0, 15.0),
        Kind.CHAIN_AWAY: (3.0, 40.0),
        Kind.LINE_CUT: (3.0, 30.0),
    }
)
SHORTEST_S, LONGEST_S = 3.0, 18.0
"""Between two faults."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens."""

    number: int
    at_s: float
    """Since the begin of the chaos."""
    kind: Kind
    lasts_s: float
    """0: it is over at once."""
    role: float
    """From 0 to below 1: which role, of those that live then."""
    one: float
    """The same: which process of it."""


def plan(seed: int, duration_s: float, kinds: tuple[Kind, ...] = tuple(Kind)) -> tuple[Fault, ...]:
    """All faults of a run."""
    draw = random.Random(seed)
    faults: list[Fault] = []
    at_s = draw.uniform(SHORTEST_S, LONGEST_S)
    while at_s < duration_s:
        kind = draw.choices(kinds, [WEIGHTS[k] for k in kinds])[0]
        lasts_s = draw.uniform(*LASTING_S[kind]) if kind in LASTING_S else 0.0
        faults.append(Fault(len(faults) + 1, at_s, kind, lasts_s, draw.random(), draw.random()))
        at_s += draw.uniform(SHORTEST_S, LONGEST_S)
    return tuple(faults)
