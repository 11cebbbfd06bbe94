"""Opening what bringing machines in needs, from plain values: by a command, or by the form of a deployment in the Prefect UI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from flows.policies import named_policy
from flows.settings import Settings
from tasks.edges.chain import Chain, ChainSettings
from tasks.edges.shell import EpochKey, Shell, ShellSettings
from tasks.errors import SettingError
from tasks.offering.config import load_config
from tasks.offering.typed import endpoint_of, rao_of
from tasks.onboarding.agent import AgentProcess
from tasks.onboarding.hand import Hand
from tasks.onboarding.login import Pins, load_ssh_key
from tasks.onboarding.machine import parse_machine
from tasks.onboarding.stages import Progress
from tasks.onboarding.wishes import SYSTEM_FILE, WAIT_S, Human, Nobody, WalletNames, Wishes
from tasks.onboarding.work import Onboarding

MAX_PASSWORD_BYTES = 4_096
_ALSO = ("PATH", "HOME", "LANG", "USER", "LOGNAME", "TMPDIR", "PYTHONPATH", "NUMBA_CACHE_DIR")
"""What the agent is given of the environment beside its own settings: nothing of Prefect's, and no secret of a shell's."""


class Starting(BaseModel):
    """How machines are brought in or taken out: no value here is a secret; paths are those of the computer that does it."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    key: Path = Field(Path("~/.ssh/id_ed25519"), description="Your SSH key for the machines, ed25519.")
    user: str = Field("root", description="Who logs in, where a host names nobody.")
    python: str = Field("/usr/bin/python3", description="Any Python 3 of the machine, to look at it with.")
    known_hosts: Path | None = Field(None, description="Where host keys are pinned.")
    accepts_new: bool = Field(default=False, description="Pin the host keys of machines that are new.")
    config: Path = Field(SYSTEM_FILE, description="The agent's file; made where there is none.")
    wallet_path: Path | None = Field(None, description="Folder of wallets; else SUBNET_WALLET_PATH.")
    wallet: str = Field("", description="Name of the wallet; else SUBNET_WALLET_NAME.")
    hotkey: str = Field("", description="Name of the hotkey in it; else SUBNET_WALLET_HOTKEY.")
    coldkey_password_file: Path | None = Field(None, description="A file with the coldkey's password.")
    policy: str = Field("", description="Whose minimum counts; else SUBNET_POLICY.")
    executor_id: str = Field("", description="A machine's name for validators; else made of its address.")
    price_usd_per_hour: float | None = Field(
        None, ge=0, le=1000, description="For all cards of a machine; else by our list of models."
    )
    ceiling_tao: str = Field("", description="The most that a place on the subnet may cost.")
    announce: str = Field("", description="ADDRESS:PORT at which validators reach the agent.")
    host: str = Field("", description="Where the agent listens; as it does already, else everywhere.")
    port: int | None = Field(None, ge=1, le=65_535, description="The port that it listens on; else 8091.")
    runs_agent: bool = Field(default=True, description="Start the agent on this computer.")
    has_engine: bool = Field(default=True, description="Install a container engine for renters.")
    wheels: Path | None = Field(None, description="A folder with the prover's packages.")
    simulated_cards: str = Field(
        "", description="Local subnet only: the folder of a machine's simulated cards."
    )
    wait_s: float = Field(WAIT_S, ge=0, le=86_400, description="For the first verdict.")


@asynccontextmanager
async def open_onboarding(
    hosts: list[str],
    how: Starting,
    settings: Settings,
    substrate: Callable[[], object] | None = None,
    *,
    human: Human | None = None,
    key: EpochKey | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> AsyncIterator[Onboarding]:
    """Everything that the steps need, closed at the end of the block; without a human nobody is asked."""
    wishes = wishes_of(hosts, how, settings)
    key = key or load_ssh_key(how.key.expanduser())
    shell = Shell(
        ShellSettings(is_public_only=False)
    )  # these are the miner's own machines, wherever they are
    pins = Pins((how.known_hosts or _own_folder() / "miner" / "known_hosts").expanduser())
    chain = Chain(
        ChainSettings(settings.network, settings.netuid, settings.chain_deadline_s, cache=settings.cache),
        substrate_factory=substrate,
    )
    work = None
    try:
        work = Onboarding(
            wishes,
            shell=shell,
            pins=pins,
            key=key,
            hand=Hand(shell, pins, key),
            chain=chain,
            netuid=settings.netuid,
            policy=named_policy(how.policy or settings.policy),
            agent=AgentProcess(_folder_of(wishes), _agent_environment(settings)),
            human=human or Nobody(how.accepts_new, _password(how.coldkey_password_file)),
            tell=tell,
        )
        yield work
    finally:
        if work is not None:
            work.close()
        chain.close()


def wishes_of(hosts: list[str], how: Starting, settings: Settings) -> Wishes:
    """The same as records; SettingError for what does not fit."""
    if how.simulated_cards and not settings.is_embedded:
        raise SettingError(
            "--simulated-cards", how.simulated_cards, "the local subnet: elsewhere cards are real"
        )
    machines = dict.fromkeys(parse_machine(host, how.user, how.python) for host in hosts)
    return Wishes(
        machines=tuple(machines),
        agent_file=how.config.expanduser().absolute(),
        wallet=WalletNames(
            (how.wallet_path or settings.wallet_path).expanduser().absolute(),
            how.wallet or settings.wallet_name,
            how.hotkey or settings.wallet_hotkey,
        ),
        executor_id=how.executor_id,
        price_usd_per_hour=how.price_usd_per_hour,
        limit_rao=rao_of("--ceiling", how.ceiling_tao) if how.ceiling_tao else None,
        announce=endpoint_of(how.announce) if how.announce else None,
        host=how.host,
        port=how.port,
        runs_agent=how.runs_agent,
        has_engine=how.has_engine,
        wheels=how.wheels,
        environment=(("SUBNET_SIMULATED_CARDS", how.simulated_cards),) if how.simulated_cards else (),
        wait_s=how.wait_s,
        is_local=settings.is_embedded,
    )


def _own_folder() -> Path:
    return Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute()


def _folder_of(wishes: Wishes) -> Path:
    config = load_config(wishes.agent_file) if wishes.agent_file.exists() else None
    return (config.folder if config else None) or wishes.new_folder


def _agent_environment(settings: Settings) -> dict[str, str]:
    """The agent's environment: the very network that this run works on, and nothing that only a shell's owner should have."""
    kept = {key: os.environ[key] for key in _ALSO if key in os.environ}
    ours: dict[str, object] = {
        "SUBNET_NETWORK": settings.network,
        "SUBNET_NETUID": settings.netuid,
        "SUBNET_CACHE": settings.cache.absolute(),
        "SUBNET_CHAIN_DEADLINE_S": f"{settings.chain_deadline_s:g}",
    }
    if "SUBNET_FOLDER" in os.environ:
        ours["SUBNET_FOLDER"] = _own_folder()
    if settings.wallet_password_file is not None:
        ours["SUBNET_WALLET_PASSWORD_FILE"] = settings.wallet_password_file.absolute()
    return kept | {key: str(value) for key, value in ours.items()}


def _password(file: Path | None) -> str | None:
    """The password in a file, as SUBNET_WALLET_PASSWORD_FILE has it."""
    if file is None:
        return None
    try:
        with file.expanduser().open("rb") as opened:
            return opened.read(MAX_PASSWORD_BYTES).decode("utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        wanted = f"a file that can be read ({error})"
        raise SettingError("coldkey_password_file", str(file), wanted) from None
