"""Which of the agent's machines is which: a machine has one place, and one name for validators."""

from __future__ import annotations

import ipaddress

from tasks.edges.wire import Offer
from tasks.onboarding.machine import Machine


def is_at(offer: Offer, machine: Machine) -> bool:
    """Whether the agent's file has this place, however its address is written; a machine without one is nowhere."""
    if not machine.address or offer.port != machine.port:
        return False
    return ipaddress.ip_address(offer.address) == ipaddress.ip_address(machine.address)
