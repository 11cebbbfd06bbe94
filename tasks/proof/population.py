"""What honest machines of a model measure: the population that its bounds come from. Pure rules over records.

A machine has one figure: the median of its days' means. A miner has one vote: the median of its machines' figures.
The population's median is that of the votes, so neither many epochs of one machine nor many machines of one miner
decide anything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

from storage.records import PassedProof, ProvedDay
from tasks.inspection.models import find, sku
from tasks.policy import Policy

MAX_GB_S = 1e6
"""Faster is no card and no mistake of a clock, but a figure that means nothing."""
MIN_MEMORY_SHARE = 0.5
"""Of a card's memory: a smaller proof, as of a leased machine, measures caches as much as memory, and teaches nothing."""


class SkuKey(NamedTuple):
    """A model in one of the sizes that it is sold with."""

    model: str
    """The table's name."""
    nominal_mib: int


@dataclass(frozen=True, slots=True)
class Population:
    """The passed proofs of a model's cards in the days looked at."""

    median_gb_s: float
    """Of the miners' votes, 10^9 bytes a second."""
    proofs: int
    """A machine's proof in an epoch is one, however many cards it has."""
    machines: int
    miners: int


Populations = Mapping[SkuKey, Population]


def days_of(proofs: Iterable[PassedProof], day: str, policy: Policy) -> tuple[ProvedDay, ...]:
    """An epoch's passed proofs as what they add to their day: those of whole cards that are in the table of models."""
    return tuple(
        ProvedDay(day, proof.executor_key, *key, proofs=1, sum_kb_s=round(proof.bandwidth_gb_s * 1e6))
        for proof in proofs
        if 0.0 < proof.bandwidth_gb_s < MAX_GB_S and (key := _key_of(proof, policy)) is not None
    )


def populations(days: Iterable[ProvedDay]) -> Populations:
    """The population of every model and size that these days know."""
    by_sku: dict[SkuKey, dict[str, list[ProvedDay]]] = defaultdict(lambda: defaultdict(list))
    for day in days:
        by_sku[SkuKey(day.model, day.nominal_mib)][day.executor_key].append(day)
    return MappingProxyType({key: _population(machines) for key, machines in by_sku.items()})


def _population(machines: Mapping[str, list[ProvedDay]]) -> Population:
    by_miner: dict[str, list[float]] = defaultdict(list)
    for key, days in machines.items():
        by_miner[key.partition("/")[0]].append(median(day.mean_gb_s for day in days))
    return Population(
        median_gb_s=median(median(figures) for figures in by_miner.values()),
        proofs=sum(day.proofs for days in machines.values() for day in days),
        machines=len(machines),
        miners=len(by_miner),
    )


def _key_of(proof: PassedProof, policy: Policy) -> SkuKey | None:
    """The model and size that the proof speaks for; None when it speaks for none."""
    model = find(proof.model)
    size = sku(model, proof.vram_mib, policy.inspection.vram_window) if model else None
    if model is None or size is None:
        return None
    is_whole = proof.memory_bytes * policy.proof.memory_scale >= MIN_MEMORY_SHARE * size.memory_bytes
    return SkuKey(model.name, size.nominal_mib) if is_whole else None
