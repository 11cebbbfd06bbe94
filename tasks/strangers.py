"""For whom an epoch does not wait: machines that have not passed before, where most others have.

Whoever hangs would else hold up everybody: a visit may take seconds, and a card a minute to be full. A stranger that is as
quick as the others loses nothing. One that is slower has its turn in one epoch of twelve, which waits for everybody, and
once it has passed it is a stranger no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from storage.records import Executor, ExecutorRecord

KNOWN_SHARE = 0.75
"""Of the machines that must have passed before: else what the known ones take says little of the others."""
EVERY = 12
"""Epochs between two that wait for everybody, in the mean: nobody knows beforehand which."""


def hurried(
    executors: Iterable[Executor], records: Mapping[str, ExecutorRecord], block_hash: str
) -> frozenset[str]:
    """The keys of those for whom this epoch does not wait."""
    keys = {executor.key for executor in executors}
    known = {key for key in keys if (record := records.get(key)) and record.passed_since is not None}
    if len(known) < KNOWN_SHARE * len(keys) or _is_patient(block_hash):
        return frozenset()
    return frozenset(keys - known)


def _is_patient(block_hash: str) -> bool:
    lot = hashlib.blake2s(f"patience {block_hash}".encode(), digest_size=8).digest()
    return int.from_bytes(lot, "big") % EVERY == 0
