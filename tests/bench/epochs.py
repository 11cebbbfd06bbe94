"""What an epoch costs the validator: for each executor, at least, and by Prefect."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.bench.measure import RUNS as MEDIAN_RUNS
from tests.bench.paths import FOLDER
from tests.bench.rig import Rig, rig
from tests.bench.rows import MS, Group, Row
from tests.bench.told import Told

ONE, FEW, MANY = 1, 100, 500
"""Executors. The farms and their provers share the cores with the validator."""
RUNS = {ONE: MEDIAN_RUNS, FEW: MEDIAN_RUNS, MANY: 3}
"""An epoch over MANY takes long."""
NAMES = (
    f"epoch_{FEW}_cpu_per_executor",
    f"epoch_{FEW}_wall",
    "epoch_fixed",
    f"epoch_{MANY}_prefect_share",
)


@dataclass
class Series:
    """What the runs over one farm took, ours and what it is compared with in turns."""

    server_s: float = 0.0
    """CPU of Prefect's server for an epoch: a mean over the series, since it works on when an epoch is over."""
    told: dict[str, list[Told]] = field(default_factory=dict)
    """By the word that was asked."""

    @property
    def epoch_s(self) -> float:
        """CPU of an epoch, of the validator and of Prefect's server."""
        return self.cpu_s("epoch") + self.server_s

    @property
    def prefect_s(self) -> tuple[float, float, float]:
        """What an epoch costs more as a flow run, in the validator's process and in the server: least, median, most."""
        pairs = zip(self.told["epoch"], self.told["bare"], strict=True)
        more_s = [epoch.cpu_s - bare.cpu_s + self.server_s for epoch, bare in pairs]
        return min(more_s), statistics.median(more_s), max(more_s)

    def cpu_s(self, word: str) -> float:
        """Median of the validator's CPU."""
        return _median(self.told[word], lambda told: told.cpu_s)

    def wall_s(self, word: str) -> float:
        """Median of the wall clock."""
        return _median(self.told[word], lambda told: told.wall_s)


def _epochs() -> Iterator[Row]:
    with rig(FOLDER / "bench", (ONE, FEW, MANY)) as made:
        one = _series(made, ONE, ("view",))
        few = _series(made, FEW, ("floor",))
        many = _series(made, MANY, ("bare", "floor"))
    yield from rows(one, few, many)


def _series(made: Rig, size: int, words: Iterable[str]) -> Series:
    """Epochs over the farm of this size, each followed by what it is compared with."""
    series, validator = Series(), made.validators[size]
    for word in ("epoch", *words):
        validator.ask(word)
    with made.server_cpu() as used_s:
        for _ in range(RUNS[size]):
            for word in ("epoch", *words):
                told = validator.ask(word)
                if word in {"epoch", "bare"} and told.proved != size:
                    raise RuntimeError(f"{told.proved} of {size} machines were proved")
                series.told.setdefault(word, []).append(told)
    series.server_s = used_s[0] / RUNS[size]
    return series


def rows(one: Series, few: Series, many: Series) -> Iterator[Row]:
    """The figures of the three farms."""
    each_s = (many.epoch_s - few.epoch_s) / (MANY - FEW)
    floor_s = (many.cpu_s("floor") - few.cpu_s("floor")) / (MANY - FEW)
    note = (
        f"marginal, from warm epochs over {MANY} and {FEW} executors of one card, Prefect's server in, farm out; "
        "floor: a bare paramiko session each and the compressions of their verdicts"
    )
    yield Row(NAMES[0], each_s * MS, "ms", floor_s * MS, RUNS[MANY], note)
    wall_s = few.wall_s("epoch")
    note = (
        f"whole warm epoch, {wall_s * MS / FEW:.0f} ms an executor, while the farm's provers work on the same cores; "
        "floor: the bare sessions, paced alike, and the compressions"
    )
    yield Row(NAMES[1], wall_s, "s wall", few.wall_s("floor"), RUNS[FEW], note)
    note = "warm epoch over one executor: edges opened, chain, weights, archive, Prefect and its server; floor: the chain's snapshot"
    yield Row(NAMES[2], one.epoch_s * MS, "ms", one.cpu_s("view") * MS, RUNS[ONE], note)
    least_s, prefect_s, most_s = many.prefect_s
    note = (
        f"of {many.epoch_s:.2f} s of CPU for {MANY} executors {prefect_s:.2f} s are Prefect's ({least_s:.2f} to "
        f"{most_s:.2f} in pairs with and without it), {many.server_s:.2f} s of them its server's"
    )
    yield Row(NAMES[3], 100.0 * prefect_s / many.epoch_s, "%", None, RUNS[MANY], note)


def _median(told: Iterable[Told], figure: Callable[[Told], float]) -> float:
    return statistics.median(map(figure, told))


GROUPS = (Group(NAMES, _epochs),)
