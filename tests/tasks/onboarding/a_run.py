"""A run over machines that are never reached: for steps that look at what lies on the miner's computer alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tasks.edges.shell import EpochKey, Shell
from tasks.onboarding.agent import PROGRAM, AgentProcess
from tasks.onboarding.login import Pins
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.stages import Progress
from tasks.onboarding.wishes import Nobody, WalletNames, Wishes
from tasks.onboarding.work import Onboarding
from tasks.policy import LOCALNET

MACHINE = parse_machine("203.0.113.7")


def a_run(
    folder: Path, tell: Callable[[Progress], None], program: Path = PROGRAM, **wishes: object
) -> Onboarding:
    """Without a hand and a chain; everything lies in the folder."""
    wallet = WalletNames(folder, "miner", "rack1")
    wanted = {"machines": (MACHINE,), "wait_s": 0.0, **wishes}
    return Onboarding(
        Wishes(agent_file=folder / "miner.toml", wallet=wallet, **wanted),
        shell=Shell(),
        pins=Pins(folder / "pins"),
        key=EpochKey.generate(),
        hand=None,
        chain=None,
        netuid=51,
        policy=LOCALNET,
        agent=AgentProcess(folder / "agent", {}, program),
        human=Nobody(),
        tell=tell,
    )
