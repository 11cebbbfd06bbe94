"""Ports of the local subnet: chosen once for a folder, kept, and chosen anew only where somebody else took one."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from pathlib import Path

from deployments.localnet.homes import write_whole

FIRST_PORT, PORTS = 20_000, 10_000
"""Below what the system gives to outgoing connections."""


def choose_ports(path: Path, addresses: Mapping[str, str], *, is_up: bool) -> dict[str, int]:
    """A port for each name on its address; while the subnet is up its own ports are taken, and kept."""
    kept = _read(path)
    chosen = {
        name: kept[name]
        if name in kept and (is_up or _is_free(address, kept[name]))
        else _pick(path, address)
        for name, address in addresses.items()
    }
    write_whole(path, json.dumps(chosen, indent=1) + "\n")
    return chosen


def _read(path: Path) -> dict[str, int]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): int(port) for name, port in told.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _pick(path: Path, address: str) -> int:
    """The first free port from a place that hangs on the folder, so that two local subnets seldom meet."""
    start = int.from_bytes(hashlib.blake2s(str(path.resolve()).encode(), digest_size=4).digest())
    candidates = (FIRST_PORT + (start + step) % PORTS for step in range(PORTS))
    return next(port for port in candidates if _is_free(address, port))


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except (OSError, OverflowError):
            return False
    return True
