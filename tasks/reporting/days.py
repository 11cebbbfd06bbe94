"""One day of the history, added up: only the columns needed are read, and of reasons no more than code and severity."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from types import MappingProxyType

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import HistoryDamaged
from storage.history import archived_since, read_arrow
from storage.places import Place
from storage.records import Severity
from tasks.reporting.checked import checks_of
from tasks.reporting.false_zeros import Judge, Zeros
from tasks.reporting.reasons import flat
from tasks.reporting.results import results_of, silences_of
from tasks.reporting.step_times import binned, step_rows

UNKNOWN_MODEL = "unknown"
MAX_NAME = 64
"""Of what a machine says itself: a model's name is cut there."""
MOST = MappingProxyType(
    {
        "card_count": 1_000.0,
        "vram_bytes": 2.0**50,
        "passed": 1.0,
        "score": 1e9,
        "price_usd_per_hour": 1e6,
        "memory_bytes": 2.0**50,
        "bandwidth_gb_s": 1e9,
        "incentive": 1.0,
        "weight": 1.0,
        "burn_share": 1.0,
        "seconds": 1e6,
    }
)
"""What one figure can be at most. Beyond it is an error or a lie, and a picture would show nothing else."""
MOST_SCALE = 2**20
LEAST = 1e-9
"""What is smaller counts as nothing."""
_BY_MACHINE = ["epoch", "executor_key"]
_HEAD = (
    *("epoch", "netuid", "validator_hotkey", "policy", "policy_digest", "policy_values", "code_version"),
    *("owner_hotkey", "started_at", "finished_at", "state", "burn_share", "weight_status", "incidents"),
)
_SCORED = (
    *("epoch", "executor_key", "miner_hotkey", "miner_uid", "model", "card_count", "vram_bytes"),
    *("passed", "score", "formula", "reasons"),
)


@dataclass(frozen=True, slots=True)
class Day:
    """A day's sums; the columns are those of `Frames`, with sums and counts where it has means."""

    epochs: pd.DataFrame
    models: pd.DataFrame
    machines: pd.DataFrame
    miners: pd.DataFrame
    checks: pd.DataFrame
    tried: Mapping[str, int]
    shares: pd.DataFrame
    share_epochs: Mapping[str, int]
    phases: pd.DataFrame
    zeros: Zeros
    steps: pd.DataFrame
    leases: pd.DataFrame
    unread: tuple[str, ...]


def read_day(root: Place, day: date, judge: Judge) -> Day:
    """The whole epochs of one day (UTC), added up; `judge` has seen the days before."""
    reader = _Reader(root, day)
    epochs = _epochs(reader.head)
    rows = _machine_rows(reader, epochs)
    epochs["formula"] = epochs["epoch"].map(rows.groupby("epoch")["formula"].first()).astype("object")
    checks, tried = checks_of(reader.arrow)
    shares, share_epochs = _shares(reader)
    return Day(
        epochs=epochs,
        models=_models(rows),
        machines=_machines(rows),
        miners=_miners(rows),
        checks=checks,
        tried=tried,
        shares=shares,
        share_epochs=share_epochs,
        phases=_phases(reader),
        zeros=judge.add(results_of(reader.arrow), silences_of(reader.arrow)),
        steps=binned(step_rows(reader.arrow)),
        leases=_leases(reader, rows),
        unread=tuple(dict.fromkeys(reader.unread)),
    )


class _Reader:
    """A day's tables, limited to the epochs that `epochs` lists: only these are whole."""

    def __init__(self, root: Place, day: date) -> None:
        self._root, self._day = root, day
        self.unread: list[str] = []
        self.head = self._read("epochs", _HEAD)
        self._whole = self.head["epoch"]

    def arrow(self, name: str, *columns: str) -> pa.Table:
        """These columns of a table."""
        table = self._read(name, columns)
        return table.filter(pc.is_in(table["epoch"], value_set=self._whole))

    def frame(self, name: str, *columns: str) -> pd.DataFrame:
        """The same for pandas, within bounds."""
        return bounded(self.arrow(name, *columns).to_pandas())

    def _read(self, name: str, columns: Sequence[str]) -> pa.Table:
        """A file that can't be read costs its own epoch's rows only, and is told."""
        try:
            table = read_arrow(self._root, name, day=self._day, columns=columns)
        except HistoryDamaged:
            table = self._read_singly(name, columns)
        return table.drop_columns("day")

    def _read_singly(self, name: str, columns: Sequence[str]) -> pa.Table:
        found = []
        day = self._day.isoformat()
        for epoch in (one.epoch for one in archived_since(self._root, day) if one.day == day):
            try:
                found.append(read_arrow(self._root, name, epoch=epoch, day=day, columns=columns))
            except HistoryDamaged as error:
                self.unread.append(f"{error}")
        no_rows = read_arrow(self._root, name, epoch=-1, day=day, columns=columns)
        return pa.concat_tables(found) if found else no_rows


def _epochs(head: pa.Table) -> pd.DataFrame:
    codes = [[reason["code"] for reason in reasons or ()] for reasons in head["incidents"].to_pylist()]
    frame = bounded(head.drop_columns(["incidents", "policy_values"]).to_pandas())
    scales = [_memory_scale(values) for values in head["policy_values"].to_pylist()]
    return frame.assign(
        incidents=pd.Series(codes, dtype="object"), memory_scale=pd.Series(scales, dtype="int64")
    )


@cache
def _memory_scale(policy_values: str | None) -> int:
    """By how much the policy proves less memory than is listed: 1 but for simulated cards."""
    try:
        scale = int(json.loads(policy_values or "{}")["proof"]["memory_scale"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return 1
    return min(max(1, scale), MOST_SCALE)


# --- machines --------------------------------------------------------------------------------------


def _machine_rows(reader: _Reader, epochs: pd.DataFrame) -> pd.DataFrame:
    """A row an epoch and machine: what was listed, proved and scored."""
    table = reader.arrow("scores", *_SCORED)
    failed = _has_failed(table["reasons"])
    rows = bounded(table.drop_columns("reasons").to_pandas())
    rows["model"] = rows["model"].str.slice(0, MAX_NAME).replace("", UNKNOWN_MODEL)
    rows["formula"] = rows["formula"].fillna("default")  # there was no other before the column
    rows["failed"] = failed & (rows["passed"] == 0)
    listed = reader.frame("executors", *_BY_MACHINE, "price_usd_per_hour")
    leased = reader.frame("standings", *_BY_MACHINE, "is_leased")
    for other in (listed, leased, _proved(reader, epochs)):
        rows = rows.merge(other, on=_BY_MACHINE, how="left")
    is_leased = rows["is_leased"].eq(True)  # noqa: FBT003  missing before schema 3: nobody rented then
    # The small proof of a leased machine measures its caches and not its memory.
    is_measured = (rows["passed"] > 0) & ~is_leased & (rows["gb_s"] > 0)
    return rows.assign(
        gb_s=rows["gb_s"].where(is_measured), proved_bytes=rows["proved_bytes"].where(rows["passed"] > 0, 0.0)
    )


def _has_failed(reasons: pa.ChunkedArray) -> pd.Series:
    """Whether a row's reasons have one that fails it; rows without have no verdict at worst."""
    found = flat(reasons)
    failed = found.loc[found["severity"] == Severity.FAIL.value, "row"].unique()
    return pd.Series(range(len(reasons))).isin(failed)


def _proved(reader: _Reader, epochs: pd.DataFrame) -> pd.DataFrame:
    """All cards of a machine together; memory as if it were proved in full where the policy proves a part."""
    proofs = reader.frame("proofs", *_BY_MACHINE, "memory_bytes", "bandwidth_gb_s")
    sums = proofs.groupby(_BY_MACHINE, as_index=False)[["memory_bytes", "bandwidth_gb_s"]].sum()
    scale = sums["epoch"].map(epochs.set_index("epoch")["memory_scale"]).astype("float64")
    return sums[_BY_MACHINE].assign(proved_bytes=sums["memory_bytes"] * scale, gb_s=sums["bandwidth_gb_s"])


def _models(rows: pd.DataFrame) -> pd.DataFrame:
    passed = rows["passed"] > 0
    counted = rows.assign(
        machines=1,
        passed_machines=passed.astype("int64"),
        cards=rows["card_count"],
        passed_cards=rows["card_count"].where(passed, 0),
        listed_bytes=rows["vram_bytes"].astype("float64"),
    )
    added = ["machines", "passed_machines", "cards", "passed_cards", "listed_bytes", "proved_bytes"]
    return counted.groupby(["epoch", "model"], as_index=False)[added].sum()


def _machines(rows: pd.DataFrame) -> pd.DataFrame:
    grouped = rows.sort_values("epoch").groupby("executor_key", as_index=False)
    return grouped.agg(
        miner_hotkey=("miner_hotkey", "last"),
        miner_uid=("miner_uid", "last"),
        model=("model", "last"),
        cards=("card_count", "last"),
        price_usd_per_hour=("price_usd_per_hour", "last"),
        epochs=("epoch", "count"),
        passed=("passed", "sum"),
        score_sum=("score", "sum"),
        gb_s_sum=("gb_s", "sum"),
        gb_s_count=("gb_s", "count"),
    )


def _miners(rows: pd.DataFrame) -> pd.DataFrame:
    grouped = rows.groupby(["epoch", "miner_hotkey"], as_index=False)
    return grouped.agg(
        miner_uid=("miner_uid", "last"),
        machines=("epoch", "count"),
        passed=("passed", "sum"),
        failed=("failed", "sum"),
    )


# --- shares, phases, leases ------------------------------------------------------------------------


def _shares(reader: _Reader) -> tuple[pd.DataFrame, dict[str, int]]:
    """Sums by hotkey of the chain's incentive and of our weights as they were meant."""
    neurons = reader.frame("neurons", "epoch", "uid", "hotkey", "incentive")
    weights = reader.frame("weights", "epoch", "kind", "uid", "hotkey", "weight")
    weights = weights[weights["kind"] == "meant"]
    every = pd.concat([neurons, weights.drop(columns="kind")], ignore_index=True).sort_values("epoch")
    grouped = every.groupby("hotkey", as_index=False)
    sums = grouped.agg(uid=("uid", "last"), incentive=("incentive", "sum"), weight=("weight", "sum"))
    paid = neurons.loc[neurons["incentive"] > 0, "epoch"].nunique()
    return sums, {"incentive": int(paid), "weight": int(weights["epoch"].nunique())}


def _phases(reader: _Reader) -> pd.DataFrame:
    rows = reader.frame("phases", "epoch", "name", "started_at", "finished_at")
    seconds = (rows["finished_at"] - rows["started_at"]).dt.total_seconds()
    return bounded(rows[["epoch", "name"]].assign(seconds=seconds))


def _leases(reader: _Reader, rows: pd.DataFrame) -> pd.DataFrame:
    """What is leased of what is listed, as each epoch began; a lease without cards of its own has the whole machine."""
    table = reader.arrow("leases", *_BY_MACHINE, "card_uuids", "price_usd_per_hour")
    counts = pc.list_value_length(table["card_uuids"]).to_pandas()
    leases = bounded(table.drop_columns("card_uuids").to_pandas()).assign(own=counts, leases=1)
    leases = leases.merge(rows[[*_BY_MACHINE, "card_count"]], on=_BY_MACHINE, how="left")
    leases["leased_cards"] = leases["own"].where(leases["own"] > 0, leases["card_count"]).fillna(0.0)
    leases["usd_per_hour"] = leases["price_usd_per_hour"].fillna(0.0)
    added = ["leases", "leased_cards", "usd_per_hour"]
    listed = rows.groupby("epoch")["card_count"].sum().rename("listed_cards").to_frame()
    return listed.join(leases.groupby("epoch")[added].sum()).fillna(0.0).reset_index()


def bounded(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of MOST between 0 and what they can be; what is no number stays none."""
    for name in MOST.keys() & set(frame.columns):
        figures = frame[name].astype("float64")
        frame[name] = figures.where(figures.isna() | (figures >= LEAST), 0.0).clip(upper=MOST[name])
    return frame
