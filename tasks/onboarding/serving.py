"""How the agent is run: as was said, else as it runs already, else at the address that the machines see this computer at.

A machine is brought in beside others whose validators know the agent by its endpoint: one more changes nothing of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tasks.errors import OnboardingFailed, SettingError
from tasks.offering.typed import endpoint_of
from tasks.onboarding.agent import EVERYWHERE
from tasks.onboarding.stages import AGENT, HERE
from tasks.onboarding.wishes import PORT, WalletNames, Wishes

_ENDPOINT = "ADDRESS:PORT at which validators reach this computer"


@dataclass(frozen=True, slots=True)
class Serving:
    """Where the agent listens, and where the chain says it is."""

    host: str
    port: int
    address: str
    announced_port: int

    @property
    def endpoint(self) -> str:
        """As the chain tells it."""
        shown = f"[{self.address}]" if ":" in self.address else self.address
        return f"{shown}:{self.announced_port}"

    def words(self, wishes: Wishes) -> tuple[str, ...]:
        """What the agent is started with."""
        return (
            *("miner", "serve", "--config", str(wishes.agent_file.absolute())),
            *("--host", self.host, "--port", str(self.port), "--announce", self.endpoint),
            *_of_wallet(wishes.wallet),
        )

    def differing(self, wishes: Wishes, running: Sequence[str]) -> str:
        """What a restart of the running agent would change; empty: it runs like that."""
        old, new = _options(running), _options(("", *self.words(wishes)))
        return ", ".join(
            f"{name} {old.get(name)} -> {value}" for name, value in new.items() if old.get(name) != value
        )


def decided(wishes: Wishes, running: Sequence[str] | None, seen: Iterable[str | None]) -> Serving:
    """How it is to run; SettingError where nobody says where it is, OnboardingFailed where it runs for another hotkey."""
    known = _options(running or ())
    _check_wallet(wishes, known)
    port = wishes.port or int(known.get("--port", PORT))
    address, announced = _endpoint(wishes, known, port, seen)
    if not wishes.is_local and not ipaddress.ip_address(address).is_global:
        raise SettingError("--announce", address, f"{_ENDPOINT}: this one is no public address")
    return Serving(wishes.host or known.get("--host", EVERYWHERE), port, address, announced)


def _endpoint(
    wishes: Wishes, known: dict[str, str], port: int, seen: Iterable[str | None]
) -> tuple[str, int]:
    if wishes.announce is not None:
        return wishes.announce
    if "--announce" in known:
        address, announced = endpoint_of(known["--announce"])
        return address, wishes.port or announced
    told = {address for address in seen if address is not None}
    if len(told) != 1:
        shown = ", ".join(sorted(told)) or "no machine tells it"
        raise SettingError("--announce", f"not given, seen as: {shown}", _ENDPOINT)
    return told.pop(), port


def _check_wallet(wishes: Wishes, known: dict[str, str]) -> None:
    """Another hotkey would be another miner: all machines of the agent would go over to it."""
    mine = _options(("", "miner", "serve", *_of_wallet(wishes.wallet)))
    theirs = {name: known.get(name, value) for name, value in mine.items()}
    if theirs != mine:
        options = " ".join(f"{name} {value}" for name, value in theirs.items())
        why = f"the agent runs with {options}: with another hotkey all its machines would be another miner's"
        mend = f"subnet miner onboard {wishes.machines[0].typed} {options}  # or end it first by --no-agent"
        raise OnboardingFailed(AGENT.name, HERE, why, mend)


def _of_wallet(wallet: WalletNames) -> tuple[str, ...]:
    return ("--wallet-path", str(wallet.path.absolute()), "--wallet", wallet.name, "--hotkey", wallet.hotkey)


def _options(words: Sequence[str]) -> dict[str, str]:
    """Of a program that is told `miner serve` and options with a value each."""
    return dict(zip(words[3::2], words[4::2], strict=False))
