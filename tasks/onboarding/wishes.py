"""What a miner wants when it brings machines in: plain values, none of them secret, and who answers questions meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.errors import SettingError
from tasks.onboarding.deciding import Plan
from tasks.onboarding.machine import Machine

SYSTEM_FILE, SYSTEM_FOLDER = Path("/etc/subnet/miner.toml"), Path("/var/lib/subnet-miner")
PORT = 8091
WAIT_S = 2_400.0
"""For a verdict: two epochs of ten minutes, and what an epoch takes."""


@dataclass(frozen=True, slots=True)
class WalletNames:
    """Where the miner's keys lie."""

    path: Path
    name: str
    hotkey: str


@dataclass(frozen=True, slots=True)
class Wishes:
    """Which machines are to be brought in, on which terms, by which agent."""

    machines: tuple[Machine, ...]
    agent_file: Path
    wallet: WalletNames
    executor_id: str = ""
    """Of the only machine; empty: made of each machine's name."""
    price_usd_per_hour: float | None = None
    """For all cards of a machine; None: the price of our list of models."""
    limit_rao: int | None = None
    """The most that a place may cost; None: somebody is asked."""
    announce: tuple[str, int] | None = None
    """Where validators reach the agent; None: as it runs already, else the address that machines see this computer at."""
    host: str = ""
    """Where the agent listens; empty: as it does already, else everywhere."""
    port: int | None = None
    """None: as it does already, else `PORT`."""
    runs_agent: bool = True
    """Whether the agent is started here; else its owner runs it."""
    has_engine: bool = True
    wheels: Path | None = None
    environment: tuple[tuple[str, str], ...] = ()
    """Of validators' sessions: where simulated cards lie, on the local subnet."""
    wait_s: float = WAIT_S
    """For a verdict."""
    is_local: bool = False
    """Whether validators are those of the local subnet: elsewhere they connect to public addresses alone."""

    def __post_init__(self) -> None:
        """SettingError for what can't be meant."""
        labels = [machine.label for machine in self.machines]
        if not labels or len(set(labels)) != len(labels):
            raise SettingError("HOST", ", ".join(labels)[:100], "one machine or more, each once")
        if self.executor_id and len(labels) > 1:
            raise SettingError("--id", self.executor_id, "given for one machine alone")

    @property
    def new_folder(self) -> Path:
        """Where an agent whose file is not there yet keeps what it knows."""
        is_system = self.agent_file.parent == SYSTEM_FILE.parent
        return SYSTEM_FOLDER if is_system else self.agent_file.parent / "agent"

    @property
    def new_authority(self) -> Path:
        """Where the authority's key lies whose file does not name one."""
        return self.agent_file.with_name("ca")

    def id_of(self, machine: Machine) -> str:
        """What validators will know the machine by."""
        return self.executor_id or machine.executor(b"").executor_id


class Human(Protocol):
    """Who answers while it works; nobody may be there."""

    def knows(self, machine: Machine, fingerprint: str) -> bool:
        """Whether a host key that is seen for the first time is the machine's."""

    def agrees(self, plan: Plan, question: str) -> bool:
        """Whether to go on with this plan."""

    def ceiling_rao(self, price_rao: int) -> int:
        """The most that a place may cost."""

    def coldkey_password(self) -> str:
        """The password of an encrypted coldkey."""


@dataclass(frozen=True, slots=True)
class Nobody:
    """Answers for a run that nobody watches: what was not said beforehand is not agreed to."""

    accepts_new: bool = False
    """Whether host keys are pinned without a human who has compared them."""
    password: str | None = None

    def knows(self, machine: Machine, fingerprint: str) -> bool:  # noqa: ARG002  as Human says
        """As was said."""
        return self.accepts_new

    def agrees(self, plan: Plan, question: str) -> bool:  # noqa: ARG002  as Human says
        """Whoever starts it wants it."""
        return True

    def ceiling_rao(self, price_rao: int) -> int:  # noqa: ARG002  as Human says
        """There is none: nothing is bought without one."""
        raise SettingError("--ceiling", "not given", "the most that a place may cost, since nobody is asked")

    def coldkey_password(self) -> str:
        """As was said."""
        if self.password is None:
            wanted = "a file with the coldkey's password, since nobody is asked"
            raise SettingError("--coldkey-password-file", "not given", wanted)
        return self.password
