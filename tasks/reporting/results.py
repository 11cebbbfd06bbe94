"""What each epoch came to for each machine, as far as one epoch can be laid beside the next.

results   a row an epoch and machine: epoch, executor_key, result, code, severity, identity
silences  a row an epoch and miner whose agent gave no list: epoch, miner_hotkey, code, severity

`code` and `severity` are of the first of the gravest reasons that kept the machine from pay; empty where there is none.
`identity` is a digest of where the machine is, of its host key and of its proved cards: equal digests, an equal machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.reporting.reasons import deciding

PASSED, STOPPED, KEPT = "passed", "stopped", "kept"
"""Inspection and proof let it be paid; they did not, and it was not paid; they did not, and its last score was kept."""
Read = Callable[..., pa.Table]
"""read(table, *columns): these columns of a table of the history."""
_KEYS = ["epoch", "executor_key"]
_PLACE = ("address", "port", "host_key")


def results_of(read: Read) -> pd.DataFrame:
    """The results of the epochs that `read` reads."""
    scores = read("scores", "epoch", "executor_key", "passed", "score", "reasons")
    why = deciding(scores["reasons"]).reindex(range(len(scores)))
    rows: pd.DataFrame = scores.drop_columns("reasons").to_pandas()
    is_paid = rows["score"] > 0  # no number is no score
    result = np.select([rows["passed"] > 0, is_paid], [PASSED, KEPT], default=STOPPED)
    told = rows[_KEYS].assign(result=result, code=why["code"].fillna(""), severity=why["severity"].fillna(""))
    found = _identities(read).set_index(_KEYS)["identity"]
    wanted = pd.MultiIndex.from_frame(told[_KEYS])
    return told.assign(identity=found.reindex(wanted, fill_value=0).to_numpy().view("int64"))


def silences_of(read: Read) -> pd.DataFrame:
    """Miners whose agent gave no list of machines, and why."""
    replies = read("miner_replies", "epoch", "hotkey", "reasons")
    why = deciding(replies["reasons"])
    rows: pd.DataFrame = replies.select(["epoch", "hotkey"]).to_pandas()
    return rows.rename(columns={"hotkey": "miner_hotkey"}).join(why, how="inner").reset_index(drop=True)


def _identities(read: Read) -> pd.DataFrame:
    """epoch, executor_key, identity; of a machine without a proof it is of the place alone."""
    listed: pd.DataFrame = read("executors", *_KEYS, *_PLACE).to_pandas()
    place = sum((_digest(listed[name]) * np.uint64(n) for n, name in enumerate(_PLACE, 1)), np.uint64(0))
    proofs: pd.DataFrame = read("proofs", *_KEYS, "card_uuid").to_pandas()
    # Sums: the order of cards says nothing. Integers all the way, a missing one would make them floats.
    of_cards = proofs[_KEYS].assign(identity=_digest(proofs["card_uuid"]))
    both: pd.DataFrame = pd.concat([listed[_KEYS].assign(identity=place), of_cards], ignore_index=True)
    return both.groupby(_KEYS)["identity"].sum().reset_index()


def _digest(values: pd.Series[str]) -> pd.Series[int]:
    digests = pd.util.hash_array(values.to_numpy(), categorize=True)
    return pd.Series(digests, index=values.index, dtype="uint64")
