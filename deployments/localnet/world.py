"""The local subnet's inhabitants in one process: `python -m deployments.localnet.world --folder FOLDER`.

All miners' doors, all machines' SSH servers, and the two other validators. It prints `ready` when everything
listens, ends at once on SIGTERM and SIGINT, and with its parent; it writes only under its folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.executors import serve_machines
from deployments.localnet.roles import open_chain, wallet_of
from deployments.localnet.setup import LocalMiner, Localnet, prepare, world_lock
from deployments.localnet.witnesses import keep_true_weights
from deployments.miner.admission import Admission
from deployments.miner.agent import build_app
from deployments.miner.listening import serve
from storage.records import SubnetView
from tasks.edges.chain import Chain
from tasks.edges.nonces import NonceStore
from tasks.errors import ChainRefused, SettingError, SubnetError, TransportError
from tasks.offering.config import MinerConfig, load_config

VIEW_EVERY_S = 2.0
LOCK_DEADLINE_S = 2.0
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str] | None = None) -> int:
    """Live in the folder until told to stop; exit code 0, 1 our own trouble, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="deployments.localnet.world", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the local subnet lies")
    folder: Path = parser.parse_args(arguments).folder
    die_with_parent()
    try:
        localnet = prepare(folder)
        with alone(localnet.folder):
            asyncio.run(_live(localnet))
    except SettingError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except SubnetError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies (Linux; elsewhere the parent has to)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)  # it died before the kernel knew


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; `prepare` of another process may be looking at it for a moment."""
    with world_lock(folder).open("a") as lock:
        if not _take(lock):
            raise SettingError("folder", str(folder), "a folder in which no other local subnet lives")
        yield


@contextlib.asynccontextmanager
async def inhabited(localnet: Localnet) -> AsyncIterator[None]:
    """The whole subnet alive: machines, doors, and the other validators, each following the chain."""
    miners = [(miner, load_config(miner.config)) for miner in localnet.miners]
    admissions = {m.name: Admission(c.min_validator_stake_rao, c.allowed_validators) for m, c in miners}
    chains = _witnesses(localnet)
    nonces = NonceStore(localnet.folder / "miners" / "nonces.sqlite")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(nonces.close)
        for chain in chains:
            stack.callback(chain.close)
        _admit(admissions, await asyncio.to_thread(chains[0].view))
        await stack.enter_async_context(serve_machines(localnet.executors))
        for miner, config in miners:
            await stack.enter_async_context(_door(miner, config, admissions[miner.name], nonces))
        hotkeys = {m.name: dev_wallet(m.name).hotkey.ss58_address for m in localnet.cast.miners}
        following = [asyncio.create_task(_keep_view(chains[0], admissions))]
        following += [asyncio.create_task(keep_true_weights(c, localnet.cast, hotkeys)) for c in chains]
        try:
            yield
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)


async def _live(localnet: Localnet) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with inhabited(localnet):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stop.wait()


def _take(lock: IO[str]) -> bool:
    until = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        else:
            return True


def _witnesses(localnet: Localnet) -> list[Chain]:
    names = [validator.name for validator in localnet.cast.validators[1:]]
    return [open_chain(localnet.chain, wallet_of(localnet.wallets, localnet.cast, name)) for name in names]


def _door(
    miner: LocalMiner, config: MinerConfig, admission: Admission, nonces: NonceStore
) -> contextlib.AbstractAsyncContextManager[int]:
    return serve(
        build_app(config, dev_wallet(miner.name).hotkey, admission, nonces), miner.address, miner.port
    )


def _admit(admissions: dict[str, Admission], view: SubnetView) -> None:
    for admission in admissions.values():
        admission.view = view


async def _keep_view(chain: Chain, admissions: dict[str, Admission]) -> None:
    """Keep what the doors know of the subnet fresh."""
    while True:
        await asyncio.sleep(VIEW_EVERY_S)
        try:
            _admit(admissions, await asyncio.to_thread(chain.view))
        except (TransportError, ChainRefused) as error:
            sys.stderr.write(f"doors: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
