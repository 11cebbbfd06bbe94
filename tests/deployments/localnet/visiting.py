"""A validator's side of a visit to local machines: let its key in, open real sessions, hold real proofs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deployments.localnet.cast import CAST, CastExecutor
from deployments.localnet.executors import ANNOUNCED_PYTHON, USER, Machine, public_key_blob, serve_machines
from deployments.localnet.homes import Disks, announced_key, make_machine
from deployments.localnet.warming import warm_cache
from deployments.miner.keys import let_in
from storage.records import Executor, Verdict
from tasks.edges.shell import EpochKey, Session, Shell
from tasks.inspection.models import find
from tasks.inspection.output import Command
from tasks.inspection.talk import ask_facts, start_prover, start_runner
from tasks.onboarding.confinement.grants import Grant
from tasks.policy import LOCALNET
from tasks.proof.archive import prover_archive
from tasks.proof.challenge import Challenge, Origin, challenge_for
from tasks.proof.conversation import converse
from tasks.proof.verdict import verify_shard
from tasks.proof.wave import MonotonicClock, Wave, gate_limits_s

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
PATIENCE_S = 60.0


def cast(executor_id: str) -> CastExecutor:
    """This machine of the cast."""
    return next(e for e in CAST.executors if e.executor_id == executor_id)


def make(folder: Path, executor_ids: Sequence[str], cache: Path) -> dict[str, Machine]:
    """These machines on disk, each on a port that the system picks, their compiled kernels shared."""
    warm_cache(cache)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cache").symlink_to(cache)
    return {i: make_machine(Disks(folder), cast(i), 0) for i in executor_ids}


@contextlib.contextmanager
def served(machines: dict[str, Machine]) -> Iterator[dict[str, Machine]]:
    """Serve the machines from a thread; gives them with their ports."""
    ports: list[int] = []
    is_up, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def live() -> None:
        async with serve_machines(tuple(machines.values())) as bound:
            ports.extend(bound)
            is_up.set()
            await stop.wait()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(live())

    thread = threading.Thread(target=run, name="machines")
    thread.start()
    try:
        assert is_up.wait(10)
        yield {m.executor_id: replace(m, port=p) for m, p in zip(machines.values(), ports, strict=True)}
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


def announced(folder: Path, machine: Machine) -> Executor:
    """What the machine's miner announces."""
    return Executor(
        executor_id=machine.executor_id,
        miner_hotkey=HOTKEY,
        miner_uid=4,
        miner_registered_at_block=10,
        address=machine.address,
        port=machine.port,
        user=USER,
        python=ANNOUNCED_PYTHON,
        host_key=public_key_blob(announced_key(Disks(folder), cast(machine.executor_id))),
        price_usd_per_hour=1.0,
    )


def let_key_in(machine: Machine, key: EpochKey, *, lives_s: float = 600.0) -> None:
    """As its miner does, for so long; a negative life has ended already."""
    now = datetime.now(UTC)
    expires_at = now + timedelta(seconds=lives_s)
    let_in(machine.authorized_keys, Grant(key.public_line, HOTKEY, 1, expires_at), now=min(now, expires_at))


def enter(
    folder: Path,
    machine: Machine,
    *,
    lives_s: float = 600.0,
    patience_s: float = 20.0,
    shell: Shell | None = None,
) -> Session:
    """Let a fresh key in and open a session with it."""
    key = EpochKey.generate()
    let_key_in(machine, key, lives_s=lives_s)
    return (shell or Shell()).open(announced(folder, machine), key, deadline=time.monotonic() + patience_s)


def told_by(session: Session, command: str) -> str:
    """What a command prints over there, by the real runner."""
    (output,) = ask_facts(
        session, [Command("asked", command, 5.0, 4_096)], deadline=time.monotonic() + PATIENCE_S
    )
    return output.stdout.decode().strip()


def runner_pid(session: Session) -> int:
    """Start the runner; its process id."""
    start_runner(session, deadline=time.monotonic() + PATIENCE_S)
    return int(told_by(session, "echo $PPID"))


def challenge_of(machine: Machine) -> Challenge:
    """A fresh challenge of the local policy for all of the machine's cards."""
    executor = cast(machine.executor_id)
    model = find(executor.model)
    assert model is not None
    origin = Origin(51, 100, "0x" + "ab" * 32, HOTKEY, HOTKEY, executor.executor_id, 1)
    return challenge_for(
        origin, model.skus[0], list(enumerate(executor.card_uuids)), LOCALNET.proof, secrets.token_bytes
    )


def begin_proof(session: Session) -> None:
    """Runner and prover, as the proof's step starts them."""
    until = time.monotonic() + PATIENCE_S
    start_runner(session, deadline=until)
    start_prover(session, prover_archive().content, "~/.cache/subnet", deadline=until)


def proved(session: Session, machine: Machine) -> Verdict:
    """A whole proof, alone in its wave."""
    begin_proof(session)
    challenge, clock = challenge_of(machine), MonotonicClock()
    wave = Wave([challenge.origin.executor_key], gate_limits_s(LOCALNET.proof, PATIENCE_S), clock)
    reply = converse(session, challenge, wave, clock, LOCALNET.proof, secrets.token_bytes)
    return verify_shard([(challenge, reply)])[0]


def is_gone(pid: int) -> bool:
    """Whether no such process runs any more (one that nobody has waited for does not run)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def wait_for(condition: Callable[[], bool], limit_s: float = 5.0) -> bool:
    """Whether the condition came to hold within the limit."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
