"""What an epoch over a fleet takes: a thousand executors 100 ms away that work for 5 to 20 s, and ten thousand of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.bench.epochs import Series
from tests.bench.paths import FOLDER
from tests.bench.rig import Kind, Validator, rig
from tests.bench.rows import MS, Group, Row

FEW, THOUSAND, MOST = 100, 1_000, 10_000
WAIT_MOST_S = 20.0
STARTS_PER_S = 150.0
"""All hands together: the usual rate of `ShellSettings`."""
RUNS = {THOUSAND: 3, MOST: 1}
"""An epoch over MOST takes minutes."""


def fleet(sessions: int) -> Kind:
    """Executors as `make fleet RTT=100` has them, so many of them in a wave."""
    arguments = ("--seed", "1", "--rtt-ms", "100", "--wait", f"5-{WAIT_MOST_S:g}", "--lines")
    return Kind("fleet", arguments, {"SUBNET_MAX_SESSIONS": str(sessions)})


def names_of(size: int) -> tuple[str, str, str]:
    """The rows of a fleet of this size."""
    return f"fleet_{size}_cpu_per_executor", f"fleet_{size}_wall", f"fleet_{size}_memory"


def _measured(size: int, sessions: int) -> Callable[[], Iterator[Row]]:
    def measure() -> Iterator[Row]:
        with rig(FOLDER / "bench-fleet", (FEW, size), fleet(sessions)) as made:
            series = {executors: Series() for executors in made.validators}
            for executors, validator in made.validators.items():
                validator.ask("epoch")
                validator.ask("floor")
                with made.server_cpu() as used_s:
                    for _ in range(RUNS[size]):
                        _take_turns(validator, executors, series[executors])
                series[executors].server_s = used_s[0] / RUNS[size]
        yield from rows(series[FEW], series[size], size, sessions)

    return measure


def _take_turns(validator: Validator, executors: int, series: Series) -> None:
    """An epoch, and what it is compared with."""
    epoch = validator.ask("epoch")
    if epoch.proved < 0.98 * executors:
        raise RuntimeError(f"{epoch.proved} of {executors} machines were proved")
    series.told.setdefault("epoch", []).append(epoch)
    series.told.setdefault("floor", []).append(validator.ask("floor"))


def rows(few: Series, many: Series, size: int, sessions: int) -> Iterator[Row]:
    """The figures of one fleet, beside a small one."""
    cpu, wall, memory = names_of(size)
    each_s = (many.epoch_s - few.epoch_s) / (size - FEW)
    floor_s = (many.cpu_s("floor") - few.cpu_s("floor")) / (size - FEW)
    note = (
        f"marginal, from warm epochs over {size:,} and {FEW} executors 100 ms away, Prefect's server and the hands in, fleet "
        "out; floor: a bare paramiko session each, over the same way, and the compressions of their verdicts"
    )
    yield Row(cpu, each_s * MS, "ms", floor_s * MS, RUNS[size], note)
    waves = -(-size // sessions)
    note = (
        f"whole warm epoch, {waves} wave(s); floor: the longest wait of each, and all starts at {STARTS_PER_S:g} a second; "
        "fleet, its provers and the validator share two cores"
    )
    yield Row(
        wall, many.wall_s("epoch"), "s wall", waves * WAIT_MOST_S + size / STARTS_PER_S, RUNS[size], note
    )
    peak_mib = max(told.peak_mib for told in many.told["epoch"])
    yield Row(
        memory,
        peak_mib,
        "MiB",
        None,
        RUNS[size],
        "the flow's process and its hands, at most, all epochs of the run in",
    )


GROUPS = (
    Group(names_of(THOUSAND), _measured(THOUSAND, 1_000)),
    Group(names_of(MOST), _measured(MOST, 2_000)),
)
