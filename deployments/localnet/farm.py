"""The farm: hundreds of machines in one process, for measuring what a validator costs.

    python -m deployments.localnet.farm --folder FOLDER --executors 100 [--miners 2]

Every machine has an asyncssh listener on a loopback address of its own and its own host key; sessions are answered
in this process (`scripted.py`). One or more miners announce them, on an embedded chain of the farm's own. It prints
`ready` when everything listens, a line of JSON with the CPU seconds since then for each line `cpu` on stdin, and the
same at its end on SIGTERM, SIGINT or with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from deployments.localnet.cast import Cast, CastExecutor, CastMiner, CastValidator
from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.executors import ANNOUNCED_PYTHON, USER, KeyDoor
from deployments.localnet.roles import open_chain
from deployments.localnet.scripted import MODEL, Recording, answer_session, record_facts
from deployments.localnet.setup import Localnet, localnet_of, make_network, one_at_a_time
from deployments.localnet.world import alone, die_with_parent
from deployments.miner.admission import Admission
from deployments.miner.agent import build_app
from deployments.miner.bounds import Bounds
from deployments.miner.listening import serve
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.errors import SettingError, SubnetError
from tasks.offering.config import MinerConfig, MinerExecutor

MAX_EXECUTORS = 1_000
EXECUTORS_PER_MINER = wire.MAX_EXECUTORS
THREAD_STACK_BYTES = 512 * 1024
OPEN_DOOR = Bounds(requests_per_s=1_000.0, burst=1_000)
"""Whoever measures runs epochs one after the other, faster than any door lets them in."""


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """What the farm has used since it was ready."""

    total_s: float
    ssh_s: float
    """The loop: SSH servers, miners' doors, frames."""
    prover_s: float
    """All other threads: the provers."""


def farm_cast(executors: int, miners: int) -> Cast:
    """A cast of so many honest machines with one card each, spread evenly over the miners."""
    if not 1 <= executors <= MAX_EXECUTORS:
        raise SettingError("executors", str(executors), f"1 to {MAX_EXECUTORS}")
    if not -(-executors // EXECUTORS_PER_MINER) <= miners <= min(executors, 100):
        wanted = f"{-(-executors // EXECUTORS_PER_MINER)} to {min(executors, 100)}"
        raise SettingError("miners", str(miners), f"{wanted}: one announces at most {EXECUTORS_PER_MINER}")
    numbers = [range(executors)[first::miners] for first in range(miners)]
    return Cast(
        owner="owner",
        validators=(CastValidator("validator", 4_000.0), CastValidator("witness-1", 3_000.0)),
        miners=tuple(
            CastMiner(f"farmer-{i}", f"127.0.2.{i + 1}", tuple(_executor(n) for n in mine))
            for i, mine in enumerate(numbers)
        ),
    )


def prepare_farm(folder: Path, executors: int, miners: int) -> Localnet:
    """The farm's chain and keys, made or completed; what a validator needs to find it."""
    folder = folder.absolute()
    (folder / "miners").mkdir(parents=True, exist_ok=True)
    cast = farm_cast(executors, miners)
    with one_at_a_time(folder):
        return localnet_of(folder, cast, make_network(folder, cast))


@contextlib.asynccontextmanager
async def farmed(farm: Localnet, recording: Recording) -> AsyncIterator[None]:
    """All machines and doors of the farm, listening."""
    chain, nonces = open_chain(farm.chain), NonceStore(farm.folder / "miners" / "nonces.sqlite")
    threading.stack_size(THREAD_STACK_BYTES)
    pool = ThreadPoolExecutor(len(farm.cast.executors), "prover")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        stack.callback(nonces.close)
        view = await asyncio.to_thread(chain.view)
        chain.close()
        ports = {m.name: m.port for m in farm.miners}
        for miner in farm.cast.miners:
            keys = farm.folder / "miners" / f"{miner.name}.authorized_keys"
            offers = [
                await stack.enter_async_context(_machine(executor, keys, recording, pool))
                for executor in miner.executors
            ]
            config = MinerConfig(tuple(MinerExecutor(offer, keys) for offer in offers))
            admission = Admission(config.min_validator_stake_rao, view=view)
            app = build_app(config, dev_wallet(miner.name).hotkey, admission, nonces, bounds=OPEN_DOOR)
            await stack.enter_async_context(serve(app, miner.address, ports[miner.name]))
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run the farm until told to stop; exit code 0, 1 our own trouble, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="deployments.localnet.farm", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--executors", type=int, default=100)
    parser.add_argument("--miners", type=int, default=None)
    given = parser.parse_args(arguments)
    die_with_parent()
    miners = given.miners or max(1, -(-given.executors // EXECUTORS_PER_MINER))
    try:
        farm = prepare_farm(given.folder, given.executors, miners)
        recording = record_facts(farm.folder / "recorded")
        with alone(farm.folder):
            asyncio.run(_live(farm, recording))
    except SubnetError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2 if isinstance(error, SettingError) else 1
    return 0


async def _live(farm: Localnet, recording: Recording) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with farmed(farm, recording):
        meter = _Meter()
        with _commands(loop, meter):
            _say("ready")
            await stop.wait()
        _say(meter.report())


class _Meter:
    """CPU seconds since it was made, split by thread; asked in the loop's own thread."""

    def __init__(self) -> None:
        self._process_s, self._loop_s = time.process_time(), time.thread_time()

    def read(self) -> CpuSeconds:
        """What was used until now."""
        total_s, loop_s = time.process_time() - self._process_s, time.thread_time() - self._loop_s
        return CpuSeconds(total_s, loop_s, max(0.0, total_s - loop_s))

    def report(self) -> str:
        """The same as one line of JSON."""
        used = self.read()
        return json.dumps({"total_s": used.total_s, "ssh_s": used.ssh_s, "prover_s": used.prover_s})


@contextlib.contextmanager
def _commands(loop: asyncio.AbstractEventLoop, meter: _Meter) -> Iterator[None]:
    """Answer each `cpu` on stdin; what else comes is ignored, and its end is no reason to stop."""

    def hear() -> None:
        heard = os.read(0, 4096)
        if not heard:
            loop.remove_reader(0)
        for _ in range(heard.count(b"cpu")):
            _say(meter.report())

    try:
        loop.add_reader(0, hear)
    except (OSError, ValueError):  # stdin is a file or closed: nobody will ask
        yield
        return
    try:
        yield
    finally:
        loop.remove_reader(0)


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@contextlib.asynccontextmanager
async def _machine(
    executor: CastExecutor, keys: Path, recording: Recording, pool: ThreadPoolExecutor
) -> AsyncIterator[wire.Offer]:
    """One listening machine; gives what its miner announces."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    (card_uuid,) = executor.card_uuids

    async def answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await answer_session(process, recording, card_uuid, pool)

    acceptor = await asyncssh.create_server(
        lambda: KeyDoor(keys),
        executor.address,
        0,
        server_host_keys=[host_key],
        process_factory=answer,
        encoding=None,
        allow_pty=False,
        line_editor=False,
        compression_algs=None,
        server_version="OpenSSH_9.6",
    )
    try:
        yield wire.Offer(
            executor_id=executor.executor_id,
            address=executor.address,
            port=acceptor.get_port(),
            user=USER,
            python=ANNOUNCED_PYTHON,
            host_key=base64.b64encode(host_key.public_data).decode(),
            price_usd_per_hour=executor.price_usd_per_hour,
        )
    finally:
        acceptor.close()


def _executor(number: int) -> CastExecutor:
    address = f"127.{3 + number // 250}.0.{number % 250 + 1}"
    return CastExecutor(f"farm-{number}", address, MODEL, 1, 0.4)


if __name__ == "__main__":
    code = main()
    # Not sys.exit: it would wait for provers whose validator never comes back.
    os._exit(code)
