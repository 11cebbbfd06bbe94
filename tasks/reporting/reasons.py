"""Lists of reasons as rows: of the archive's text no more than the code and its effect."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from storage.records import Severity

SHADOW = "shadow"
"""In place of a severity: found by a check that has no effect yet."""
RANKS = {
    name: rank
    for rank, name in enumerate((Severity.FAIL.value, Severity.NO_VERDICT.value, SHADOW, Severity.WARN.value))
}
"""The gravest first."""


def flat(reasons: pa.ChunkedArray) -> pd.DataFrame:
    """A row a reason: number of its row, code, severity; what a policy runs in shadow has that as its severity."""
    array = reasons.combine_chunks()
    each = pc.list_flatten(array)
    is_shadow = pc.fill_null(pc.struct_field(each, "is_shadow"), False)  # noqa: FBT003  Arrow's; files before there was a shadow
    severity = pc.if_else(is_shadow, SHADOW, pc.struct_field(each, "severity"))
    frame = pa.table(
        {
            "row": pc.list_parent_indices(array),
            "code": pc.struct_field(each, "code").dictionary_encode(),
            "severity": severity.dictionary_encode(),
        }
    ).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    return frame


def counted(reasons: pa.ChunkedArray) -> pd.DataFrame:
    """How many rows have each code, each row once, under the gravest severity that it has it with: code, severity, machines."""
    found = flat(reasons).astype({"code": "str", "severity": "str"})
    gravest = found.assign(rank=found["severity"].map(RANKS)).sort_values(["rank", "severity"])
    once = gravest.drop_duplicates(["row", "code"])
    counts: pd.DataFrame = once.groupby(["code", "severity"], as_index=False).size()
    return counts.rename(columns={"size": "machines"})


def deciding(reasons: pa.ChunkedArray) -> pd.DataFrame:
    """Of each row the first of the gravest reasons that keep it from pay: code, severity, by the row's number."""
    found = flat(reasons).astype({"code": "str", "severity": "str"})
    found = found[found["severity"].isin([Severity.FAIL.value, Severity.NO_VERDICT.value])]
    gravest = found.assign(rank=found["severity"].map(RANKS)).sort_values("rank", kind="stable")
    return gravest.drop_duplicates("row").set_index("row")[["code", "severity"]]
