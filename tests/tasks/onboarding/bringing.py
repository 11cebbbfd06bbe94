"""A control host that dies: it brings a machine in, and is killed a moment after one step has begun.

bringing.py ADDRESS FOLDER AUTHORITY STEP        FOLDER holds the user's key and the pinned host key
"""

import os
import signal
import sys
import threading
from pathlib import Path

from storage.records import HostFacts
from tasks.edges.shell import Shell
from tasks.onboarding.hand import Hand
from tasks.onboarding.login import Pins, load_ssh_key
from tasks.onboarding.machine import Machine
from tasks.onboarding.needs import Environment, Found
from tasks.onboarding.preflight import Report
from tasks.onboarding.steps import StepEvent, StepState, Wanted
from tests.deployments.miner.bare_machine import ENVIRONMENT, PROVER, PYTHON

MOMENT_S = 0.4


def main(address: str, folder: Path, authority: str, step: str) -> None:
    """Plan, and carry out until the end comes."""
    named = Machine(address, 22, "miner", PYTHON, address)
    found = Found(HostFacts(), "sudo", Environment((3, 11, 0), ()), needs_cards=False)
    hand = Hand(Shell(), Pins(folder / "known_hosts"), load_ssh_key(folder / "key"))
    plan = hand.plan(
        named, Wanted("rack1-a", authority, PROVER, environment=ENVIRONMENT), Report(named, found, ())
    )

    def shown(event: StepEvent) -> None:
        if (event.step.name, event.state) == (step, StepState.BEGUN):
            threading.Timer(MOMENT_S, os.kill, (os.getpid(), signal.SIGKILL)).start()

    hand.carry_out(plan, shown)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
