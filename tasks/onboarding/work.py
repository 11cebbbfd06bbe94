"""What the steps of bringing machines in share: the edges, the records, who answers, and who is told."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from storage.errors import StorageError
from tasks.edges.chain import Chain
from tasks.edges.shell import EpochKey, Shell
from tasks.errors import OnboardingFailed, RegistrationRefused, SettingError, SubnetError
from tasks.offering.config import MinerConfig, load_config
from tasks.onboarding.agent import AgentProcess
from tasks.onboarding.confinement.certificates import Authority
from tasks.onboarding.deciding import Plan
from tasks.onboarding.login import Pins
from tasks.onboarding.machine import Machine
from tasks.onboarding.preflight import AT_ONCE, Report
from tasks.onboarding.records import Records
from tasks.onboarding.serving import Serving
from tasks.onboarding.stages import HERE, Progress
from tasks.onboarding.steps import Left, MachinePlan, Step, StepEvent, StepState, Wanted
from tasks.onboarding.wishes import Human, Wishes
from tasks.policy import Policy

T = TypeVar("T")
_log = logging.getLogger("subnet.onboarding")
"""prefect.toml sends the lines of `subnet` to the run's page in the UI."""


class Hands(Protocol):
    """`tasks.onboarding.hand.Hand`: what is changed on machines."""

    def plan(self, machine: Machine, wanted: Wanted, report: Report) -> MachinePlan:
        """What there is to do."""

    def carry_out(self, plan: MachinePlan, on_step: Callable[[StepEvent], None]) -> None:
        """Do it."""

    def undo(self, machine: Machine, on_step: Callable[[StepEvent], None]) -> tuple[Left, ...]:
        """Undo all of it."""


@dataclass(slots=True)
class Turn:
    """A step at work: what it came to."""

    detail: str = ""
    is_new: bool = True
    """Whether it changed anything."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one machine."""

    machine: Machine
    executor_id: str
    failure: OnboardingFailed | None
    left: tuple[Left, ...] = ()
    """What undoing had to leave there."""


class Onboarding:
    """One run over some machines; a plain class, because Prefect walks through every field of a dataclass."""

    def __init__(
        self,
        wishes: Wishes,
        *,
        shell: Shell,
        pins: Pins,
        key: EpochKey,
        hand: Hands,
        chain: Chain,
        netuid: int,
        policy: Policy,
        agent: AgentProcess,
        human: Human,
        tell: Callable[[Progress], None],
    ) -> None:
        self.wishes, self.shell, self.pins, self.key, self.hand = wishes, shell, pins, key, hand
        self.chain, self.netuid, self.policy, self.agent, self.human = chain, netuid, policy, agent, human
        self._tell = tell
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="machine")
        self.config = self.read_config()
        self.folder = (self.config.folder if self.config else None) or wishes.new_folder
        self.records = Records(self.folder)
        self.failed: dict[str, OnboardingFailed] = {}
        """By the machine's label: what ended its way."""
        self._names: dict[str, str] = {}
        self.alone = threading.Lock()
        """For what is decided by the whole of the agent's file."""
        self.left: dict[str, tuple[Left, ...]] = {}
        self.authority, self.authority_file = self._authority()
        self.plan = Plan()
        self.serving: Serving | None = None
        """How the agent is to run, as was agreed to."""
        self.limit_rao = wishes.limit_rao
        """The most that a place may cost; asked for where it was not said."""
        self.coldkey_password: str | None = None
        """Asked for before the work begins, so that nobody has to wait for a question; let go of when it was used."""

    def close(self) -> None:
        """Release the records; a machine that is asked something is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.records.close()

    async def call(self, function: Callable[..., T], *args: Any, **more: Any) -> T:
        """Do what blocks in a thread, as many machines side by side as are looked at at once."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(function, *args, **more))

    async def each(
        self, name: str, do: Callable[[Self, Machine], Awaitable[None]], command: str = "onboard"
    ) -> None:
        """Do a step for every machine that is still on its way, side by side; one that fails costs only itself.

        Whatever breaks ends that machine's way alone: its connection, its name's lookup, a step's deadline.
        """

        async def one(machine: Machine) -> None:
            try:
                await do(self, machine)
            except (SubnetError, StorageError, OSError) as error:
                self.fail(_failure(error, name, machine.label, f"subnet miner {command} {machine.typed}"))

        await asyncio.gather(*(one(machine) for machine in self.going))

    def read_config(self) -> MinerConfig | None:
        """The agent's file as it is now; None where there is none yet."""
        return load_config(self.wishes.agent_file) if self.wishes.agent_file.exists() else None

    def executor_id(self, machine: Machine) -> str:
        """What validators know the machine by: kept from its first time on, unless it is named anew."""
        if machine.label not in self._names:
            known = None if self.wishes.executor_id else self.records.executor_id(machine.label)
            self._names[machine.label] = known or self.wishes.id_of(machine)
        return self._names[machine.label]

    def have_authority(self) -> bool:
        """Its key lies in its file, and is the one that this run uses, whoever was first to put it there; whether we were."""
        is_new = not self.authority_file.exists()
        try:
            if is_new:
                self.authority.save(self.authority_file)
        except SettingError:
            if not self.authority_file.exists():
                raise
            is_new = False
        self.authority, _ = self._authority()
        return is_new

    @property
    def going(self) -> tuple[Machine, ...]:
        """Machines whose way has not ended."""
        return tuple(m for m in self.wishes.machines if m.label not in self.failed)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What came of each machine, in the order in which they were named."""
        return tuple(
            Outcome(m, self.executor_id(m), self.failed.get(m.label), self.left.get(m.label, ()))
            for m in self.wishes.machines
        )

    @contextmanager
    def at(
        self, step: Step, machine: Machine | None = None, *, mark: str = "", mend: str = ""
    ) -> Iterator[Turn]:
        """A step at work, recorded and told; whatever of ours goes wrong in it becomes an OnboardingFailed with this mend."""
        label, turn, began = machine.label if machine else HERE, Turn(), time.monotonic()
        self._show(label, step, StepState.BEGUN)
        known = self.records.holds(label, step.name, mark) if mark else None
        self.records.begin(label, step.name, mark, known.at_s if known else time.time())
        try:
            yield turn
        except (SubnetError, StorageError, OSError) as error:
            failure = _failure(error, step.name, label, mend)
            self._end(label, step, StepState.FAILED, time.monotonic() - began, failure.why)
            raise failure from error
        # `done` in the records also where nothing was left to do: it holds.
        self.records.end(label, step.name, StepState.DONE.value, time.monotonic() - began, turn.detail)
        state = StepState.DONE if turn.is_new else StepState.NOTHING_TO_DO
        self._show(label, step, state, time.monotonic() - began, turn.detail)

    @contextmanager
    def here(self, step: Step, *, mend: str = "") -> Iterator[Turn]:
        """A step of this computer's; where it fails, the way of every machine has ended."""
        try:
            with self.at(step, mend=mend) as turn:
                yield turn
        except OnboardingFailed as failure:
            for machine in self.going:
                self.failed[machine.label] = failure

    def on_machine(self, event: StepEvent) -> None:
        """Record and show a step of the machine's own."""
        label = event.machine.label
        if event.state is StepState.BEGUN:
            self.records.begin(label, event.step.name, "", time.time())
            self._show(label, event.step, StepState.BEGUN)
        else:
            self._end(label, event.step, event.state, event.seconds, event.detail)

    def fail(self, failure: OnboardingFailed) -> None:
        """End a machine's way."""
        self.failed[failure.machine] = failure

    def fail_all(self, failure: OnboardingFailed) -> None:
        """End the way of all that are still on it: something of this computer's failed."""
        for machine in self.going:
            self.failed[machine.label] = failure

    def _end(self, label: str, step: Step, state: StepState, seconds: float, detail: str) -> None:
        self.records.end(label, step.name, state.value, seconds, detail)
        self._show(label, step, state, seconds, detail)

    def _show(self, label: str, step: Step, state: StepState, seconds: float = 0.0, detail: str = "") -> None:
        if state is not StepState.BEGUN:
            _log.info("%s, %s: %s in %.1f s %s", label, step.name, state.value, seconds, detail)
        self._tell(Progress(label, step.name, step.title, state, seconds, detail))

    def _authority(self) -> tuple[Authority, Path]:
        """The authority that the agent's file names; a fresh one, which lies nowhere yet, where there is none."""
        path = (self.config.ssh_ca if self.config else None) or self.wishes.new_authority
        session = self.config.ssh_session if self.config else ""
        return (Authority.load(path, session) if path.exists() else Authority.generate()), path


def _failure(error: Exception, step: str, label: str, mend: str) -> OnboardingFailed:
    if isinstance(error, OnboardingFailed):
        return error
    if isinstance(error, RegistrationRefused):
        return OnboardingFailed(step, label, f"{error.code}: {error.detail}", error.mend)
    return OnboardingFailed(step, label, str(error) or type(error).__name__, mend)


def first_failure(work: Onboarding) -> OnboardingFailed | None:
    """Of the machine that was named first among those that failed."""
    return next((outcome.failure for outcome in work.outcomes if outcome.failure is not None), None)
