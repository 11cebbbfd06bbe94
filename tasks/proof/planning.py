"""Which machines are proved together: as few waves as possible, a miner's machines always in the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from storage.records import Executor


def plan_waves(executors: Iterable[Executor], block_hash: str, capacity: int) -> list[tuple[Executor, ...]]:
    """Waves of at most `capacity` machines, or of one miner with more; who meets whom is drawn from the block hash.

    Together, because two machines that share a card must be asked at the same time, and a miner's own machines
    are the likeliest to; drawn, because nobody may know beforehand in which wave a machine will be.
    """
    by_miner: dict[str, list[Executor]] = {}
    for executor in executors:
        by_miner.setdefault(executor.miner_hotkey, []).append(executor)
    waves: list[list[Executor]] = []
    for hotkey in sorted(by_miner, key=lambda hotkey: _lot(block_hash, hotkey)):
        machines = by_miner[hotkey]
        home = next((w for w in waves if len(w) + len(machines) <= capacity), None)
        if home is None:
            waves.append(list(machines))
        else:
            home += machines
    return [tuple(wave) for wave in waves]


def _lot(block_hash: str, hotkey: str) -> bytes:
    return hashlib.blake2s(f"{block_hash} {hotkey}".encode()).digest()
