"""Machines to look at, and the way in that their miner has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet import executors
from deployments.localnet.executors import ANNOUNCED_PYTHON, USER
from deployments.localnet.homes import Disks, make_machine
from tasks.edges.shell import EpochKey
from tasks.onboarding.login import load_ssh_key
from tasks.onboarding.machine import Machine
from tests.deployments.localnet.visiting import cast, let_key_in, served


def make_ssh_key(file: Path, passphrase: str = "") -> EpochKey:
    """A miner's own key, in this file."""
    how = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, how
    )
    file.write_bytes(pem)
    return load_ssh_key(file, passphrase or None)


@contextlib.contextmanager
def farm(folder: Path, key: EpochKey, *ids: str) -> Iterator[dict[str, executors.Machine]]:
    """Local machines with simulated cards and real SSH, which let this key in; no kernel is compiled for them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {i: make_machine(Disks(folder), cast(i), 0) for i in ids}
    for machine in made.values():
        let_key_in(machine, key)
    with served(made) as up:
        yield up


def reached(machine: executors.Machine, **changes: object) -> Machine:
    """The machine as its miner names it."""
    seen = Machine(machine.address, machine.port, USER, ANNOUNCED_PYTHON)
    return replace(seen, **changes)  # type: ignore[arg-type]


def install(machine: executors.Machine, name: str, script: str) -> None:
    """A program of this name on the machine, before whatever it has."""
    file = machine.home / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
