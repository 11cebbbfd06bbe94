"""The farm: thousands of machines in one process or a few, for measuring what a validator costs.

    python -m deployments.localnet.farm --folder FOLDER --executors 100 [--miners 2] [--processes 1]
        [--seed 1] [--rtt-ms 0 | --rtt-ms far] [--wait 5-20] [--faults 0.1 | --honest 500] [--lines]

Every machine has an asyncssh listener on a loopback address of its own and its own host key; sessions are answered
in this process (`scripted.py`), as far away and as broken as the machine's profile has it (`fleet/profiles.py`). One
or more miners announce them, on an embedded chain of the farm's own; each process serves whole miners. It prints `ready`
when everything listens, a line of JSON with the CPU seconds since then for each line `cpu` on stdin, and the same at
its end on SIGTERM, SIGINT or with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deployments.localnet.cast import Cast, CastExecutor, CastMiner, CastValidator
from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.fleet.machines import ID_PREFIX, Ground, Recordings, machine
from deployments.localnet.fleet.profiles import Conditions
from deployments.localnet.fleet.shards import Shard, serve_shards
from deployments.localnet.roles import open_chain
from deployments.localnet.scripted import MODEL
from deployments.localnet.setup import LocalMiner, Localnet, localnet_of, make_network, one_at_a_time
from deployments.localnet.world import alone, die_with_parent
from deployments.miner.admission import Admission
from deployments.miner.agent import build_app
from deployments.miner.bounds import Bounds
from deployments.miner.listening import serve
from storage.records import SubnetView
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.errors import SettingError, SubnetError
from tasks.offering.config import MinerConfig, MinerExecutor

MAX_EXECUTORS = 10_000
MAX_MINERS = 100
EXECUTORS_PER_MINER = wire.MAX_EXECUTORS
EXECUTORS_PER_PROCESS = 4_000
"""Each has a listener and, when it is visited, a connection: twice as many descriptors, of 20,000 that a process may have."""
OPEN_DOOR = Bounds(requests_per_s=1_000.0, burst=1_000)
"""Whoever measures runs epochs one after the other, faster than any door lets them in."""


@dataclass(frozen=True, slots=True)
class CpuSeconds:
    """What the farm has used since it was ready."""

    total_s: float
    ssh_s: float
    """SSH servers, miners' doors, frames."""
    prover_s: float
    """The cards' work."""


def farm_cast(executors: int, miners: int) -> Cast:
    """A cast of so many honest machines with one card each, spread evenly over the miners."""
    if not 1 <= executors <= MAX_EXECUTORS:
        raise SettingError("executors", str(executors), f"1 to {MAX_EXECUTORS}")
    if not -(-executors // EXECUTORS_PER_MINER) <= miners <= min(executors, MAX_MINERS):
        wanted = f"{-(-executors // EXECUTORS_PER_MINER)} to {min(executors, MAX_MINERS)}"
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
async def farmed(
    farm: Localnet, recordings: Recordings, conditions: Conditions, shard: Shard
) -> AsyncIterator[Ground]:
    """The shard's machines and doors, listening."""
    _allow_many_files()
    nonces = NonceStore(farm.folder / "miners" / f"nonces-{shard.number}.sqlite")
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "prover")
    ground = Ground(conditions, recordings, pool)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        stack.callback(nonces.close)
        view = await asyncio.to_thread(view_of, farm.chain)
        miners = {m.name: m for m in farm.miners}
        for miner in shard.part_of(farm.cast.miners):
            keys = farm.folder / "miners" / f"{miner.name}.authorized_keys"
            offers = [
                await stack.enter_async_context(machine(executor, keys, ground))
                for executor in miner.executors
            ]
            door = serve_miner(miners[miner.name], [(offer, keys) for offer in offers], view, nonces)
            await stack.enter_async_context(door)
        yield ground


def serve_miner(
    miner: LocalMiner, offers: Sequence[tuple[wire.Offer, Path]], view: SubnetView, nonces: NonceStore
) -> contextlib.AbstractAsyncContextManager[int]:
    """The door of a miner with these machines, each with the file that lets validators in."""
    config = MinerConfig(tuple(MinerExecutor(offer, keys) for offer, keys in offers))
    admission = Admission(config.min_validator_stake_rao, view=view)
    app = build_app(config, dev_wallet(miner.name).hotkey, admission, nonces, bounds=OPEN_DOOR)
    return serve(app, miner.address, miner.port)


def main(arguments: list[str] | None = None) -> int:
    """Run the farm until told to stop; exit code 0, 1 our own trouble, 2 a user's mistake."""
    given = _parser().parse_args(arguments)
    die_with_parent()
    miners = given.miners or max(1, -(-given.executors // EXECUTORS_PER_MINER))
    try:
        conditions = Conditions(given.seed, given.rtt_ms, given.wait, given.faults, given.lines, given.honest)
        prepare = partial(prepare_farm, given.folder, given.executors, miners)
        processes = min(miners, given.processes or -(-given.executors // EXECUTORS_PER_PROCESS))
        given.folder.mkdir(parents=True, exist_ok=True)
        with alone(given.folder):
            if processes == 1:
                _run(prepare, conditions, Shard(0, 1))
            else:
                serve_shards(processes, prepare, partial(_run, prepare, conditions))
    except SubnetError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2 if isinstance(error, SettingError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deployments.localnet.farm", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--executors", type=int, default=100)
    parser.add_argument("--miners", type=int, default=None)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rtt-ms", type=rtt_of, default=0.0)
    parser.add_argument("--wait", type=wait_of, default=(0.0, 0.0))
    parser.add_argument("--faults", type=float, default=0.0)
    parser.add_argument("--honest", type=int, default=None)
    parser.add_argument("--lines", action="store_true", help="machines have lines of 50 to 1,000 Mbit/s")
    return parser


def rtt_of(text: str) -> float | None:
    """Milliseconds; None, drawn for each machine, for the word `far`."""
    return None if text == "far" else float(text)


def wait_of(text: str) -> tuple[float, float]:
    """`5-20` or `5`: least and most seconds."""
    least, _, most = text.partition("-")
    return float(least), float(most or least)


def _run(prepare: Callable[[], Localnet], conditions: Conditions, shard: Shard) -> None:
    asyncio.run(_live(prepare(), conditions, shard))


async def _live(farm: Localnet, conditions: Conditions, shard: Shard) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    recordings = Recordings.made_in(farm.folder / f"shard-{shard.number}")
    async with farmed(farm, recordings, conditions, shard) as ground:
        meter = _Meter(ground)
        with _commands(loop, meter):
            _say("ready")
            await stop.wait()
        _say(meter.report())


def view_of(path: Path) -> SubnetView:
    """The subnet as this chain has it now."""
    chain = open_chain(path)
    try:
        return chain.view()
    finally:
        chain.close()


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Meter:
    """CPU seconds since it was made, those of the provers apart."""

    def __init__(self, ground: Ground) -> None:
        self._bench, self._process_s = ground.bench, time.process_time()

    def read(self) -> CpuSeconds:
        """What was used until now."""
        total_s, prover_s = time.process_time() - self._process_s, self._bench.used_s
        return CpuSeconds(total_s, max(0.0, total_s - prover_s), prover_s)

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


def _executor(number: int) -> CastExecutor:
    address = f"127.{3 + number // 250}.0.{number % 250 + 1}"
    return CastExecutor(f"{ID_PREFIX}{number}", address, MODEL, 1, 0.4)


if __name__ == "__main__":
    code = main()
    # Not sys.exit: it would wait for provers whose validator never comes back.
    os._exit(code)
