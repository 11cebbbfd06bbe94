"""How what a validator told looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console

from deployments.view import cell, short
from tasks.edges.wire import MachineResult, Results, ToldReason


def show(console: Console, hotkey: str, results: Results) -> None:
    """One validator's results: a line a machine, and under it what keeps it from more."""
    at = datetime.fromtimestamp(results.scored_at, UTC)
    weight = "no weights made" if results.weight is None else f"weight {results.weight:.4f}"
    line = f"validator {short(hotkey)}, epoch {results.epoch} of {at:%Y-%m-%d %H:%M} UTC, policy {results.policy}, {weight}"
    console.print(cell(line), soft_wrap=True)
    _list(console, results.reasons, "  ")
    for machine in results.machines:
        console.print(cell(f"  {machine.executor_id}: score {machine.score:.6f}"), soft_wrap=True)
        console.print(cell(f"    {terms(machine)}"), soft_wrap=True)
        if machine.resets and machine.reset_at is not None:
            at = datetime.fromtimestamp(machine.reset_at, UTC)
            line = f"    record set back {machine.resets} times, last at {at:%Y-%m-%d %H:%M} UTC: {machine.reset_code}"
            console.print(cell(line), soft_wrap=True)
        _list(console, machine.reasons, "    ")
    if results.left_out:
        console.print(f"  and {results.left_out} machines for which there was no room")


def terms(machine: MachineResult) -> str:
    """The factors of a score, as a bill."""
    return ", ".join(f"{name} {value:.4g}" for name, value in machine.terms.items())


def _list(console: Console, reasons: Iterable[ToldReason], indent: str) -> None:
    for reason in reasons:
        weight = "in shadow" if reason.is_shadow else reason.severity.replace("_", " ")
        console.print(
            cell(f"{indent}{reason.code} ({weight}): got {reason.got}; wanted {reason.wanted}"),
            soft_wrap=True,
        )
        console.print(cell(f"{indent}  {reason.mend}"), soft_wrap=True)
