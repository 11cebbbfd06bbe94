"""A fleet's machines as SSH servers: each listens on its own address with its own host key, as its profile has it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from concurrent.futures import Executor as Pool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deployments.localnet.cast import CastExecutor
from deployments.localnet.executors import ANNOUNCED_PYTHON, USER, KeyDoor
from deployments.localnet.fleet.links import Far, Way, Wheel
from deployments.localnet.fleet.profiles import Conditions, Fault, Profile, draw, key_seed
from deployments.localnet.fleet.proving import Bench
from deployments.localnet.scripted import Recording, Scripted, answer_session, record_facts
from tasks.edges import wire

ID_PREFIX = "farm-"
BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Recordings:
    """What machines say of themselves."""

    honest: Recording
    doubled: Recording
    """With cards of twice the memory."""

    @classmethod
    def made_in(cls, folder: Path) -> Recordings:
        """Recorded on this machine."""
        return cls(
            record_facts(folder / "recorded"), record_facts(folder / "recorded-doubled", memory_times=2)
        )

    def of(self, fault: Fault | None) -> Recording:
        """What a machine with this fault says."""
        return self.doubled if fault is Fault.LIES else self.honest


class Ground:
    """What all machines of one process stand on."""

    def __init__(self, conditions: Conditions, recordings: Recordings, pool: Pool) -> None:
        logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
        self.conditions, self.recordings, self.bench = conditions, recordings, Bench(pool)
        self._wheel = Wheel(asyncio.get_running_loop())

    def way_to(self, profile: Profile) -> Far | None:
        """The way to a machine; None when it is right here."""
        if not profile.rtt_ms and profile.mbit_s is None:
            return None
        return Far(Way.of(profile.rtt_ms, profile.mbit_s), self._wheel)


@contextlib.asynccontextmanager
async def machine(executor: CastExecutor, keys: Path, ground: Ground) -> AsyncIterator[wire.Offer]:
    """One machine, listening unless that is its fault; gives what its miner announces."""
    seed = ground.conditions.seed
    profile = draw(ground.conditions, int(executor.executor_id.removeprefix(ID_PREFIX)))
    host_key = host_key_of(key_seed(seed, executor.executor_id))
    announced = host_key
    if profile.fault is Fault.OTHER_KEY:
        announced = host_key_of(key_seed(seed, executor.executor_id, "announced key"))
    async with _listening(executor, host_key, keys, profile, ground) as port:
        yield wire.Offer(
            executor_id=executor.executor_id,
            address=executor.address,
            port=port,
            user=USER,
            python=ANNOUNCED_PYTHON,
            host_key=base64.b64encode(announced.public_data).decode(),
            price_usd_per_hour=executor.price_usd_per_hour,
        )


def host_key_of(seed: bytes) -> asyncssh.SSHKey:
    """The ed25519 key of these 32 bytes."""
    return asyncssh.import_private_key(
        Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )


@contextlib.asynccontextmanager
async def _listening(
    executor: CastExecutor, host_key: asyncssh.SSHKey, keys: Path, profile: Profile, ground: Ground
) -> AsyncIterator[int]:
    if profile.fault is Fault.REFUSES:
        # Bound, so that nobody else gets the port; not listening, so that whoever comes is refused.
        with socket.socket() as held:
            held.bind((executor.address, 0))
            yield int(held.getsockname()[1])
        return
    server = await (
        _serve_silence(executor.address)
        if profile.fault is Fault.SILENT
        else _serve_ssh(executor, host_key, keys, profile, ground)
    )
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _serve_silence(address: str) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(asyncio.Protocol, address, 0)


async def _serve_ssh(
    executor: CastExecutor, host_key: asyncssh.SSHKey, keys: Path, profile: Profile, ground: Ground
) -> asyncssh.SSHAcceptor:
    (card_uuid,) = executor.card_uuids
    scripted = Scripted(card_uuid, ground.recordings.of(profile.fault), profile, ground.bench)

    async def answer(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await answer_session(process, scripted)

    way = ground.way_to(profile)
    door = (
        partial(SlowDoor, keys, profile.slow_auth_s)
        if profile.fault is Fault.SLOW_AUTH
        else partial(KeyDoor, keys)
    )
    return await asyncssh.create_server(
        door,
        executor.address,
        0,
        tunnel=() if way is None else way,
        backlog=BACKLOG,
        server_host_keys=[host_key],
        process_factory=answer,
        encoding=None,
        allow_pty=False,
        line_editor=False,
        compression_algs=None,
        server_version="OpenSSH_9.6",
    )


class SlowDoor(KeyDoor):
    """Lets in like any other, after so many seconds."""

    def __init__(self, authorized_keys: Path, wait_s: float) -> None:
        super().__init__(authorized_keys)
        self._wait_s = wait_s

    async def begin_auth(self, username: str) -> bool:  # type: ignore[override]  # noqa: ARG002  asyncssh awaits it
        """Ask everybody for a key, later."""
        await asyncio.sleep(self._wait_s)
        return True
