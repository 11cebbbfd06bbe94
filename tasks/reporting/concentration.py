"""How evenly something is shared: Gini, Lorenz, the share of the largest. Shares need not sum to 1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def gini(shares: Iterable[float]) -> float:
    """0 when all have the same, (n-1)/n when one of n has everything; NaN when there is nothing."""
    x = _ascending(shares)
    if x.sum() <= 0:
        return float("nan")
    ranks = np.arange(1, len(x) + 1)
    return float((2 * ranks - len(x) - 1) @ x / (len(x) * x.sum()))


def lorenz(shares: Iterable[float]) -> tuple[Floats, Floats]:
    """Points from (0, 0) to (1, 1): the poorest x of all have y of everything."""
    x = _ascending(shares)
    whole = float(x.sum()) or 1.0
    return np.linspace(0.0, 1.0, len(x) + 1), np.concatenate([[0.0], np.cumsum(x) / whole])


def top_share(shares: Iterable[float], count: int) -> float:
    """What the `count` largest have of everything, 0..1; NaN when there is nothing."""
    x = _ascending(shares)
    whole = float(x.sum())
    return float(x[::-1][:count].sum()) / whole if whole > 0 else float("nan")


def _ascending(shares: Iterable[float]) -> Floats:
    """What is below 0 or no number counts as nothing."""
    x = np.nan_to_num(np.asarray(list(shares), dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.sort(x.clip(min=0.0))
