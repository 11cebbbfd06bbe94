"""False zeros: machines that were not paid for one epoch though they passed in the epochs before and after, unchanged.

A machine that passes, does not, and passes again ten minutes later, at the same place with the same host key and the same
cards, was most likely honest all along, and something on the way, or of our own, cost it its pay: a slow login against a
fixed wait, a line that was cold, a miner's agent that was asked in a bad moment. What was really broken for one epoch and was
mended counts as well, so the rate is an upper bound of our own faults; a machine that stays away or stays changed never counts.

    judged     machine-epochs whose neighbours both passed with one identity: their truth is known
    false zero one of these that was not paid, whatever the reason; its share of the judged is the rate
    forgiven   one of these without a verdict, whose last score was kept by grace: it cost the machine nothing

A judged epoch and its neighbours follow each other in the archive with no more than MAX_GAP epochs between. Not judged are
epochs that we decided for the machine (bans, epochs left to other validators) and those in which its miner gave a list
without it. A machine that is missing as its miner's agent did not answer is a false zero by the agent's code.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from tasks.reporting.results import KEPT, PASSED, STOPPED

MAX_GAP = 2
"""Epochs that may be missing between two neighbours, as after a restart; beyond them much may have changed."""
DECIDED = frozenset({"MINER_BANNED", "CARD_BANNED", "NOT_DRAWN"})
"""Reasons that are a decision about the machine and no finding."""
FALSE_ZERO, FORGIVEN = "false zero", "forgiven"
_EFFECTS = {STOPPED: FALSE_ZERO, KEPT: FORGIVEN}


@dataclass(frozen=True, slots=True)
class Zeros:
    """What came of judging epochs by their neighbours."""

    judged: pd.DataFrame
    """A row an epoch: epoch, judged (machines)."""
    found: pd.DataFrame
    """A row an epoch, code, severity and effect (FALSE_ZERO or FORGIVEN): machines."""

    @property
    def rate(self) -> float | None:
        """False zeros of the judged; None when nothing was judged."""
        judged = int(self.judged["judged"].sum())
        zeros = self.found.loc[self.found["effect"] == FALSE_ZERO, "machines"].sum()
        return float(zeros) / judged if judged else None


class Judge:
    """Judges epochs that come in order, one or many at a time; two of them are in memory."""

    def __init__(self) -> None:
        self._results: pd.DataFrame | None = None
        self._silences: pd.DataFrame | None = None

    def add(self, results: pd.DataFrame, silences: pd.DataFrame) -> Zeros:
        """What these epochs tell: of those that came before, the newest, and all of these but the newest."""
        results, silences = _after(self._results, results), _after(self._silences, silences)
        newest = _epochs(results, silences)[-2:]
        self._results = results[results["epoch"].isin(newest)]
        self._silences = silences[silences["epoch"].isin(newest)]
        return false_zeros(results, silences)


def false_zeros(results: pd.DataFrame, silences: pd.DataFrame) -> Zeros:
    """Judge all of these epochs but the first and the last, which have one neighbour only."""
    epochs = _epochs(results, silences)
    order = pd.Series(range(len(epochs)), index=epochs, dtype="int64")
    rows = _with_missing(results, silences)
    rows = rows.assign(at=rows["epoch"].map(order)).sort_values(["executor_key", "at"], ignore_index=True)
    before, after = (rows.shift(step) for step in (1, -1))
    is_same = rows["identity"].shift(1, fill_value=0) == rows["identity"].shift(-1, fill_value=0)
    is_judged = _is_beside(rows, before, 1) & _is_beside(rows, after, -1) & is_same
    judged = rows[is_judged & ~rows["code"].isin(DECIDED)]
    if judged.empty:
        return Zeros(_JUDGED, _FOUND)
    found = judged.assign(effect=judged["result"].map(_EFFECTS)).dropna(subset=["effect"])
    return Zeros(
        judged.groupby("epoch").size().rename("judged").reset_index(),
        found.groupby(["epoch", "code", "severity", "effect"]).size().rename("machines").reset_index(),
    )


def _after(before: pd.DataFrame | None, rows: pd.DataFrame) -> pd.DataFrame:
    return rows if before is None else pd.concat([before, rows], ignore_index=True)


def _epochs(results: pd.DataFrame, silences: pd.DataFrame) -> list[int]:
    return sorted({*results["epoch"], *silences["epoch"]})


def _is_beside(rows: pd.DataFrame, other: pd.DataFrame, step: int) -> pd.Series[bool]:
    """Whether the machine's row before (1) or after (-1) is of the neighbouring epoch, and passed."""
    is_of_it = other["executor_key"] == rows["executor_key"]
    is_next = (rows["at"] - other["at"]) == step
    is_near = (rows["epoch"] - other["epoch"]).abs() <= 1 + MAX_GAP
    return is_of_it & is_next & is_near & (other["result"] == PASSED)


def _with_missing(results: pd.DataFrame, silences: pd.DataFrame) -> pd.DataFrame:
    """The results, and a row for each machine that an epoch lacks since its miner's agent did not answer."""
    owned = results[["executor_key"]].drop_duplicates()
    owned = owned.assign(miner_hotkey=owned["executor_key"].str.rsplit("/", n=1).str[0])
    missing = silences.merge(owned, on="miner_hotkey").drop(columns="miner_hotkey")
    both = pd.concat([results, missing.assign(result=STOPPED, identity=0)], ignore_index=True)
    return both.drop_duplicates(["epoch", "executor_key"], keep="first")


_JUDGED = pd.DataFrame({name: pd.Series(dtype="int64") for name in ("epoch", "judged")})
_FOUND = pd.DataFrame(
    {
        "epoch": pd.Series(dtype="int64"),
        **{name: pd.Series(dtype="str") for name in ("code", "severity", "effect")},
        "machines": pd.Series(dtype="int64"),
    }
)
"""Of nothing judged."""
