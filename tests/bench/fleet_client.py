"""What the fleet rig itself carries: `python -m tests.bench.fleet_client --executors 3000 [--clients 2] [--rate 150]`.

A bare asyncssh client talks to every machine as a validator does: connect, login, facts, a whole proof, none of which it
judges, with all sessions open side by side. What goes wrong here is the rig's fault, and the CPU that the fleet takes
for it is what it takes away from a validator on the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import asyncssh

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.farm import EXECUTORS_PER_MINER, prepare_farm, rtt_of
from deployments.localnet.fleet.measuring import VALIDATOR, Watch
from deployments.localnet.roles import open_chain, wallet_of
from deployments.processes import start, tail
from kernels.messages import End, Multiply, Open, Walk, encode
from storage.records import Executor
from tasks.edges.peers import Peers, PeerSettings
from tasks.edges.shell import LOADER
from tasks.inspection.facts import COMMANDS
from tasks.inspection.models import find
from tasks.policy import FLEET
from tasks.proof.archive import prover_archive
from tasks.proof.challenge import Origin, challenge_for
from tests.bench.paths import FOLDER, REPOSITORY

DEADLINE_S = 600.0
KEY_LIFE_S = 900


async def _executors(folder: Path, count: int, key_line: str) -> list[Executor]:
    """All machines, as their miners announce them."""
    farm = prepare_farm(folder, count, -(-count // EXECUTORS_PER_MINER))
    wallet = wallet_of(farm.wallets, farm.cast, farm.validator)
    chain = open_chain(farm.chain)
    view = await asyncio.to_thread(chain.view)
    chain.close()
    async with Peers(wallet.hotkey, PeerSettings(allow_private=True)) as peers:
        neurons = [view.by_hotkey(dev_wallet(m.name).hotkey.ss58_address) for m in farm.miners]
        until = int(time.time()) + KEY_LIFE_S
        replies = await asyncio.gather(*(peers.ask(n, 1, key_line, until) for n in neurons if n))
    return [executor for reply in replies for executor in reply.executors]


async def _talk_to_all(executors: list[Executor], pem: str, rate: float) -> Counter[str]:
    """How each conversation ended."""
    key, ended = asyncssh.import_private_key(pem), Counter[str]()
    began = time.monotonic()

    async def one(number: int, executor: Executor) -> None:
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        try:
            async with asyncio.timeout(DEADLINE_S):
                await _talk(executor, key)
            ended["ok"] += 1
        except (OSError, asyncssh.Error, asyncio.IncompleteReadError, TimeoutError) as error:
            ended[f"{type(error).__name__}: {error}"[:80]] += 1

    await asyncio.gather(*(one(n, e) for n, e in enumerate(executors)))
    return ended


async def _talk(executor: Executor, key: asyncssh.SSHKey) -> None:
    host_key = f"[{executor.address}]:{executor.port} ssh-ed25519 {b64encode(executor.host_key).decode()}"
    async with asyncssh.connect(
        executor.address,
        executor.port,
        username=executor.user,
        client_keys=[key],
        known_hosts=asyncssh.import_known_hosts(host_key),
        # As paramiko chooses them: what they cost the fleet is what a validator's session costs it.
        kex_algs=["curve25519-sha256"],
        encryption_algs=["aes128-ctr"],
        mac_algs=["hmac-sha2-256"],
        compression_algs=None,
        config=None,
        agent_path=None,
    ) as connection:
        command = f"exec {executor.python} -I -c '{LOADER}'"
        async with connection.create_process(command, encoding=None) as process:

            async def ask(frame: bytes, *, is_answered: bool = True) -> bytes:
                process.stdin.write(len(frame).to_bytes(4, "big") + frame)
                if not is_answered:
                    return b""
                size = int.from_bytes(await process.stdout.readexactly(4), "big")
                return await process.stdout.readexactly(size)

            await ask(b"program", is_answered=False)
            wanted = [{"name": c.name} for c in COMMANDS]
            facts = json.loads(await ask(json.dumps({"do": "facts", "commands": wanted}).encode()))
            assert len(facts["facts"]) == len(COMMANDS)
            await ask(b'{"do": "prove"}', is_answered=False)
            await ask(prover_archive().content)
            model = find("NVIDIA GeForce RTX 4090")
            assert model is not None
            origin = Origin(51, 1, "0x" + "ab" * 32, "5V", executor.miner_hotkey, executor.executor_id, 1)
            cards = [(0, f"GPU-{executor.executor_id}")]
            challenge = challenge_for(origin, model.skus[0], cards, FLEET.proof, secrets.token_bytes)
            await ask(encode(challenge.go))
            for number in range(challenge.parameters.rounds):
                await ask(encode(Walk(number, secrets.token_bytes(32))))
            await ask(encode(Multiply(secrets.token_bytes(32))))
            opened = await ask(encode(Open(challenge.secret)))
            assert opened.startswith(b'{"type":"opened"')
            await ask(encode(End()), is_answered=False)


def _client(given: argparse.Namespace) -> int:
    """One client process: its part of the machines comes on stdin with the key."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    told = json.loads(sys.stdin.read())
    executors = [Executor(**{**e, "host_key": bytes.fromhex(e["host_key"])}) for e in told["executors"]]
    ended = asyncio.run(_talk_to_all(executors, told["key"], given.rate))
    sys.stdout.write(json.dumps(ended))
    return 0


def main() -> int:
    """Run the rig and the clients, and tell what both took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executors", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--rate", type=float, default=150.0, help="starts a second, of each client")
    parser.add_argument("--rtt-ms", default="far")
    parser.add_argument("--wait", default="5-20")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        return _client(given)
    rtt_of(given.rtt_ms)
    folder = FOLDER / f"fleet-{-(-given.executors // EXECUTORS_PER_MINER)}"
    command = [sys.executable, "-m", "deployments.localnet.farm", "--folder", str(folder), "--lines"]
    command += ["--executors", str(given.executors), "--rtt-ms", given.rtt_ms, "--wait", given.wait]
    began = time.monotonic()
    farm = start("fleet", command, log=folder / "fleet.log", environment=dict(os.environ), folder=REPOSITORY)
    try:
        farm.wait_until(lambda: "ready" in tail(farm.log), 300.0)
        ready_s = time.monotonic() - began
        key = asyncssh.generate_private_key("ssh-ed25519")
        executors = asyncio.run(_executors(folder, given.executors, key.export_public_key().decode().strip()))
        with Watch({"fleet": farm.process.pid}) as watch:
            began = time.monotonic()
            ended = _run_clients(executors, key.export_private_key().decode(), given)
            wall_s = time.monotonic() - began
        used = {name: asdict(watch.usage(name)) for name in ("fleet", VALIDATOR)}
    finally:
        farm.stop(60.0)
    account = [line for line in tail(farm.log).splitlines() if line.startswith("{")]
    print(json.dumps({"ready_s": ready_s, "wall_s": wall_s, "ended": ended, "used": used}, indent=1))
    print("fleet's own account:", *account[-1:])
    return 0 if ended == {"ok": given.executors} else 1


def _run_clients(executors: list[Executor], pem: str, given: argparse.Namespace) -> Counter[str]:
    command = [sys.executable, "-m", "tests.bench.fleet_client", "--client", "--rate", str(given.rate)]
    clients = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        for _ in range(given.clients)
    ]
    for number, client in enumerate(clients):
        part = [asdict(e) | {"host_key": e.host_key.hex()} for e in executors[number :: given.clients]]
        assert client.stdin is not None
        client.stdin.write(json.dumps({"key": pem, "executors": part}))
        client.stdin.close()
    ended: Counter[str] = Counter()
    for client in clients:
        assert client.stdout is not None
        ended.update(json.loads(client.stdout.read()))
        client.wait()
    return ended


if __name__ == "__main__":
    sys.exit(main())
