"""The hand on a machine: everything that is done there to bring it in, over the miner's own SSH login, and all of it undone.

hand = Hand(shell, pins, key)
plan = hand.plan(machine, wanted, report)      what there is to do; nothing is changed
hand.carry_out(plan, on_step)                  twice changes nothing, and after a kill it is simply run again
left = hand.undo(machine, on_step)             from any control host: what was there before lies on the machine
"""

from __future__ import annotations

from collections.abc import Callable

from tasks.edges.shell import EpochKey, Shell
from tasks.onboarding.login import Pins
from tasks.onboarding.machine import Machine
from tasks.onboarding.preflight import Report
from tasks.onboarding.steps import Left, MachinePlan, StepEvent, Wanted

OnStep = Callable[[StepEvent], None]


class Hand:
    """Changes machines whose host keys are pinned; one object for any number of them, each used by one thread."""

    def __init__(self, shell: Shell, pins: Pins, key: EpochKey) -> None:
        self._shell, self._pins, self._key = shell, pins, key

    def plan(self, machine: Machine, wanted: Wanted, report: Report) -> MachinePlan:
        """What there is to do on this machine; HostAway and the like when it can't be asked."""
        raise NotImplementedError

    def carry_out(self, plan: MachinePlan, on_step: OnStep) -> None:
        """Do what is left to do; OnboardingFailed at the first step that can't be done."""
        raise NotImplementedError

    def undo(self, machine: Machine, on_step: OnStep) -> tuple[Left, ...]:
        """Everything backwards that was ever done there; what had to be left. None when nothing was."""
        raise NotImplementedError
