"""A month of history, made fast: one epoch in records, repeated as Arrow tables with what varies from epoch to epoch.

What differs between epochs: which machines fail, what cards and lines measure, one of twelve commands' outputs. What stays:
machines, models, prices, reasons' texts. Transcripts are left empty: nothing compresses them, and no question looks at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.compaction import write_rows
from storage.convert import tables_of
from storage.folders import Fold, Manifest, replace_manifest
from storage.records import HostReport, RawFact
from storage.schemas import SCHEMAS, VERSION
from tests.tasks.scoring.epochs import World

DAYS, EPOCHS_A_DAY, MACHINES, MINERS = 30, 144, 1_000, 256
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
FAILING_SHARE = 0.03
COMMANDS = tuple(f"command-{number}" for number in range(12))
_MEASURED = ("connect_s", "duration_s", "bandwidth_up_mbit_s", "bandwidth_down_mbit_s")


class Month:
    """Days of all tables, each a pure function of its number."""

    def __init__(self) -> None:
        made = World(MACHINES, MINERS)
        outcome = made.epoch(1)
        outcome = replace(outcome, reports=tuple(map(_with_raw, outcome.reports)))
        self.base: Mapping[str, pa.Table] = tables_of(outcome)
        scores = self.base["scores"].to_pandas()
        good = scores["passed"].to_numpy() > 0
        self.score = np.where(good, scores["score"], scores["rate_usd_per_hour"] * scores["card_count"])
        proved = self.base["proofs"]["executor_key"].to_pylist()
        keys = {key: at for at, key in enumerate(scores["executor_key"])}
        self.machine_of_proof = np.array([keys[key] for key in proved])
        reasons = self.base["scores"]["reasons"].to_pylist()
        self.failed = next(r for r in reasons if any(one["severity"] == "fail" for one in r))

    def day(self, name: str, number: int) -> pa.Table:
        """A table's rows of one day, by epoch."""
        rng = np.random.default_rng(number)
        passed = rng.random((EPOCHS_A_DAY, MACHINES)) >= FAILING_SHARE
        base = self.base[name]
        tiled = pa.concat_tables([base] * EPOCHS_A_DAY).combine_chunks()
        first = number * EPOCHS_A_DAY
        epochs = np.repeat(np.arange(first, first + EPOCHS_A_DAY), len(base))
        columns: dict[str, object] = {"epoch": epochs}
        columns |= self._varied(name, rng, passed, len(base))
        for column, values in columns.items():
            at = tiled.schema.get_field_index(column)
            field = tiled.schema.field(at).with_nullable(nullable=True)
            array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
            tiled = tiled.set_column(at, field, array.cast(field.type))
        return tiled.cast(pa.schema([f.with_nullable(nullable=True) for f in SCHEMAS[name]]))

    def _varied(
        self, name: str, rng: np.random.Generator, passed: np.ndarray, rows: int
    ) -> dict[str, object]:
        noise = rng.normal(1.0, 0.005, EPOCHS_A_DAY * rows)
        match name:
            case "scores":
                return self._scores(rng, passed)
            case "proofs":
                proved = passed[:, self.machine_of_proof].ravel()
                return {
                    "bandwidth_gb_s": self._scaled(name, "bandwidth_gb_s", noise),
                    "walk_s": self._scaled(name, "walk_s", noise),
                    "multiply_s": self._scaled(name, "multiply_s", noise),
                    "passed": proved,
                    "code": np.where(proved, "PROVED", "PROOF_TOO_LATE"),
                }
            case "weights":
                return {"weight": self._scaled(name, "weight", noise)}
            case "reports":
                return {column: self._scaled(name, column, noise) for column in _MEASURED} | {
                    "raw": self._raw(rng)
                }
            case "verdicts":
                return {"code": np.where(passed.ravel(), "PROVED", "PROOF_TOO_LATE")}
            case _:
                return {}

    def _scores(self, rng: np.random.Generator, passed: np.ndarray) -> dict[str, object]:
        performance = self.base["scores"]["performance"].to_numpy() * rng.normal(1.0, 0.005, passed.shape)
        score = self.score * performance * passed
        reasons = pa.array([[], self.failed], self.base["scores"]["reasons"].type)
        return {
            "performance": performance.ravel(),
            "score": score.ravel(),
            "enforced_score": score.ravel(),
            "passed": passed.ravel().astype("float64"),
            "reasons": pc.take(reasons, pa.array((~passed).ravel().astype("int8"))),
        }

    def _raw(self, rng: np.random.Generator) -> pa.Array:
        """What the commands printed: the first one's output is another in every epoch."""
        listed = self.base["reports"]["raw"].combine_chunks()
        base = pa.concat_arrays([listed] * EPOCHS_A_DAY)
        known, rows = len(listed.values), len(base)
        octets = rng.bytes(32 * rows).hex()
        printed = pa.array([octets[at : at + 64] for at in range(0, len(octets), 64)])
        places = np.tile(np.arange(known), EPOCHS_A_DAY).reshape(rows, len(COMMANDS))
        places[:, 0] = known + np.arange(rows)
        fields = [base.values.field(field.name) for field in base.type.value_type]
        fields[2] = pa.concat_arrays([listed.values.field("blake2s"), printed]).take(pa.array(places.ravel()))
        structs = pa.StructArray.from_arrays(fields, fields=list(base.type.value_type))
        return pa.ListArray.from_arrays(base.offsets, structs)

    def _scaled(self, name: str, column: str, noise: np.ndarray) -> np.ndarray:
        return np.tile(self.base[name][column].to_numpy(zero_copy_only=False), EPOCHS_A_DAY) * noise


def _with_raw(report: HostReport) -> HostReport:
    """A report with the digest of each command's output."""
    raw = tuple(
        RawFact(name, 0, hashlib.blake2s(f"{report.executor_key} {name}".encode()).hexdigest(), 900, 0.25)
        for name in COMMANDS
    )
    return replace(report, raw=raw)


def write_day(root: Path, name: str, number: int, table: pa.Table) -> Path:
    """A table's day as compaction leaves it."""
    folder = root / name / f"day={FIRST + timedelta(days=number):%Y-%m-%d}"
    folder.mkdir(parents=True)
    path = folder / f"fold-{number:032x}.parquet"
    at_once = max(1, len(table) // EPOCHS_A_DAY)
    write_rows(path, name, (table.slice(at, at_once) for at in range(0, len(table), at_once)))
    first = number * EPOCHS_A_DAY
    replace_manifest(
        folder, Manifest((Fold(path.name, dict.fromkeys(range(first, first + EPOCHS_A_DAY), VERSION)),))
    )
    return path
