"""Where the collateral of single machines is looked up; a miner's native lock comes with the chain's snapshot.

One seam: our own ledger stands behind it today, a contract on a chain could tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import sqlalchemy as sa

from storage.collateral import Ledger


class CollateralSource(Protocol):
    """Whoever keeps deposits machine by machine."""

    def free_rao(self) -> Mapping[str, int]:
        """Rao of TAO that are free for each machine (`hotkey/name`); one that never had any is missing."""


class OwnLedger:
    """The validator's own ledger, in its state."""

    def __init__(self, engine: sa.Engine) -> None:
        self._ledger = Ledger(engine)

    def free_rao(self) -> Mapping[str, int]:
        """The sums of the ledger's lines."""
        return self._ledger.free_rao()
