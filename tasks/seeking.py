"""Discovery as a step: the serving miners of the snapshot are asked, each with a key of its own."""

from __future__ import annotations

import asyncio
import time

from storage.records import MinerReply
from tasks.discovery import discover, executors_of, serving
from tasks.epoch import EpochRun
from tasks.stepping import step

KEY_LIFE_S = 900
"""How long the miners let this epoch's keys in: longer than any epoch, and then they are dead everywhere."""


async def seek(run: EpochRun) -> tuple[MinerReply, ...]:
    """The replies of all serving miners, kept in the state."""
    run.progress.begin("discovery", len(serving(run.view, run.edges.own_hotkey)))
    replies = await ask_miners(run)
    executors = executors_of(replies)
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
