"""What a formula is given beside the machines, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import numpy as np

from storage.records import Reason
from tasks.policy import Policy
from tasks.scoring.market import Market

Columns = dict[str, np.ndarray]


class Given(NamedTuple):
    """What is the same for all machines."""

    market: Market
    policy: Policy
    shadow: frozenset[str]
    """Terms that products leave out."""
    scored_at: datetime
    """UTC."""


class Remark(NamedTuple):
    """What some machines are told about a term of theirs."""

    term: str
    """The column that takes something off."""
    which: np.ndarray
    """Rows that are told; among them only those whose machine said what it is."""
    tell: Callable[[int], Reason]
    """From the row's number."""


class Bill(NamedTuple):
    """Terms and score as columns, in the rows of the frame."""

    columns: Columns
    remarks: tuple[Remark, ...]
