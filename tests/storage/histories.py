"""Small histories of a few days, and what any reader sees of them."""

import json
import tempfile
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from storage.compaction import compact
from storage.history import (
    archived_epochs,
    archived_since,
    read_epoch,
    read_passed,
    read_table,
    read_transcripts,
    write_epoch,
)
from storage.places import parquet, written
from storage.records import Card, HostFacts, HostReport
from storage.schemas import SCHEMAS, since
from tests.storage.outcomes import NOON, small_outcome

FIRST_DAY, LAST_DAY = date(2026, 8, 1), date(2026, 8, 4)
"""An epoch every six hours from the first day's noon on."""


def outcome(epoch, machines=2):
    """An epoch in which every machine lists a card and has a transcript of its own."""
    made = small_outcome(epoch, day=NOON + timedelta(hours=6 * (epoch - 1)), machines=machines)
    card = Card(0, "GPU-1", "NVIDIA L4", 23_034, "580", *[None] * 8)
    reports = tuple(
        HostReport(e.key, HostFacts(cards=(card,)), (), None, (), 0.1, 0.2) for e in made.executors
    )
    verdicts = tuple(replace(v, transcript=b"%d %d" % (epoch, at)) for at, v in enumerate(made.verdicts))
    return replace(made, reports=reports, verdicts=verdicts)


def write_days(root, epochs=8, tables=tuple(SCHEMAS)):
    """Epochs 1 to `epochs`, four a day but for the first day's two; written once, then copied."""
    for epoch in range(1, epochs + 1):
        for path, content in _archived(epoch).items():
            if path.parts[0] in tables:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)


@cache
def _archived(epoch):
    """What an archived epoch leaves in a history, file by file."""
    with tempfile.TemporaryDirectory() as folder:
        write_epoch(Path(folder), outcome(epoch))
        return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def fold(root, before=LAST_DAY, tables=tuple(SCHEMAS)):
    """Compact, and what it did."""
    return list(compact(root, before, tables))


def seen(root):
    """Everything that our readers tell of a history."""
    epochs = archived_epochs(root)
    return (
        epochs,
        [read_epoch(root, epoch) for epoch in epochs],
        [list(read_transcripts(root, epoch)) for epoch in epochs],
        [(a, read_passed(root, a)) for a in archived_since(root, "2026-08-02")],
        {name: repr(read_table(root, name).to_dict("records")) for name in SCHEMAS},
    )


def rows(root, name="scores"):
    """The rows of a table as our reader sees them: epoch and machine."""
    table = read_table(root, name, columns=["epoch", "executor_key"])
    return list(zip(table["epoch"], table["executor_key"], strict=True))


def data_set(root, name):
    """A table's folder as Arrow, which knows nothing of us, reads it."""
    where = root / name
    kind = {} if isinstance(where, Path) else {"filesystem": where.filesystem}
    source = where if isinstance(where, Path) else where.source
    return pyarrow.dataset.dataset(source, partitioning="hive", format="parquet", **kind)


def plain_rows(root, name="scores"):
    """The same as any other tool sees them in the folder, sorted."""
    table = data_set(root, name).to_table(["epoch", "executor_key"])
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def files(root, name):
    """What lies in a table's folders, by day."""
    return {
        folder.name.removeprefix("day="): sorted(p.name for p in folder.iterdir())
        for folder in sorted((root / name).glob("day=*"))
    }


def as_schema(root, epoch, version):
    """Make an archived epoch what the code of an older schema wrote: its columns, its reasons, its tables and no more."""
    for name in SCHEMAS:
        for path in (root / name).glob(f"day=*/epoch-{epoch}.parquet"):
            if since(name) > version:
                path.unlink()
                continue
            table = parquet(path).read().drop_columns(_later_columns(name, version))
            for at, field in enumerate(table.schema):
                if field.name in {"reasons", "incidents"}:
                    rows = [[{k: r[k] for k in _REASON} for r in listed] for listed in table[at].to_pylist()]
                    table = table.set_column(at, field.name, pa.array(rows, _REASONS))
            write_parquet(path, table.replace_schema_metadata({"schema_version": str(version)}))


_REASON = ("code", "severity", "got", "wanted", "mend")
_REASONS = pa.list_(pa.struct([(name, pa.string()) for name in _REASON]))


def _later_columns(name, version):
    if name == "reports":
        return ["bandwidth_rtt_ms"] if version < 2 else []
    if name == "epochs":
        return ["policy_values", "scored_at", "owner_hotkey", "weight_first_epoch"]
    names = SCHEMAS[name].names
    return names[names.index("reasons") + 1 :] if name == "scores" else []


def write_parquet(path, table):
    """Put this in the place of a file of the history."""
    with written(path) as file:
        pq.write_table(table, file)


def manifest(root, name, day):
    """The manifest of a table's day."""
    return json.loads((root / name / f"day={day}" / "_folds.json").read_text())
