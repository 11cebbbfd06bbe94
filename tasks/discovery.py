"""Discovery: the snapshot of the subnet -> every serving miner asked at once -> its executors, or its reasons.

    SubnetView -> serving -> ask (bounded, in parallel) -> settle -> tuple[MinerReply, ...]

A miner that is away, slow or hostile costs only itself. Each miner should be given a key of its own: with one
key for all, a miner could relay our session to another miner's machine, which lets the same key in, and have
that machine counted as its own; with a key of its own it can only open what it can write to.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from storage.records import Executor, MinerReply, Neuron, Reason, Severity, SubnetView


class Ask(Protocol):
    """Whoever can ask a miner: `tasks.edges.peers.Peers`."""

    async def ask(self, neuron: Neuron, epoch: int, key_line: str, expires_at: int) -> MinerReply:
        """The miner's executors, or reasons; never raises for what a miner does."""
        ...


async def discover(
    view: SubnetView,
    peers: Ask,
    *,
    own_hotkey: str,
    key_line: Callable[[Neuron], str],
    expires_at: int,
    parallel: int = 64,
    on_reply: Callable[[MinerReply], None] | None = None,
) -> tuple[MinerReply, ...]:
    """The settled replies of all serving miners, by uid; `key_line` gives the public key meant for a miner.

    `expires_at` is in Unix seconds; `on_reply` sees each reply as it comes, for whoever watches.
    """
    slots = asyncio.Semaphore(parallel)

    async def ask_one(neuron: Neuron) -> MinerReply:
        async with slots:
            reply = await peers.ask(neuron, view.head.epoch, key_line(neuron), expires_at)
        if on_reply is not None:
            on_reply(reply)
        return reply

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask_one(neuron)) for neuron in serving(view, own_hotkey)]
    return settle(task.result() for task in asked)


def serving(view: SubnetView, own_hotkey: str) -> tuple[Neuron, ...]:
    """The neurons that announce an endpoint, without ourselves, by uid."""
    return tuple(
        sorted(
            (n for n in view.neurons if n.endpoint is not None and n.hotkey != own_hotkey),
            key=lambda n: n.uid,
        )
    )


def settle(replies: Iterable[MinerReply]) -> tuple[MinerReply, ...]:
    """The same replies with a reason wherever two executors announce one address and port.

    Within a miner only the first by name stays. Between miners nobody is dropped, or anybody could strike out
    a rival by announcing its address: all get a warning, and the login decides, since only who can let our key
    in can have it inspected. If both can, the duplicate cards convict them.
    """
    once = tuple(_without_repeats(reply) for reply in replies)
    holders: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for reply in once:
        for executor in reply.executors:
            holders[executor.address, executor.port].add(reply.uid)
    return tuple(_with_warnings(reply, holders) for reply in once)


def executors_of(replies: Iterable[MinerReply]) -> tuple[Executor, ...]:
    """All executors of these replies, in order."""
    return tuple(executor for reply in replies for executor in reply.executors)


def certificates_of(replies: Iterable[MinerReply]) -> dict[str, str]:
    """Machine -> certificate, of those that let our key in by one."""
    return {
        f"{reply.hotkey}/{executor_id}": line for reply in replies for executor_id, line in reply.certificates
    }


def _without_repeats(reply: MinerReply) -> MinerReply:
    kept: dict[tuple[str, int], Executor] = {}
    reasons: list[Reason] = []
    for executor in sorted(reply.executors, key=lambda e: e.executor_id):
        first = kept.setdefault((executor.address, executor.port), executor)
        if first is not executor:
            reasons.append(_repeated(executor, first))
    if not reasons:
        return reply
    stays = {executor.executor_id for executor in kept.values()}
    executors = tuple(e for e in reply.executors if e.executor_id in stays)
    return replace(reply, executors=executors, reasons=(*reply.reasons, *reasons))


def _with_warnings(reply: MinerReply, holders: dict[tuple[str, int], set[int]]) -> MinerReply:
    shared = [e for e in reply.executors if len(holders[e.address, e.port]) > 1]
    if not shared:
        return reply
    warnings = tuple(_shared(e, holders[e.address, e.port] - {reply.uid}) for e in shared)
    return replace(reply, reasons=(*reply.reasons, *warnings))


def _repeated(executor: Executor, first: Executor) -> Reason:
    return Reason(
        code="EXECUTOR_ADDRESS_REPEATED",
        severity=Severity.FAIL,
        got=f"{executor.executor_id} at {_place(executor)}, as {first.executor_id}",
        wanted="an address and port of its own for each executor",
        mend="Take one of the two out of the agent's config, or give it its own port.",
    )


def _shared(executor: Executor, others: set[int]) -> Reason:
    uids = ", ".join(str(uid) for uid in sorted(others)[:5])
    return Reason(
        code="EXECUTOR_ADDRESS_SHARED",
        severity=Severity.WARN,
        got=f"{executor.executor_id} at {_place(executor)}, also announced by uid {uids}",
        wanted="an address and port that no other miner announces",
        mend="If the machine is yours nothing is to be done: only its owner can let our key in.",
    )


def _place(executor: Executor) -> str:
    return (
        f"[{executor.address}]:{executor.port}"
        if ":" in executor.address
        else f"{executor.address}:{executor.port}"
    )
