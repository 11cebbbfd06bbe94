"""Setting the local subnet up: chain, wallets, places, machines, miners' files, compiled kernels.

`prepare` makes what is missing and leaves the rest alone; a kill at any line leaves what the next call completes.
Everything lies under the one folder that it is given.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.localnet.cast import CAST, Cast, CastMiner
from deployments.localnet.executors import ANNOUNCED_PYTHON, USER, Machine, public_key_blob
from deployments.localnet.homes import Disks, announced_key, make_machine, write_whole
from deployments.localnet.ports import choose_ports
from deployments.localnet.roles import HOTKEY, NETUID, make_chain, make_wallet, take_places
from deployments.localnet.warming import warm_cache


@dataclass(frozen=True, slots=True)
class LocalMiner:
    """One miner of the local subnet: its keys go by its name, its agent listens here."""

    name: str
    address: str
    port: int
    config: Path
    """The miner's own file, as `tasks/offering/config.py` has it."""


@dataclass(frozen=True, slots=True)
class Localnet:
    """A local subnet that is set up."""

    folder: Path
    chain: Path
    netuid: int
    wallets: Path
    validator: str
    """Name of our validator's wallet."""
    hotkey: str
    cast: Cast
    miners: tuple[LocalMiner, ...]
    executors: tuple[Machine, ...]


def prepare(folder: Path, cast: Cast = CAST) -> Localnet:
    """Set the local subnet up in this folder, or complete it; quick where everything is there."""
    folder = folder.absolute()
    (folder / "miners").mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):
        return _prepare(folder, cast)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Two commands at once don't set one folder up together: the second waits for the first."""
    with (folder / "setup.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def world_lock(folder: Path) -> Path:
    """Locked by the world of this folder for as long as it lives."""
    return folder / "world.lock"


def make_network(folder: Path, cast: Cast) -> dict[str, int]:
    """Chain, keys, ports and everybody's place on the chain; gives the ports by name."""
    chain, wallets = folder / "chain.sqlite", folder / "wallets"
    wallets.mkdir(parents=True, exist_ok=True)
    addresses = {m.name: m.address for m in cast.miners} | {e.executor_id: e.address for e in cast.executors}
    ports = choose_ports(folder / "ports.json", addresses, is_up=is_world_up(folder))
    make_wallet(wallets, cast.validators[0].name)
    make_chain(chain, cast, wallets)
    take_places(chain, cast, wallets, ports)
    return ports


def _prepare(folder: Path, cast: Cast) -> Localnet:
    disks, ports = Disks(folder), make_network(folder, cast)
    machines = tuple(make_machine(disks, e, ports[e.executor_id]) for e in cast.executors)
    for miner in cast.miners:
        _write_config(folder, disks, miner, ports)
    warm_cache(disks.cache)
    return localnet_of(folder, cast, ports, machines)


def localnet_of(
    folder: Path, cast: Cast, ports: Mapping[str, int], machines: tuple[Machine, ...] = ()
) -> Localnet:
    """The record of what was set up."""
    return Localnet(
        folder=folder,
        chain=folder / "chain.sqlite",
        netuid=NETUID,
        wallets=folder / "wallets",
        validator=cast.validators[0].name,
        hotkey=HOTKEY,
        cast=cast,
        miners=tuple(LocalMiner(m.name, m.address, ports[m.name], _config(folder, m)) for m in cast.miners),
        executors=machines,
    )


def is_world_up(folder: Path) -> bool:
    """Whether a world lives in this folder."""
    with world_lock(folder).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _config(folder: Path, miner: CastMiner) -> Path:
    return folder / "miners" / f"{miner.name}.toml"


def _write_config(folder: Path, disks: Disks, miner: CastMiner, ports: Mapping[str, int]) -> None:
    entries = [_entry(disks, miner, number, ports) for number in range(len(miner.executors))]
    memory = json.dumps(str(folder / "miners" / miner.name), ensure_ascii=False)
    write_whole(_config(folder, miner), "\n".join([f"folder = {memory}", *entries]))


def _entry(disks: Disks, miner: CastMiner, number: int, ports: Mapping[str, int]) -> str:
    executor = miner.executors[number]
    blob = public_key_blob(announced_key(disks, executor))
    values = {
        "id": executor.executor_id,
        "address": executor.address,
        "port": ports[executor.executor_id],
        "user": USER,
        "python": ANNOUNCED_PYTHON,
        "host_key": base64.b64encode(blob).decode(),
        "authorized_keys": str(disks.machine(executor.executor_id) / "home" / ".ssh" / "authorized_keys"),
        "price_usd_per_hour": executor.price_usd_per_hour,
    }
    # A JSON string or number is a TOML one too.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(["[[executor]]", *lines, ""])
