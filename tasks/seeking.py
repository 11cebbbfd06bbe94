"""Discovery as a step: the serving miners of the snapshot are asked, each with a key of its own."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from storage.records import Executor, MinerReply
from tasks.assigning import is_ours, not_drawn, permitted_stakes
from tasks.discovery import certificates_of, discover, executors_of, serving
from tasks.edges.signing import is_signed_by
from tasks.epoch import EpochRun
from tasks.scoring.grace import may_keep
from tasks.stepping import step
from tasks.swaps import Occasion, judge_swaps, swap_event, swapped

KEY_LIFE_S = 900
"""How long the miners let this epoch's keys in: longer than any epoch, and then they are dead everywhere."""


async def seek(run: EpochRun) -> tuple[MinerReply, ...]:
    """The replies of all serving miners, kept in the state."""
    run.progress.begin("discovery", len(serving(run.view, run.edges.own_hotkey)))
    replies = await ask_miners(run)
    run.certificates = certificates_of(replies)
    replies = await asyncio.to_thread(apply_swaps, run, replies, datetime.now(UTC))
    replies = await asyncio.to_thread(with_unheard, run, replies)
    executors = executors_of(replies)
    await asyncio.to_thread(leave_to_others, run, executors)
    await asyncio.to_thread(run.state.save_discovery, run.epoch, replies, executors)
    run.progress.end(f"{len(executors)} machines of {len(replies)} miners")
    return replies


@step("discover", deadline_s=120.0)
async def ask_miners(run: EpochRun) -> tuple[MinerReply, ...]:
    """Ask every serving miner for its machines, side by side."""
    return await discover(
        run.view,
        run.edges.peers,
        own_hotkey=run.edges.own_hotkey,
        key_line=lambda neuron: run.key_of(neuron.hotkey).public_line,
        expires_at=int(time.time()) + KEY_LIFE_S,
        on_reply=lambda _: run.progress.step(),
    )


def with_unheard(run: EpochRun, replies: Sequence[MinerReply]) -> tuple[MinerReply, ...]:
    """Silent doors with the machines that they listed last, as far as these are in grace; they are not visited.

    A door that gave no verdict is none of its machines' failure: without a row they would not keep their scores.
    """
    silent = {reply.hotkey: reply for reply in replies if _is_silent(reply)}
    found: dict[str, list[Executor]] = defaultdict(list)
    for executor in run.state.last_listed(run.epoch, silent) if silent else ():
        if may_keep(run.record_of(executor.key), run.policy.records):
            reply = silent[executor.miner_hotkey]
            found[reply.hotkey].append(replace(executor, miner_uid=reply.uid))
            run.unheard[executor.key] = reply.reasons
    return tuple(replace(r, executors=tuple(found[r.hotkey])) if r.hotkey in found else r for r in replies)


def leave_to_others(run: EpochRun, executors: Sequence[Executor]) -> None:
    """Of machines that validators share out, note those that others check: they are not visited, and keep their score.

    Only a machine that does keep it is left: one that is new, was not paid, or had no verdict before is checked by
    everybody, as are leased ones and, while the chain can't tell by which hash to draw, all of them.
    """
    if not run.policy.inspection.is_shared_out or not (block_hash := run.first_hash()):
        return
    stakes, own = permitted_stakes(run.view), run.edges.own_hotkey
    for executor in executors:
        key = executor.key
        is_known = key in run.unheard or key in run.leased_keys or run.kept.report_of(executor) is not None
        if is_known or not may_keep(run.record_of(key), run.policy.records):
            continue
        if not is_ours(key, own, stakes, block_hash):
            run.unheard[key] = (not_drawn(key, stakes, block_hash),)


def _is_silent(reply: MinerReply) -> bool:
    return not reply.evidence and bool(reply.reasons) and not any(reason.fails for reason in reply.reasons)


def apply_swaps(run: EpochRun, replies: Sequence[MinerReply], now: datetime) -> tuple[MinerReply, ...]:
    """Put machines onto the cards that their miners have signed for; what does not count is told to the miner.

    Each swap counts once, however often it is announced and however often the epoch is begun again.
    """
    occasion = Occasion(run.record_of, run.leased_keys, run.policy.records, now, is_signed_by)
    settled = []
    for reply in replies:
        swaps, reasons = judge_swaps(reply.hotkey, reply.swaps, occasion)
        for swap in swaps:
            before = run.record_of(swap.executor_key)
            after = swapped(before, swap, now)
            if run.state.swap_cards(run.epoch, before, after, swap_event(swap, now)):
                run.records = {**run.records, swap.executor_key: after}
                run.kept = run.kept.without(swap.executor_key)  # it was of other cards
        settled.append(replace(reply, reasons=(*reply.reasons, *reasons)))
    return tuple(settled)
