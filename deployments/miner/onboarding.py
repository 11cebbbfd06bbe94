"""How bringing machines in looks in a terminal: the plan, a line for each step with its time, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from deployments.miner.results import show as show_results
from deployments.miner.wallet_options import secret_of
from deployments.view import cell
from tasks.edges.registering import tao
from tasks.offering.typed import rao_of
from tasks.onboarding.deciding import MENDED_HERE, Plan
from tasks.onboarding.hearing import newest_told
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import command_for
from tasks.onboarding.stages import HERE, Progress
from tasks.onboarding.steps import PlannedStep, PlanState, StepState
from tasks.onboarding.wishes import Nobody
from tasks.onboarding.work import Onboarding, Outcome

T = TypeVar("T")
_STYLES = {
    StepState.DONE: "green",
    StepState.FAILED: "red",
    StepState.NOTHING_TO_DO: "dim",
    PlanState.TO_DO: "yellow",
    PlanState.BLOCKED: "red",
}


class Lines:
    """A line for each step that has ended, and a word where a long one begins."""

    def __init__(self, console: Console) -> None:
        self._console, self._began = console, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if not progress.is_over and not self._console.is_terminal:
            return
        took = f"{progress.seconds:6.1f} s" if progress.is_over else "        "
        line = (
            f"{time.monotonic() - self._began:6.1f} s  {progress.machine:<22} {progress.step:<10} "
            f"{progress.state.value:<13} {took}  {progress.detail or progress.title}"
        )
        self._console.print(cell(line.rstrip()), style=_STYLES.get(progress.state, ""), soft_wrap=True)


class Typed:
    """A human at this terminal; with `is_agreed` only what can't be known is asked."""

    def __init__(
        self, console: Console, *, is_agreed: bool, accepts_new: bool, password_file: Path | None
    ) -> None:
        self._console, self._is_agreed = console, is_agreed
        self._accepts_new, self._password_file = accepts_new, password_file

    def knows(self, machine: Machine, fingerprint: str) -> bool:
        """Whether it is the machine's, compared by a human."""
        if self._accepts_new or self._is_agreed:
            return self._accepts_new
        click.echo(f"{machine.place} shows the host key {fingerprint}, for the first time")
        return click.confirm("Is it what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says there?")

    def agrees(self, plan: Plan, question: str) -> bool:
        """Whether to go on, the plan before the eyes; a no ends the command."""
        show_plan(self._console, plan)
        return self._is_agreed or click.confirm(question, abort=True)

    def ceiling_rao(self, price_rao: int) -> int:
        """The most that a place may cost."""
        if self._is_agreed:
            return Nobody().ceiling_rao(price_rao)
        return rao_of(
            "--ceiling", click.prompt("The most that a place may cost (TAO)", default=tao(price_rao))
        )

    def coldkey_password(self) -> str:
        """From the file, a pipe, or typed without being shown."""
        return secret_of(
            self._password_file, "Password of the coldkey (not shown)", "--coldkey-password-file"
        )


def seen(name: str, work: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """The same as a flow run that the Prefect UI shows."""
    from prefect import flow  # noqa: PLC0415  only where a server is named

    async def run() -> T:
        return await work()

    made: Any = flow(name=name, flow_run_name=name, persist_result=False)(run)
    return made  # type: ignore[no-any-return]  # a flow of a coroutine function is called like it


def show_plan(console: Console, plan: Plan) -> None:
    """Every step that there is, with its state."""
    for machine in plan.machines:
        report = plan.report_of(machine.machine)
        cards = report.found.facts.cards
        told = f"{len(cards)} x {cards[0].model}" if cards else "no card"
        console.print(cell(f"{machine.machine.user}@{machine.machine.place}: {told}"), style="bold")
        _show_steps(console, machine.steps)
        for reason in report.reasons:
            if not reason.decides and reason.code not in MENDED_HERE:
                console.print(cell(f"  {reason.severity:<11} {reason.code}: {reason.got}"), soft_wrap=True)
                if line := command_for(reason, report.machine):
                    console.file.write(f"              $ {line}\n")
    console.print(HERE, style="bold")
    _show_steps(console, plan.here)


def show_failures(console: Console, work: Onboarding) -> None:
    """Of each machine that failed: the step, why, and the mend."""
    for outcome in work.outcomes:
        if outcome.failure is not None:
            _show_failure(console, outcome)


def show_outcomes(console: Console, work: Onboarding) -> None:
    """What came of each machine: what validators say, and the failures last."""
    for outcome in work.outcomes:
        console.print(cell(f"{outcome.machine.place} is {outcome.executor_id}"), style="bold", soft_wrap=True)
        for left in outcome.left:
            console.print(cell(f"  left there: {left.what}: {left.why}"), soft_wrap=True)
        for hotkey, results, machine in newest_told(work.folder, outcome.executor_id, 0):
            show_results(console, hotkey, results.model_copy(update={"machines": (machine,)}))
    show_failures(console, work)


def documents(work: Onboarding) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "host": outcome.machine.place,
            "executor": outcome.executor_id,
            "plan": [_planned(step) for plan in work.plan.machines if plan.machine.label == outcome.machine.label for step in plan.steps],
            "failed": None if (f := outcome.failure) is None else {"step": f.step, "machine": f.machine, "why": f.why, "mend": f.mend},
            "steps": [
                {"step": r.step, "state": r.state, "seconds": round(r.seconds, 3), "detail": r.detail}
                for r in work.records.all_of(outcome.machine.label)
            ],
            "left": [{"what": left.what, "why": left.why} for left in outcome.left],
            "told": {
                hotkey: machine.model_dump()
                for hotkey, _, machine in newest_told(work.folder, outcome.executor_id, 0)
            },
        }
        for outcome in work.outcomes
    ]  # fmt: skip


def document(work: Onboarding) -> dict[str, object]:
    """All of it for programs."""
    return {"here": [_planned(step) for step in work.plan.here], "machines": documents(work)}


def _show_failure(console: Console, outcome: Outcome) -> None:
    failure = outcome.failure
    assert failure is not None
    where = "" if failure.machine != HERE else f" on {HERE}"
    console.print(
        cell(f"{outcome.machine.place}: {failure.step} failed{where}: {failure.why}"),
        style="red",
        soft_wrap=True,
    )
    if failure.mend:
        # Whole, so that it can be copied.
        console.file.write(f"  {failure.mend}\n")


def _show_steps(console: Console, steps: Iterable[PlannedStep]) -> None:
    for planned in steps:
        line = f"  {planned.state.value:<11} {planned.step.name:<10} {planned.detail or planned.step.title}"
        console.print(cell(line), style=_STYLES.get(planned.state, ""), soft_wrap=True)
        if planned.mend:
            console.file.write(f"              {planned.mend}\n")


def _planned(planned: PlannedStep) -> dict[str, str]:
    return {
        "step": planned.step.name,
        "state": planned.state.value,
        "detail": planned.detail,
        "mend": planned.mend,
    }
