"""Whose bandwidth an epoch measures: who was never measured, and of all others a few, drawn by the chain's hash.

A sample is 2 MiB and more, over the validator's own line: of ten thousand machines in every epoch it would be the epoch.
What was measured before counts meanwhile, and nobody knows beforehand when the next sample is taken.
"""

from __future__ import annotations

import hashlib

from storage.records import ExecutorRecord

EVERY = 12
"""Epochs between two samples, in the mean: two hours."""


def is_measured(record: ExecutorRecord, block_hash: str) -> bool:
    """Whether this epoch measures the machine's bandwidth."""
    if record.up_mbit_s is None or record.down_mbit_s is None or record.passed_since is None:
        return True
    lot = hashlib.blake2s(f"{block_hash} {record.executor_key}".encode(), digest_size=8).digest()
    return int.from_bytes(lot, "big") % EVERY == 0
