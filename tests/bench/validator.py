"""A validator's process for the bench: it runs what stdin asks for, one word a line, and answers with what it cost.

    epoch    one validation epoch as a Prefect flow run
    bare     the same epoch without Prefect's engine
    floor    a bare paramiko session to each machine, and the hashing that the verdicts of their cards can't avoid
    view     the chain's snapshot alone

`python -m tests.bench.validator FOLDER POLICY`; an answer is one line of JSON with the fields of `Told`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import paramiko
from prefect import flow

from deployments.localnet.chain.ledger import Ledger
from deployments.localnet.chain.substrate import LocalSubstrate
from deployments.localnet.layout import Layout
from flows.edges import open_edges
from flows.validate import validate_epoch
from kernels.blake2s import LANES
from storage.database import open_database
from storage.records import BLOCKS_PER_EPOCH, EpochOutcome, Executor, HostReport
from storage.state import State
from tasks.discovery import discover, executors_of
from tasks.edges.shell import EpochKey, Pacer, ShellSettings
from tasks.epoch import Edges
from tasks.inspection.models import find, sku
from tasks.policy import DEFAULT, LOCALNET, Policy, preset
from tasks.proof.challenge import parameters_for
from tests.bench.lanes import hash_in_lanes, verdict_compressions
from tests.bench.measure import cpu_now_s
from tests.bench.told import Told

FARM = replace(
    LOCALNET,
    name="farm",
    inspection=replace(LOCALNET.inspection, session_deadline_s=DEFAULT.inspection.session_deadline_s),
    proof=replace(LOCALNET.proof, memory_scale=262_144, walkers=16, fast_walkers=16, multiply_columns=64),
)
"""Cards of 90 KB that are soon walked: the farm's provers work on the same cores, and a verdict costs the same."""
KEY_LIFE_S = 900
SESSION_DEADLINE_S = 60.0
THREADS = 128


@dataclass
class Validator:
    """What the work hangs on."""

    layout: Layout
    policy: Policy = FARM
    reports: tuple[HostReport, ...] = field(default=())


@flow(name="validate", flow_run_name="epoch", persist_result=False, validate_parameters=False)
async def _in_flow(layout: Layout, policy: Policy) -> None:
    await _bare(layout, policy)


async def _bare(layout: Layout, policy: Policy) -> None:
    async with open_edges(layout.settings(os.environ), lambda: LocalSubstrate(layout.chain)) as edges:
        await validate_epoch(edges, None, policy)


async def _run_epoch(validator: Validator, run: Callable[[Layout, Policy], Awaitable[None]]) -> Told:
    # The next epoch and the next tempo, so that nobody waits for them to begin.
    with closing(Ledger(validator.layout.chain)) as ledger:
        ledger.advance(BLOCKS_PER_EPOCH)
    cpu_s, wall_s = cpu_now_s(), time.perf_counter()
    await run(validator.layout, validator.policy)
    cpu_s, wall_s = cpu_now_s() - cpu_s, time.perf_counter() - wall_s
    outcome = _outcome(validator)
    for incident in outcome.incidents:
        raise RuntimeError(f"{incident.code}: {incident.got}")
    validator.reports = tuple(r for r in outcome.reports if r.may_be_proved)
    proved = [v for v in outcome.verdicts if v.proved]
    cards = sum(len(v.cards) for v in proved)
    return Told(len(outcome.executors), cards, len(proved), cpu_s, wall_s, _peak_mib())


def _peak_mib() -> float:
    """The most that this process has held, and for each of its hands the most that one of them has: no less than all did."""
    hands = len(os.sched_getaffinity(0))
    own, child = (
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return (own + hands * child) / 1024


def _outcome(validator: Validator) -> EpochOutcome:
    engine = open_database(validator.layout.settings(os.environ).database_url)
    try:
        state = State(engine)
        (newest,) = state.latest_epochs(1)
        outcome = state.load_outcome(newest.header.epoch)
    finally:
        engine.dispose()
    assert outcome is not None
    return outcome


# --- the floor ---------------------------------------------------------------------------------------


async def _floor(validator: Validator) -> Told:
    """Measured after an epoch, whose cards say how much hashing there is."""
    key = EpochKey.generate()
    async with open_edges(
        validator.layout.settings(os.environ), lambda: LocalSubstrate(validator.layout.chain)
    ) as edges:
        machines = await _admitted(edges, key)
    compressions = _compressions(validator)
    cpu_s, wall_s = cpu_now_s(), time.perf_counter()
    pacer = Pacer(ShellSettings().starts_per_s)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_session, pacer, key.signer), machines))
    hash_in_lanes(-(-compressions // LANES))
    cards = sum(len(r.facts.cards) for r in validator.reports)
    return Told(len(machines), cards, 0, cpu_now_s() - cpu_s, time.perf_counter() - wall_s)


async def _admitted(edges: Edges, key: EpochKey) -> tuple[Executor, ...]:
    """All machines, with this key let in."""
    view = await asyncio.to_thread(edges.chain.view)
    replies = await discover(
        view,
        edges.peers,
        own_hotkey=edges.own_hotkey,
        key_line=lambda _: key.public_line,
        expires_at=int(time.time()) + KEY_LIFE_S,
    )
    return executors_of(replies)


def _session(pacer: Pacer, key: paramiko.PKey, machine: Executor) -> None:
    """Connect, log in, run one command, close: stock paramiko, with Nagle's delay off as anybody would have it."""
    with pacer.turn(time.monotonic() + SESSION_DEADLINE_S):
        sock = socket.create_connection((machine.address, machine.port), SESSION_DEADLINE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock)
    try:
        transport.start_client(timeout=SESSION_DEADLINE_S)
        transport.auth_publickey(machine.user, key)
        channel = transport.open_session(timeout=SESSION_DEADLINE_S)
        channel.settimeout(SESSION_DEADLINE_S)
        channel.exec_command("true")
        channel.shutdown_write()
        channel.recv_exit_status()
    finally:
        transport.close()


def _compressions(validator: Validator) -> int:
    total = 0
    for report in validator.reports:
        for card in report.facts.cards:
            model = find(card.model)
            assert model is not None
            size = sku(model, card.vram_mib, validator.policy.inspection.vram_window)
            assert size is not None
            total += verdict_compressions(parameters_for(size, validator.policy.proof))
    return total


async def _view(validator: Validator) -> Told:
    settings = validator.layout.settings(os.environ)
    async with open_edges(settings, lambda: LocalSubstrate(validator.layout.chain)) as edges:
        await asyncio.to_thread(edges.chain.head)
        cpu_s, wall_s = cpu_now_s(), time.perf_counter()
        await asyncio.to_thread(edges.chain.view)
        return Told(0, 0, 0, cpu_now_s() - cpu_s, time.perf_counter() - wall_s)


# --- the conversation --------------------------------------------------------------------------------


async def _answer(validator: Validator, word: str) -> Told:
    match word:
        case "epoch":
            return await _run_epoch(validator, _in_flow)
        case "bare":
            return await _run_epoch(validator, _bare)
        case "floor":
            return await _floor(validator)
        case "view":
            return await _view(validator)
        case _:
            raise ValueError(f"{word!r} is none of epoch, bare, floor, view")


async def main(folder: str, policy: str = FARM.name) -> None:
    """Answer until stdin ends."""
    validator = Validator(Layout(Path(folder)), FARM if policy == FARM.name else preset(policy))
    while line := await asyncio.to_thread(sys.stdin.readline):
        told = await _answer(validator, line.strip())
        sys.stdout.write(json.dumps(asdict(told)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
