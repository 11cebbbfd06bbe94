"""What checks found, by stage: how many were checked, and how many got each code."""

from __future__ import annotations

import pandas as pd
import pyarrow.compute as pc

from tasks.reporting.reasons import counted
from tasks.reporting.results import Read

STAGES = {"discovery": "miner_replies", "inspection": "reports", "proof": "verdicts"}


def checks_of(read: Read) -> tuple[pd.DataFrame, dict[str, int]]:
    """A row a stage, code and severity: machines (each once an epoch, with its gravest severity); and by stage, how many
    were checked.
    """
    found, tried = [], {}
    for stage, name in STAGES.items():
        table = read(name, "epoch", "reasons", *(["code"] if stage == "proof" else []))
        if stage == "proof":
            table = table.filter(pc.not_equal(table["code"], "NOT_TRIED"))
        tried[stage] = len(table)
        found.append(counted(table["reasons"]).assign(stage=stage))
    return pd.concat(found, ignore_index=True), tried
