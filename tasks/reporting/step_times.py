"""How long the steps of an inspection and of a proof take, a machine at a time.

    rows = step_rows(read)              epoch, step, seconds: a row a machine and step
    sums = binned(rows)                 step, bin, machines, seconds: adds up over epochs and days
    spread(sums)                        step: machines, median, p95, longest, seconds (all together)

Bins are 5 % wide, so a quantile is within 2.5 % of the true one whatever is added up; sums of seconds are exact.

A step is named with its stage, `inspection: facts`, `proof: walk`. The archive tells steps by name where it has a column
`steps` (reports, verdicts). Of epochs without one these are known: connecting, all commands of the facts (by the machine's
clock), and of the proof walk and multiplication of the slowest card. `inspection: whole` is always known.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.schemas import SCHEMAS
from tasks.reporting.results import Read

INSPECTION, PROOF = "inspection", "proof"
ORDER = (
    *(
        f"{INSPECTION}: {name}"
        for name in ("turn", "connect", "handshake", "login", "open", "facts", "bandwidth", "whole")
    ),
    *(f"{PROOF}: {name}" for name in ("start", "ready", "walk", "multiply", "open", "verify")),
)
"""As they follow each other; whatever else the archive names comes after them."""
MAX_NAME = 32
MAX_STEPS = 24
"""Of different names; the archive is ours, and may yet be anybody's."""
LEAST_S, MOST_S, WIDTH = 1e-4, 1e5, 1.05
_EDGES: npt.NDArray[np.float64] = LEAST_S * WIDTH ** np.arange(
    np.ceil(np.log(MOST_S / LEAST_S) / np.log(WIDTH)) + 1
)


def step_rows(read: Read) -> pd.DataFrame:
    """All steps of the epochs that `read` reads; what is told by name counts before what is only derived."""
    named = [
        told_steps(read, table, stage)
        for table, stage in (("reports", INSPECTION), ("verdicts", PROOF))
        if "steps" in SCHEMAS[table].names
    ]
    told = pd.concat([_NO_ROWS, *named])
    derived = pd.concat([_NO_ROWS, *_derived(read)])
    has = pd.MultiIndex.from_frame(told[["epoch", "step"]])
    is_told = pd.MultiIndex.from_frame(derived[["epoch", "step"]]).isin(has)
    rows = pd.concat([told, derived[~is_told]], ignore_index=True)
    return rows[rows["seconds"] > 0].reset_index(drop=True)


def binned(rows: pd.DataFrame) -> pd.DataFrame:
    """Counted by bins: a row a step and bin."""
    seconds = rows["seconds"].clip(LEAST_S, MOST_S)
    at = np.searchsorted(_EDGES, seconds.to_numpy(), side="right") - 1
    counted = rows.assign(bin=at.astype("int64"), seconds=seconds, machines=1)
    return counted.groupby(["step", "bin"])[["machines", "seconds"]].sum().reset_index()


def added(sums: list[pd.DataFrame]) -> pd.DataFrame:
    """Several as one."""
    filled = [one for one in sums if len(one)]
    whole = pd.concat(filled or [binned(_NO_ROWS)], ignore_index=True)
    return whole.groupby(["step", "bin"])[["machines", "seconds"]].sum().reset_index()


def spread(sums: pd.DataFrame) -> pd.DataFrame:
    """A row a step in the order of the epoch: machines, median, p95, longest, seconds."""
    ordered = sums.sort_values(["step", "bin"])
    found = {step: _spread(own) for step, own in ordered.groupby("step")}
    names = [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]
    columns = ["machines", "median", "p95", "longest", "seconds"]
    return pd.DataFrame([found[name] for name in names[:MAX_STEPS]], index=names[:MAX_STEPS], columns=columns)


def _spread(own: pd.DataFrame) -> tuple[float, ...]:
    up_to = own["machines"].cumsum().to_numpy()
    middles = _EDGES[own["bin"].to_numpy()] * np.sqrt(WIDTH)
    median, p95 = (middles[np.searchsorted(up_to, share * up_to[-1])] for share in (0.5, 0.95))
    return int(up_to[-1]), float(median), float(p95), float(middles[-1]), float(own["seconds"].sum())


# --- from the archive --------------------------------------------------------------------------------


def told_steps(read: Read, table: str, stage: str) -> pd.DataFrame:
    """Steps that the archive names: lists of (name, seconds), or none of an older file."""
    rows = read(table, "epoch", "steps")
    steps = rows["steps"].combine_chunks()
    at = pc.list_parent_indices(steps)
    name, seconds = (pc.list_flatten(steps).field(n) for n in (0, 1))
    return _rows(rows["epoch"].take(at), f"{stage}: " + _cut(name), seconds)


def _derived(read: Read) -> Iterator[pd.DataFrame]:
    reports = read("reports", "epoch", "executor_key", "connect_s", "duration_s", "raw")
    raw = reports["raw"].combine_chunks()
    reached = reports.filter(pc.greater(pc.list_value_length(raw), 0))
    yield _rows(reached["epoch"], f"{INSPECTION}: connect", reached["connect_s"])
    yield _rows(reached["epoch"], f"{INSPECTION}: whole", reached["duration_s"])
    commands = pd.Series(pc.struct_field(pc.list_flatten(raw), "duration_s").to_pandas())
    whole = commands.groupby(pc.list_parent_indices(raw).to_pandas()).sum()
    epochs = reports["epoch"].to_pandas().loc[whole.index]
    yield pd.DataFrame({"epoch": epochs, "step": f"{INSPECTION}: facts", "seconds": whole})
    proofs: pd.DataFrame = read("proofs", "epoch", "executor_key", "walk_s", "multiply_s").to_pandas()
    slowest = proofs.groupby(["epoch", "executor_key"])[["walk_s", "multiply_s"]].max().reset_index()
    for step, column in {"walk": "walk_s", "multiply": "multiply_s"}.items():
        name = f"{PROOF}: {step}"
        yield pd.DataFrame({"epoch": slowest["epoch"], "step": name, "seconds": slowest[column]})


def _rows(epoch: pa.ChunkedArray, step: pd.Series[str] | str, seconds: pa.ChunkedArray) -> pd.DataFrame:
    return pd.DataFrame({"epoch": epoch.to_pandas(), "step": step, "seconds": seconds.to_pandas()})


def _cut(names: pa.Array) -> pd.Series[str]:
    cut: pd.Series[str] = pc.utf8_slice_codeunits(names, 0, MAX_NAME).to_pandas()
    return cut


_NO_ROWS = pd.DataFrame(
    {
        "epoch": pd.Series(dtype="int64"),
        "step": pd.Series(dtype="str"),
        "seconds": pd.Series(dtype="float64"),
    }
)
