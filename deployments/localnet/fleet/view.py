"""How an epoch over a fleet looks in a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from deployments.localnet.fleet.measuring import VALIDATOR
from deployments.localnet.fleet.running import FARM, Told
from deployments.view import cell


def show_told(console: Console, told: Told) -> None:
    """Phases, steps, what each side used, and how the machines ended."""
    for table in (_phases(told), _steps(told), _usage(told), _outcomes(told)):
        console.print(table)
    for incident in told.incidents:
        console.print(cell(incident), style="red")


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _phases(told: Told) -> Table:
    table = _table(
        f"Epoch over {told.executors} executors: {told.wall_s:.1f} s, {told.proved} proved",
        "phase",
        "done",
        "wall s",
    )
    table.add_column("note")
    for phase in told.phases:
        done = f"{phase.done}/{phase.total}" if phase.total else ""
        table.add_row(phase.name, done, f"{phase.wall_s:.1f}", cell(phase.note))
    return table


def _steps(told: Told) -> Table:
    table = _table("Steps, in seconds", "step", "machines", "p50", "p95", "p99", "most")
    for step in told.steps:
        seconds = (step.p50_s, step.p95_s, step.p99_s, step.most_s)
        table.add_row(step.name, str(step.count), *(f"{s:.3f}" for s in seconds))
    return table


def _usage(told: Told) -> Table:
    headings = ("CPU s", "ms each", "of children", "processes", "MiB", "threads", "sockets")
    table = _table("Processes (peaks, but for CPU)", "who", *headings)
    for name, usage in told.usage.items():
        table.add_row(
            name,
            f"{usage.cpu_s:.1f}",
            f"{told.cpu_ms_each(name):.2f}",
            f"{usage.children_cpu_s:.1f}" if name == VALIDATOR else "",
            str(usage.peak_processes),
            f"{usage.peak_memory_mib:.0f}",
            str(usage.peak_threads),
            str(usage.peak_sockets),
        )
    note = f"of the {FARM}'s, {told.prover_cpu_s:.1f} s are its cards'" if told.prover_cpu_s else ""
    table.caption = f"{note}; the server's idling of {100 * told.server_idle_cores:.1f} % of a core is off"
    table.caption_justify = "left"
    return table


def _outcomes(told: Told) -> Table:
    table = _table("Outcomes", "code", "machines")
    for code, count in told.outcomes.items():
        table.add_row(cell(code), str(count))
    return table
