"""Which of the agent's machines is which: a machine has one place, and one name for validators."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from tasks.edges.wire import Offer
from tasks.errors import OnboardingFailed
from tasks.onboarding.machine import Machine
from tasks.onboarding.stages import OFFER


def is_at(offer: Offer, machine: Machine) -> bool:
    """Whether the agent's file has this place, however its address is written; a machine without one is nowhere."""
    if not machine.address or offer.port != machine.port:
        return False
    return ipaddress.ip_address(offer.address) == ipaddress.ip_address(machine.address)


def clash(
    name: str,
    machine: Machine,
    offers: Iterable[Offer],
    others: Mapping[str, Machine],
    known_as: str | None,
) -> OnboardingFailed | None:
    """Why it can't be offered by this name; `others`: of the same run, `known_as`: the machine that had the name last."""
    other_name = f"subnet miner onboard {machine.typed} --id NAME"
    by_id = {offer.executor_id: offer for offer in offers}
    there = next((offer for offer in by_id.values() if is_at(offer, machine)), None)
    same = next((one for one in others.values() if _place(one) == _place(machine)), None)
    if same is not None:
        why, mend = f"it is the same machine as {same.typed}", f"subnet miner onboard {same.typed}"
    elif there is not None and there.executor_id != name:
        why = f"the agent offers it as {there.executor_id}, not {name}"
        mend = f"subnet miner onboard {machine.typed} --id {there.executor_id}"
    elif there is None and (offer := by_id.get(name)) is not None:
        why = f"{name} is at {offer.address} port {offer.port} in the agent's file"
        mend = f"{other_name}  # or, if it has moved: subnet miner machines remove {name}"
    elif name in others:
        why, mend = f"{name} is {others[name].typed}", other_name
    elif there is None and known_as not in (None, machine.label):
        why, mend = f"{name} is the name of {known_as}", other_name
    else:
        return None
    return OnboardingFailed(OFFER.name, machine.label, why, mend)


def _place(machine: Machine) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    return ipaddress.ip_address(machine.address), machine.port
