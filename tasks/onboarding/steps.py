"""What is done on a machine to bring it in, step by step, and what a plan of it says.

    engine -> toolkit -> python -> accounts -> folders -> files -> keeper -> sshd

The door is opened last: until sshd is told of the two users, whatever else is there lets nobody in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tasks.onboarding.confinement import files
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import OWN_PYTHON


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it does, what for, and what undoes it."""

    name: str
    title: str
    why: str
    undo: str


ENGINE = Step(
    "engine",
    "Install a container engine",
    "Renters' containers run in it.",
    "The packages that were not there before are removed with their settings.",
)
TOOLKIT = Step(
    "toolkit",
    "Install NVIDIA's container toolkit",
    "Containers get no cards without it.",
    "The packages and NVIDIA's repository are removed, the engine's settings put back.",
)
PYTHON = Step(
    "python",
    "Make the prover's Python",
    "Validators run their prover with it: NumPy and Numba, beside the system's own Python.",
    "The folder is removed.",
)
ACCOUNTS = Step(
    "accounts",
    "Make the two users",
    "Validators and renters come in as users of their own, without a password.",
    "The users that were not there before are removed.",
)
FOLDERS = Step(
    "folders",
    "Make the folders",
    "Settings, sessions' homes and locks of the cards have their places.",
    "Those that were not there before are removed with what lies in them; others get their owner and mode back.",
)
FILES = Step(
    "files",
    "Write the files",
    "The keeper, its settings, and the one authority whose certificates count.",
    "Each is put back as it was, or removed.",
)
KEEPER = Step(
    "keeper",
    "Start the keeper",
    "It starts validators' sessions confined, and ends them with their certificates.",
    "It is stopped, and with it every session.",
)
SSHD = Step(
    "sshd",
    "Tell the SSH server",
    "Whoever comes as one of the two users gets the keeper, whatever was asked for.",
    "Its file is removed and the server told again.",
)
STEPS = (ENGINE, TOOLKIT, PYTHON, ACCOUNTS, FOLDERS, FILES, KEEPER, SSHD)
"""In their order; they are undone from the last one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine is to become; SettingError for what would mean something else where it is written."""

    executor_id: str
    authority_line: str
    """The public half of the miner's authority: `ssh-ed25519 AAAA...`."""
    python: str = ""
    """The interpreter to announce, which has to be there with what the prover imports; empty: that of the login if it
    is such a one and validators may read it, else one of ours is made.
    """
    has_engine: bool = True
    """Whether renters' containers are to run there."""
    wheels: Path | None = None
    """A folder of this computer with the prover's packages, for a machine without a way to an index."""
    engine_group: str = "docker"
    environment: tuple[tuple[str, str], ...] = ()
    """Of validators' sessions, beside what they have anyway."""
    hidden: tuple[str, ...] = files.HIDDEN

    def confined(self) -> files.Machine:
        """What the machine's files depend on."""
        return files.Machine(
            executor_id=self.executor_id,
            authority=self.authority_line,
            python=self.python or OWN_PYTHON,
            engine_group=self.engine_group,
            environment=self.environment,
            hidden=self.hidden,
        )


class PlanState(StrEnum):
    """Of a step, before anything is done."""

    TO_DO = "to do"
    DONE = "done"
    NOT_NEEDED = "not needed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step and what there is to do about it."""

    step: Step
    state: PlanState
    detail: str = ""
    """What is missing, or in the way."""
    mend: str = ""
    """The command that mends a step that is blocked, to be run on the machine."""
    changes: tuple[Mapping[str, object], ...] = field(default=(), repr=False)
    """What the hand is asked for."""


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """All steps of one machine, in their order."""

    machine: Machine
    wanted: Wanted
    """With the interpreter that was decided on."""
    steps: tuple[PlannedStep, ...]

    @property
    def python(self) -> str:
        """The interpreter to announce."""
        return self.wanted.python

    @property
    def to_do(self) -> tuple[PlannedStep, ...]:
        """What carrying it out would change."""
        return tuple(planned for planned in self.steps if planned.state is PlanState.TO_DO)

    @property
    def blocked(self) -> tuple[PlannedStep, ...]:
        """What only the machine's owner can mend: carrying the plan out ends at the first of them."""
        return tuple(planned for planned in self.steps if planned.state is PlanState.BLOCKED)


class StepState(StrEnum):
    """Of a step, while it is done or undone."""

    BEGUN = "begun"
    DONE = "done"
    NOTHING_TO_DO = "nothing to do"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Something to show: every step begins, and ends in one of the other states."""

    machine: Machine
    step: Step
    state: StepState
    seconds: float = 0.0
    """Since it began."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """Something that undoing had to leave on the machine, and why."""

    what: str
    why: str
