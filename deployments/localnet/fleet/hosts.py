"""The fleet's other rig: hosts with real OpenSSH servers on port 22, each in a network of its own, far away.

    python -m deployments.localnet.fleet.hosts --folder FOLDER --executors 20 [--rtt-ms 100 | --rtt-ms far] [--seed 1]

Sessions run the real program and the real prover on simulated cards, so that a host costs seconds of a core: it is a rig
for some hundreds, for what a farm simulates. It needs root, `ip`, `unshare`, `sshd` and /dev/net/tun. It says `ready` when
everything listens. Whoever kills it, the kernel clears everything away: networks, devices, mounts and processes all
hang on one process that dies with this one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from deployments.localnet.cast import Cast
from deployments.localnet.executors import USER, Machine, public_key_blob, session_environment
from deployments.localnet.farm import EXECUTORS_PER_MINER, farm_cast, rtt_of, serve_miner, view_of
from deployments.localnet.fleet.machines import ID_PREFIX
from deployments.localnet.fleet.namespaces import PORT, Plan, Planned
from deployments.localnet.fleet.packets import GATEWAY, address_of, open_tun
from deployments.localnet.fleet.profiles import Conditions, draw
from deployments.localnet.homes import Disks, make_machine, write_whole
from deployments.localnet.setup import Localnet, localnet_of, make_network, one_at_a_time
from deployments.localnet.warming import warm_cache
from deployments.localnet.world import alone, die_with_parent
from deployments.processes import Child, start, tail
from tasks.edges import wire
from tasks.edges.nonces import NonceStore
from tasks.errors import SettingError, SubnetError

MAX_HOSTS = 500
READY_S = 120.0
TOOLS = ("unshare", "ip", "sshd", "mount")
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
REPOSITORY = Path(__file__).parents[3]


class HostsMissing(SubnetError):
    """This computer can't have them; the text says what is missing."""


def why_missing() -> str:
    """What keeps this computer from having hosts; empty when nothing does."""
    if sys.platform != "linux" or os.getuid() != 0:
        return "network namespaces need Linux and root"
    missing = [name for name in TOOLS if shutil.which(name, path=TOOL_PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (openssh-server, iproute2, util-linux)"
    try:
        os.close(open_tun(f"probe{os.getpid() % 100_000}"))
    except OSError as error:
        return f"no TUN device can be had: {error.strerror}"
    return ""


def hosts_cast(executors: int) -> Cast:
    """The farm's cast, at the hosts' addresses; SettingError for too many."""
    if not 1 <= executors <= MAX_HOSTS:
        raise SettingError("executors", str(executors), f"1 to {MAX_HOSTS} hosts")
    farm = farm_cast(executors, -(-executors // EXECUTORS_PER_MINER))
    miners = tuple(
        replace(
            miner,
            executors=tuple(replace(e, address=address_of(_number(e.executor_id))) for e in miner.executors),
        )
        for miner in farm.miners
    )
    return replace(farm, miners=miners)


def prepare_hosts(folder: Path, cast: Cast) -> Localnet:
    """Chain, keys and what lies on the hosts' disks, made or completed."""
    folder = folder.absolute()
    (folder / "miners").mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):
        # The hosts' own port is 22: only the miners' doors need one of ours.
        ports = make_network(
            folder, replace(cast, miners=tuple(replace(m, executors=()) for m in cast.miners))
        )
        disks = Disks(folder)
        machines = tuple(make_machine(disks, executor, PORT) for executor in cast.executors)
        warm_cache(disks.cache)
    return localnet_of(folder, cast, ports, machines)


@contextlib.asynccontextmanager
async def hosted(hosts: Localnet, conditions: Conditions) -> AsyncIterator[Child]:
    """All hosts and their miners' doors, listening."""
    child = await asyncio.to_thread(start_hosts, hosts.folder, hosts.executors, conditions)
    nonces = NonceStore(hosts.folder / "miners" / "nonces.sqlite")
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(child.stop)
        stack.callback(nonces.close)
        view = await asyncio.to_thread(view_of, hosts.chain)
        machines = {machine.executor_id: machine for machine in hosts.executors}
        for miner, cast in zip(hosts.miners, hosts.cast.miners, strict=True):
            offers = [
                (
                    _offer(machines[e.executor_id], e.price_usd_per_hour),
                    machines[e.executor_id].authorized_keys,
                )
                for e in cast.executors
            ]
            await stack.enter_async_context(serve_miner(miner, offers, view, nonces))
        yield child


def start_hosts(folder: Path, machines: tuple[Machine, ...], conditions: Conditions) -> Child:
    """The hosts alone, listening; SubnetError when they don't come up."""
    if reason := why_missing():
        raise HostsMissing(reason)
    if _is_taken():
        raise SettingError("address", GATEWAY, "one that no other fleet of hosts on this computer has")
    plan = Plan(str(folder), _tool("sshd"), _tool("ip"), tuple(_planned(m, conditions) for m in machines))
    file = folder / "plan.json"
    write_whole(file, json.dumps(asdict(plan)), 0o600)
    command = [_tool("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [sys.executable, "-m", "deployments.localnet.fleet.namespaces", str(file)]
    log = folder / "hosts.log"
    child = start("hosts", command, log=log, environment=dict(os.environ), folder=REPOSITORY)
    try:
        child.wait_until(lambda: "ready" in tail(log), READY_S)
    except BaseException:
        child.stop()
        raise
    return child


def main(arguments: list[str] | None = None) -> int:
    """Run the hosts until told to stop; exit code 0, 1 our own trouble, 2 a user's mistake."""
    parser = argparse.ArgumentParser(prog="deployments.localnet.fleet.hosts", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--executors", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rtt-ms", type=rtt_of, default=None)
    given = parser.parse_args(arguments)
    die_with_parent()
    try:
        conditions = Conditions(given.seed, given.rtt_ms)
        hosts = prepare_hosts(given.folder, hosts_cast(given.executors))
        with alone(hosts.folder):
            asyncio.run(_live(hosts, conditions))
    except SubnetError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2 if isinstance(error, SettingError) else 1
    return 0


async def _live(hosts: Localnet, conditions: Conditions) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with hosted(hosts, conditions) as child:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        ended = asyncio.create_task(asyncio.to_thread(child.process.wait))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise SubnetError(f"the hosts have ended; the end of {child.log}:\n{tail(child.log)}")
        stopped.cancel()
        await asyncio.to_thread(partial(child.stop, 2.0))


def _planned(machine: Machine, conditions: Conditions) -> Planned:
    return Planned(
        address=machine.address,
        rtt_ms=draw(conditions, _number(machine.executor_id)).rtt_ms,
        host_key=str(machine.host_key),
        authorized_keys=str(machine.authorized_keys),
        environment=session_environment(machine),
    )


def _offer(machine: Machine, price_usd_per_hour: float) -> wire.Offer:
    return wire.Offer(
        executor_id=machine.executor_id,
        address=machine.address,
        port=PORT,
        user=USER,
        python=str(machine.home / "bin" / "python"),
        host_key=base64.b64encode(public_key_blob(machine.host_key)).decode(),
        price_usd_per_hour=price_usd_per_hour,
    )


def _is_taken() -> bool:
    """Whether the hosts' network is there already: two would answer each other's packets."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((GATEWAY, 0))
        except OSError:
            return False
    return True


def _number(executor_id: str) -> int:
    return int(executor_id.removeprefix(ID_PREFIX))


def _tool(name: str) -> str:
    found = shutil.which(name, path=TOOL_PATH)
    if found is None:
        raise HostsMissing(f"{name} is not installed")
    return found


if __name__ == "__main__":
    code = main()
    # Not sys.exit: it would wait for a thread that waits for the hosts.
    os._exit(code)
