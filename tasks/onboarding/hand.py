"""The hand on a machine: everything that is done there to bring it in, over the miner's own SSH login, and all of it undone.

    hand = Hand(shell, pins, key)
    plan = hand.plan(machine, wanted, report)      what there is to do; nothing is changed
    hand.carry_out(plan, on_step)                  twice changes nothing, and after a kill it is simply run again
    left = hand.undo(machine, on_step)             from any control host: what was there before lies on the machine

Its program (`tasks/onboarding/changing`) is sent for each request and runs as root. What it answers is foreign text.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from storage.records import Executor
from tasks.edges.bounded import Bounds
from tasks.edges.shell import LOADER, EpochKey, Session, Shell, ShellSession
from tasks.errors import HostAway, OnboardingFailed, SettingError, SubnetError
from tasks.inspection.talk import start_runner, stream_to
from tasks.onboarding.login import Pins, looked_up
from tasks.onboarding.machine import Machine
from tasks.onboarding.mends import OWN_PYTHON
from tasks.onboarding.planning import changes, decide, resolved, told, unprivileged
from tasks.onboarding.preflight import Report
from tasks.onboarding.replies import ANSWERED, LOOKED, TOLD_CHARS, UNDONE, R, Refused, parsed, plain
from tasks.onboarding.steps import (
    PYTHON,
    STEPS,
    Left,
    MachinePlan,
    PlanState,
    Step,
    StepEvent,
    StepState,
    Wanted,
)

OnStep = Callable[[StepEvent], None]
MODULES = ("journal", "system", "filing", "users", "packages", "interpreter", "sessions", "server", "main")
"""Of the program, each after those that it imports."""
PACKAGE = "tasks.onboarding.changing"
LOGIN_S, STEP_S = 30.0, 1_800.0
AGAIN, PAUSE_S = 3, 0.2
NOT_YET = frozenset({"connect", "handshake"})
"""Phases in which nothing was asked yet."""
REPLY_BYTES = 262_144
WHEEL_PIECE_BYTES = 131_072
CUT_OFF = "run the same command again: what was begun is gone on with"
PLANNING = "plan"
"""Where a step's name stands: nothing is changed yet."""


class Hand:
    """Changes machines whose host keys are pinned; one object for any number of them, each used by one thread."""

    def __init__(self, shell: Shell, pins: Pins, key: EpochKey) -> None:
        self._shell, self._pins, self._key = shell, pins, key

    def plan(self, machine: Machine, wanted: Wanted, report: Report) -> MachinePlan:
        """What there is to do on this machine; HostAway and the like when it can't be asked."""
        machine, wanted = looked_up(machine), resolved(wanted, report)
        if refused := unprivileged(machine, wanted, report.found.privilege):
            return refused
        needed = changes(wanted, report)
        with self._talk(machine) as talk:
            looked = talk.ask(PLANNING, {"do": "look", "steps": needed}, LOOKED)
        return decide(machine, wanted, needed, {name: s.answer() for name, s in looked.steps.items()})

    def carry_out(self, plan: MachinePlan, on_step: OnStep) -> None:
        """Do what is left to do; OnboardingFailed at the first step that can't be done, before any if that is known."""
        for planned in plan.blocked:
            raise OnboardingFailed(planned.step.name, plan.machine.label, planned.detail, planned.mend)
        steps = [planned for planned in plan.steps if planned.state is not PlanState.NOT_NEEDED]
        wheels = sum(wheel.stat().st_size for wheel in _wheels(plan.wanted))
        with self._talk(plan.machine, wheels) as talk:
            for planned in steps:
                with _shown(plan.machine, planned.step, on_step) as done:
                    if planned.step is PYTHON and planned.state is PlanState.TO_DO:
                        _hand_over(talk, _wheels(plan.wanted))
                    request = {"do": "change", "step": planned.step.name, "changes": planned.changes}
                    done.extend(talk.ask(planned.step.name, request, ANSWERED).answer().done)

    def undo(self, machine: Machine, on_step: OnStep) -> tuple[Left, ...]:
        """Everything backwards that was ever done there; what had to be left, which is nothing as a rule."""
        machine, left = looked_up(machine), list[Left]()
        with self._talk(machine) as talk:
            for step in reversed(STEPS):
                with _shown(machine, step, on_step) as done:
                    undone = talk.ask(step.name, {"do": "undo", "step": step.name}, UNDONE)
                    found = [Left(plain(what), plain(why)) for what, why in undone.left]
                    done.extend(f"{one.what}: {one.why}" for one in found)
                    done.extend(["undone"] if undone.undone and not found else [])
                    left += found
            talk.ask(STEPS[0].name, {"do": "forget"}, UNDONE)
        return tuple(left)

    @contextmanager
    def _talk(self, machine: Machine, carried_bytes: int = 0) -> Iterator[_Talk]:
        """A session that may last as long as all steps, and carry so much beside what is usual."""
        pinned = self._pins.of(machine)
        if pinned is None:
            raise SettingError("known_hosts", machine.label, "a host key that was agreed to")
        deadline = time.monotonic() + LOGIN_S
        bounds = Bounds.for_bytes(carried_bytes, lifetime_s=len(STEPS) * STEP_S)
        shell = Shell(replace(self._shell.settings, bounds=bounds), self._shell.pacer)
        with opened(shell, machine.executor(pinned), self._key, deadline) as session:
            start_runner(session, deadline=deadline)
            yield _Talk(machine, session)


def opened(shell: Shell, executor: Executor, key: EpochKey, deadline: float) -> ShellSession:
    """A session, asked for again where nobody listens: a run that was killed may have the SSH server reload just now."""
    for _ in range(AGAIN):
        try:
            return shell.open(executor, key, deadline=deadline)
        except HostAway as error:
            if error.phase not in NOT_YET or time.monotonic() + PAUSE_S > deadline:
                raise
            time.sleep(PAUSE_S)
    return shell.open(executor, key, deadline=deadline)


@dataclass(frozen=True, slots=True)
class _Talk:
    """A session in which the program is run, as root, for one request after the other."""

    machine: Machine
    session: Session

    @property
    def argv(self) -> list[str]:
        """The interpreter, which waits for the program."""
        as_root = [] if self.machine.user == "root" else ["sudo", "-n", "--"]
        return [*as_root, self.machine.python, "-I", "-c", LOADER]

    def ask(
        self,
        step: str,
        request: Mapping[str, object],
        adapter: TypeAdapter[R | Refused],
        file: Path | None = None,
    ) -> R:
        """What it answers; OnboardingFailed when it says that it can't, or does not come to an end of its own."""
        output = stream_to(
            self.session,
            self.argv,
            _pieces(request, file),
            timeout_s=STEP_S,
            limit_bytes=REPLY_BYTES,
            deadline=time.monotonic() + STEP_S,
        )
        if output.exit_code != 0:
            words = plain(output.stderr.decode("utf-8", "replace")[-TOLD_CHARS:])
            raise OnboardingFailed(step, self.machine.label, f"it was cut off: {words}", CUT_OFF)
        return parsed(self.machine, step, output.stdout, adapter)


def _wheels(wanted: Wanted) -> list[Path]:
    """The packages that go with us; SettingError when the folder has none."""
    if wanted.wheels is None:
        return []
    found = sorted(wanted.wheels.glob("*.whl"))
    if not found:
        raise SettingError("--wheels", str(wanted.wheels), "a folder of packages (*.whl)")
    return found


def _hand_over(talk: _Talk, wheels: Sequence[Path]) -> None:
    """Each of them to where pip finds it."""
    folder = OWN_PYTHON.removesuffix("/bin/python")
    for wheel in wheels:
        request = {"do": "wheel", "step": PYTHON.name, "folder": folder, "name": wheel.name}
        talk.ask(PYTHON.name, request, ANSWERED, wheel)


@contextmanager
def _shown(machine: Machine, step: Step, on_step: OnStep) -> Iterator[list[str]]:
    """A step's begin and end, for whoever watches; what was done is put into the list."""
    began, done = time.monotonic(), list[str]()
    on_step(StepEvent(machine, step, StepState.BEGUN))
    try:
        yield done
    except SubnetError as error:
        why = error.why if isinstance(error, OnboardingFailed) else str(error)
        on_step(StepEvent(machine, step, StepState.FAILED, time.monotonic() - began, why))
        raise
    state = StepState.DONE if done else StepState.NOTHING_TO_DO
    on_step(StepEvent(machine, step, state, time.monotonic() - began, told(done)))


def _pieces(request: Mapping[str, object], file: Path | None) -> Iterator[bytes]:
    """What the program reads: itself, the request, and a file where one goes with it."""
    yield len(_program()).to_bytes(4, "big") + _program()
    yield json.dumps(request).encode() + b"\n"
    if file is not None:
        with file.open("rb") as opened:
            while piece := opened.read(WHEEL_PIECE_BYTES):
                yield piece


@cache
def _program() -> bytes:
    """All its modules in one text, which makes them over there: nothing of it touches that machine's disk."""
    folder = Path(__file__).with_name("changing")
    sources = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    packed = b64encode(json.dumps(sources).encode()).decode()
    return f"""\
import base64, json, sys, types
for name in ["tasks", "tasks.onboarding", "{PACKAGE}"]:
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for name, text in json.loads(base64.b64decode("{packed}")).items():
    name = "{PACKAGE}." + name
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
sys.exit(sys.modules["{PACKAGE}.main"].main())
""".encode()
