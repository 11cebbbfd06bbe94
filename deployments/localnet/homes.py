"""What lies on the disks of the local subnet's machines: homes, host keys, the cards that they show and have.

    machines/<id>/host_key         what the server answers with
    machines/<id>/announced_key    what its miner announces; the same key, but for the liar
    machines/<id>/gpus.json        what nvidia-smi shows
    machines/<id>/home/            bin/python, bin/nvidia-smi, bin/podman (none), scratch/, .ssh/, .cache/subnet -> cache/
    cards/                         simulated cards: what is really there
    cache/                         provers and compiled kernels, shared by all machines

Everything is made once and kept; a kill at any line leaves what the next call completes.
"""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deployments.localnet import liars, nvidia_smi
from deployments.localnet.cast import CastExecutor, Lie
from deployments.localnet.engine_place import place_of
from deployments.localnet.executors import Machine, make_host_key
from tasks.errors import SettingError
from tasks.inspection.models import Sku, find
from tasks.policy import LOCALNET
from tasks.proof.challenge import parameters_for

# A local machine's engine is the local subnet's own: whatever containers this computer has are none of its business.
_NO_PODMAN = "#!/bin/sh\necho 'podman: not found' >&2\nexit 127\n"


@dataclass(frozen=True, slots=True)
class Disks:
    """The folders under which all machines lie."""

    folder: Path

    @property
    def cards(self) -> Path:
        """Simulated cards, by UUID."""
        return self.folder / "cards"

    @property
    def cache(self) -> Path:
        """Provers and compiled kernels."""
        return self.folder / "cache"

    def machine(self, executor_id: str) -> Path:
        """One machine's folder."""
        return self.folder / "machines" / executor_id


def make_machine(disks: Disks, executor: CastExecutor, port: int) -> Machine:
    """Make what is missing of one machine, and describe it."""
    folder = disks.machine(executor.executor_id)
    home = folder / "home"
    for needed in (home / "bin", home / "scratch", home / ".ssh", home / ".cache", disks.cache, disks.cards):
        needed.mkdir(parents=True, exist_ok=True)
    _link(home / ".cache" / "subnet", disks.cache)
    make_host_key(folder / "host_key")
    make_host_key(announced_key(disks, executor))
    _install_python(home / "bin" / "python", executor)
    _install_nvidia_smi(home / "bin" / "nvidia-smi", folder)
    write_whole(home / "bin" / "podman", _NO_PODMAN, 0o755)
    write_whole(folder / "gpus.json", _shown_cards(executor))
    _add_cards(disks, executor)
    return Machine(
        executor_id=executor.executor_id,
        address=executor.address,
        port=port,
        home=home,
        host_key=folder / "host_key",
        authorized_keys=home / ".ssh" / "authorized_keys",
        environment={
            nvidia_smi.SPEC_VARIABLE: str(folder / "gpus.json"),
            "SUBNET_SIMULATED_CARDS": str(disks.cards),
            # Of the machine's own, as /run/lock is: a card that two machines list is not guarded by a lock of both.
            "SUBNET_PROOF_LOCKS": str(home / "scratch"),
            # One engine for all of them: their containers and volumes are told apart by the machine's key.
            "DOCKER_HOST": place_of(disks.folder).host,
        },
        hangs=executor.lie is Lie.HANGS,
    )


def announced_key(disks: Disks, executor: CastExecutor) -> Path:
    """The private half of the host key that the miner announces."""
    name = "announced_key" if executor.lie is Lie.OTHER_KEY else "host_key"
    return disks.machine(executor.executor_id) / name


def proved_bytes(model: str) -> int:
    """What |D| of one card of this model needs under the local subnet's policy."""
    return parameters_for(sku_of(model), LOCALNET.proof).memory_bytes


def sku_of(model: str) -> Sku:
    """Of a card's model, as nvidia-smi spells it."""
    found = find(model)
    if found is None:
        raise SettingError("model", model, "a name of tasks/inspection/models.py")
    return found.skus[0]


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that is either the old one or the whole new one."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.chmod(mode)
    partial.replace(path)


def _shown_cards(executor: CastExecutor) -> str:
    return nvidia_smi.cards_json(executor.model, executor.card_uuids, sku_of(executor.model).nominal_mib)


def _add_cards(disks: Disks, executor: CastExecutor) -> None:
    """The memory that is really there: what the proof needs, half of it where the machine folds."""
    if executor.twin_of is not None:
        return  # the card is another machine's: that machine's budget is all there is
    needed = proved_bytes(executor.model)
    budget = needed // 2 if executor.lie is Lie.FOLDS else needed
    for card_uuid in executor.card_uuids:
        if not _has_card(disks, card_uuid, budget):
            from kernels.cards import add_simulated_card  # noqa: PLC0415  loads NumPy and Numba, a second

            add_simulated_card(disks.cards, card_uuid, budget)


def _has_card(disks: Disks, card_uuid: str, budget: int) -> bool:
    try:
        return (disks.cards / card_uuid / "total").read_text() == str(budget)
    except FileNotFoundError:
        return False


def _install_python(path: Path, executor: CastExecutor) -> None:
    words = {Lie.FOLDS: "folds", Lie.LAZY: "lazy", Lie.ALIAS: f"alias={executor.real_card_uuid}"}
    lying = [str(Path(liars.__file__).resolve()), words[executor.lie]] if executor.lie in words else []
    command = shlex.join([sys.executable, *lying])
    write_whole(path, f'#!/bin/sh\nexec {command} "$@"\n', 0o755)


def _install_nvidia_smi(path: Path, folder: Path) -> None:
    """By way of a folder beside it: the machine may be answering while its tool is written again."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".installing-") as fresh:
        made = nvidia_smi.install(Path(fresh), Path(sys.executable))
        write_whole(path, made.read_text(encoding="utf-8"), 0o755)


def _link(path: Path, target: Path) -> None:
    if path.is_symlink() and path.readlink() == target:
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(path)
