"""Measuring: CPU time of our work and of its floor in turns, so that a noisy minute hits both alike."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

RUNS = 5
"""The fewest that a median is taken of."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a piece of work took."""

    cpu_s: float
    """User and system, all threads, children that have ended."""
    wall_s: float


@dataclass(frozen=True, slots=True)
class Race:
    """Medians of our work and of its floor, measured in turns."""

    ours: Cost
    floor: Cost
    runs: int


def race(ours: Callable[[], object], floor: Callable[[], object], runs: int = RUNS) -> Race:
    """Run each once to warm up, then both in turns."""
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for run in range(runs + 1):
        for work, kept in zip((ours, floor), costs, strict=True):
            cost = cost_of(work)
            if run:
                kept.append(cost)
    return Race(median(costs[0]), median(costs[1]), runs)


def cost_of(work: Callable[[], object]) -> Cost:
    """Run the work once."""
    gc.collect()
    cpu_s, wall_s = cpu_now_s(), time.perf_counter()
    work()
    return Cost(cpu_now_s() - cpu_s, time.perf_counter() - wall_s)


def median(costs: Iterable[Cost]) -> Cost:
    """CPU and wall, each its own median."""
    known = list(costs)
    return Cost(statistics.median(c.cpu_s for c in known), statistics.median(c.wall_s for c in known))


def cpu_now_s() -> float:
    """CPU time of this process so far, with its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
