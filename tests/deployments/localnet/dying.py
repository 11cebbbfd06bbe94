"""Sets a machine's files up again and again in fresh folders, each time killed one step later, and then completes it.

`python dying.py FOLDER` prints how many steps there were. A step is anything that the interpreter audits: a file
opened, a folder made, a name given or taken. Runs as a process of its own, because it forks.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import asyncssh
import bittensor as bt

from deployments.localnet.cast import Cast, CastExecutor, CastMiner, CastValidator, Lie
from deployments.localnet.homes import Disks, announced_key, make_machine
from deployments.localnet.ports import choose_ports
from deployments.localnet.roles import make_wallet
from kernels.cards import FolderCards  # before the first fork: every child would load it again
from tasks.offering.config import load_config

KILLED = 9
STEPS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.symlink",
    "os.chmod",
    "os.remove",
    "os.rmdir",
    "tempfile.mkdtemp",
}
EXECUTOR = CastExecutor("one", "127.0.1.1", "NVIDIA L4", 1, 0.4, Lie.OTHER_KEY)
CAST = Cast("owner", (CastValidator("validator", 1.0),), (CastMiner("miner", "127.0.0.2", (EXECUTOR,)),))


def make_files(folder: Path) -> None:
    """Everything that `prepare` writes itself; the chain's file and the compiled kernels have their own makers."""
    from deployments.localnet.setup import _write_config

    for needed in (folder / "miners", folder / "wallets"):
        needed.mkdir(parents=True, exist_ok=True)
    ports = choose_ports(folder / "ports.json", {"miner": "127.0.0.2", "one": "127.0.1.1"}, is_up=False)
    make_wallet(folder / "wallets", "validator")
    make_machine(Disks(folder), EXECUTOR, ports["one"])
    _write_config(folder, Disks(folder), CAST.miners[0], ports)


def make_until(folder: Path, step: int) -> bool:
    """Make the files in a child that is killed before this step; whether it was."""
    pid = os.fork()
    if pid == 0:
        left = step

        def count(event: str, _: object) -> None:
            nonlocal left
            left -= event in STEPS
            if left < 0:
                os._exit(KILLED)

        sys.addaudithook(count)
        make_files(folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED


def check(folder: Path) -> None:
    """Complete what was left, and see that all of it is usable."""
    make_files(folder)
    wallet = bt.Wallet("validator", "default", path=str(folder / "wallets"))
    assert wallet.coldkey.ss58_address != wallet.hotkey.ss58_address
    config = load_config(folder / "miners" / "miner.toml")
    announced = asyncssh.read_private_key(announced_key(Disks(folder), EXECUTOR))
    assert config.executors[0].offer.host_key in announced.export_public_key().decode()
    FolderCards(folder / "cards").open(EXECUTOR.card_uuids[0]).allocate(32)
    for tool in ("python", "nvidia-smi"):
        assert os.access(folder / "machines" / "one" / "home" / "bin" / tool, os.X_OK)


if __name__ == "__main__":
    steps = 0
    while make_until(Path(sys.argv[1]) / str(steps), steps):
        check(Path(sys.argv[1]) / str(steps))
        steps += 1
    print(steps)
