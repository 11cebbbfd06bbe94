"""The one place that converts: record <-> row of a table, and record <-> row of the history.

A row has a key per column. Names agree with the record's fields; what does not is named here and in docs/history.md:

- a table keeps fields that are records or tuples as JSON text, and transcripts and evidence compressed;
- the history flattens `facts` and `bandwidth` of a report and `record` of a standing, keeps `cards` of a verdict as
  rows of `proofs` and the quotes of the grounds as `prices`, puts the outcome of the weights and the rest of the
  grounds beside the epoch, and leaves a reply's executors to `executors`;
- text that no database can hold (lone surrogates, NUL) becomes U+FFFD, integers beyond 64 bits become the nearest
  that fits: a hostile machine's answer must not cost the epoch its archive.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import pyarrow as pa
import sqlalchemy as sa
from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError

from storage.records import (
    Bandwidth,
    EpochOutcome,
    Event,
    Executor,
    ExecutorRecord,
    Grounds,
    HostFacts,
    HostReport,
    Lease,
    MinerReply,
    Neuron,
    Phase,
    Quote,
    Reason,
    Score,
    Standing,
    Verdict,
    WeightOutcome,
    WeightTarget,
    WeightVector,
)
from storage.schemas import SCHEMAS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")

Row = Mapping[str, object] | sa.RowMapping
Rows = dict[str, list[dict[str, object]]]
"""Rows of the history by table name."""

COMPRESSED = frozenset({"transcript", "evidence"})
MEANT, LANDED = "meant", "landed"
_INT64 = 1 << 63


# --- tables ----------------------------------------------------------------------------------------


def row_of(record: DataclassInstance, *without: str) -> dict[str, object]:
    """The table row of a record, minus the fields named in `without`."""
    return {
        name: _to_column(name, getattr(record, name), adapter)
        for name, adapter in _columns(type(record))
        if name not in without
    }


def record_of(kind: type[R], row: Row, **more: object) -> R:
    """The record of this kind in a table row; columns that it has no field for are left, `more` fills fields without one."""
    values: dict[str, Any] = {
        name: _from_column(name, row[name], adapter) for name, adapter in _columns(kind) if name in row
    }
    return kind(**_enums(kind, values), **more)


def json_of(reasons: tuple[Reason, ...]) -> str:
    """The JSON text of a list of reasons."""
    return _dump(_json_adapter(tuple[Reason, ...]), reasons)


@cache
def _columns(kind: type) -> tuple[tuple[str, TypeAdapter[Any] | None], ...]:
    """Each field of a record, with the adapter of those that are JSON in a table."""
    hints = get_type_hints(kind)
    return tuple(
        (f.name, None if _is_scalar(hints[f.name]) else _json_adapter(hints[f.name])) for f in fields(kind)
    )


def _is_scalar(hint: Any) -> bool:
    """Whether a column can hold it as it is: a plain value, an enum of texts, or one of these or None."""
    parts = [part for part in get_args(hint) if part is not type(None)]
    if parts and type(None) in get_args(hint):
        return all(_is_scalar(part) for part in parts)
    return isinstance(hint, type) and issubclass(hint, (str, int, float, bytes, datetime))


@cache
def _json_adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint | None, config=ConfigDict(ser_json_inf_nan="constants"))


@cache
def _enum_fields(kind: type) -> tuple[tuple[str, type[StrEnum]], ...]:
    return tuple(
        (name, part)
        for name, hint in get_type_hints(kind).items()
        if _is_scalar(hint)  # of those in JSON, its adapter makes enums
        for part in (hint, *get_args(hint))
        if isinstance(part, type) and issubclass(part, StrEnum)
    )


def _enums(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    for name, enum in _enum_fields(kind):
        if values.get(name) is not None:
            values[name] = enum(values[name])
    return values


def _to_column(name: str, value: object, adapter: TypeAdapter[Any] | None) -> object:
    if adapter is not None:
        return _dump(adapter, value)
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, bytes) and name in COMPRESSED:
        return _compress(value)
    if isinstance(value, int):
        return _clean(value)
    return value


def _from_column(name: str, value: Any, adapter: TypeAdapter[Any] | None) -> object:
    if adapter is not None:
        return adapter.validate_json(value)
    if name in COMPRESSED:
        return _decompress(value)
    return value


def _dump(adapter: TypeAdapter[Any], value: object) -> str:
    try:
        return adapter.dump_json(value).decode()
    except PydanticSerializationError:
        return json.dumps(_clean(adapter.dump_python(value)))


def _compress(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def _decompress(data: bytes) -> bytes:
    if not data:
        return b""
    with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
        return bytes(stream.read())


def _clean(value: object) -> object:
    """The same value with what no column can hold replaced; tuples become lists."""
    match value:
        case str():
            return _clean_text(value)
        case bool():
            return value
        case int():
            return max(-_INT64, min(value, _INT64 - 1))
        case dict():
            return {key: _clean(part) for key, part in value.items()}
        case list() | tuple():
            return [_clean(part) for part in value]
        case _:
            return value


def _clean_text(text: str) -> str:
    """The plain text (of an enum, its value) without lone surrogates and NUL."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return str(text).replace("\0", "\ufffd")


# --- history ---------------------------------------------------------------------------------------


def tables_of(outcome: EpochOutcome) -> dict[str, pa.Table]:
    """The Arrow table of every table of the history, in the order in which they are to be written."""
    rows = _rows_of(outcome)
    return {name: _arrow(name, [{"epoch": outcome.epoch, **row} for row in rows[name]]) for name in SCHEMAS}


def outcome_of(tables: Mapping[str, pa.Table]) -> EpochOutcome:
    """The outcome whose tables these are."""
    rows = {name: table.to_pylist() for name, table in tables.items()}
    _decide_shadows(rows)
    (head,) = rows["epochs"]
    executors = _records(Executor, rows["executors"])
    _refuse_other_keys(executors, rows["executors"])
    return _an_outcome().validate_python(
        {
            **head,
            "replies": _replies(rows["miner_replies"], executors),
            "executors": executors,
            "reports": _records(HostReport, map(_report_values, rows["reports"])),
            "verdicts": _verdicts(rows["verdicts"], rows["proofs"]),
            "scores": _records(Score, map(_known, rows["scores"])),
            "weights": _vector(head, rows["weights"]),
            "weight_outcome": _weight_outcome(head, rows["weights"]),
            "grounds": _grounds(head, rows),
            "phases": _records(Phase, rows["phases"]),
            "events": _records(Event, rows["events"]),
        }
    )


@cache
def _an_outcome() -> TypeAdapter[EpochOutcome]:
    """Made once: it takes longer than reading an epoch does."""
    return TypeAdapter(EpochOutcome)


def _refuse_other_keys(executors: Iterable[Executor], rows: Iterable[Row]) -> None:
    """The key stands beside what it is made of, for whoever asks in SQL: both must say the same."""
    for executor, row in zip(executors, rows, strict=True):
        if row["executor_key"] != executor.key:
            raise ValueError(f"executor {executor.key!r} has the key {row['executor_key']!r}")


def scores_of(table: pa.Table) -> tuple[Score, ...]:
    """The scores whose rows these are, in their order."""
    rows = table.to_pylist()
    _decide_shadows({"scores": rows})
    return _records(Score, map(_known, rows))


def _decide_shadows(rows: Rows) -> None:
    """Reasons of files before schema 3: nothing was in shadow."""
    for row in chain.from_iterable(rows.values()):
        for column in ("reasons", "incidents"):
            reasons: Any = row.get(column) or ()
            for reason in reasons:
                reason["is_shadow"] = bool(reason["is_shadow"])


def _known(row: Row) -> Row:
    """A row without the columns that its file is too old for: they have their record's defaults."""
    return {name: value for name, value in row.items() if value is not None}


def _rows_of(outcome: EpochOutcome) -> Rows:
    return {
        "epochs": [_head_row(outcome)],
        "miner_replies": [
            _flat(reply, "executors", "swaps", "terms", "certificates") for reply in outcome.replies
        ],
        "executors": [{**_flat(e), "executor_key": e.key} for e in outcome.executors],
        "reports": [_report_row(report) for report in outcome.reports],
        "verdicts": [_flat(verdict, "cards") for verdict in outcome.verdicts],
        "proofs": [
            {"executor_key": v.executor_key, **_flat(card)} for v in outcome.verdicts for card in v.cards
        ],
        "scores": [_flat(score) for score in outcome.scores],
        "weights": list(_weight_rows(outcome)),
        **_ground_rows(outcome.grounds),
        "phases": [_flat(phase) for phase in outcome.phases],
        "events": [_flat(event) for event in outcome.events],
    }


def _ground_rows(grounds: Grounds | None) -> Rows:
    if grounds is None:
        return {"neurons": [], "standings": [], "prices": [], "leases": []}
    return {
        "neurons": [_flat(neuron, "tls_commitment") for neuron in grounds.neurons],
        "standings": [{**_flat(s.record), **_flat(s, "record")} for s in grounds.standings],
        "prices": [_flat(quote) for quote in grounds.quotes],
        "leases": [_flat(lease) for lease in grounds.leases],
    }


def _arrow(name: str, rows: list[dict[str, object]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(rows, schema=SCHEMAS[name])
    except (pa.ArrowInvalid, OverflowError, UnicodeEncodeError):
        return pa.Table.from_pylist([_clean(row) for row in rows], schema=SCHEMAS[name])


def _flat(record: DataclassInstance, *without: str) -> dict[str, object]:
    """A record's fields by name, nested records as dictionaries, minus those named."""
    return {name: _plain(value) for name, value in _items(record) if name not in without}


def _items(record: DataclassInstance) -> Iterator[tuple[str, object]]:
    return ((name, getattr(record, name)) for name, _ in _columns(type(record)))


def _plain(value: object) -> object:
    """Nested records as dictionaries; plain values as they are."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    names = getattr(type(value), "__dataclass_fields__", None)
    return {name: _plain(getattr(value, name)) for name in names} if names else value


def _head_row(outcome: EpochOutcome) -> dict[str, object]:
    parts = ("replies", "executors", "reports", "verdicts", "scores", "weights", "weight_outcome")
    row = _flat(outcome, *parts, "grounds", "phases", "events")
    if outcome.grounds is not None:
        row |= _flat(outcome.grounds, "neurons", "standings", "quotes", "leases")
    if outcome.weights is not None:
        row["burn_share"] = outcome.weights.burn_share
        row["weight_first_epoch"] = outcome.weights.first_epoch
    if outcome.weight_outcome is not None:
        row |= {f"weight_{k}": v for k, v in _flat(outcome.weight_outcome, "landed").items()}
    return row


def _report_row(report: HostReport) -> dict[str, object]:
    row = _flat(report, "facts", "bandwidth") | _flat(report.facts)
    if report.bandwidth is not None:
        row |= {f"bandwidth_{k}": v for k, v in _flat(report.bandwidth).items()}
    return row


def _weight_rows(outcome: EpochOutcome) -> Iterator[dict[str, object]]:
    if outcome.weights is not None:
        yield from ({"kind": MEANT, **_flat(target)} for target in outcome.weights.targets)
    if outcome.weight_outcome is not None:
        yield from ({"kind": LANDED, **_flat(target)} for target in outcome.weight_outcome.landed)


@cache
def _record_adapter(kind: type[R]) -> TypeAdapter[tuple[R, ...]]:
    return TypeAdapter(tuple[kind, ...])  # type: ignore[valid-type]


def _records(kind: type[R], rows: Iterable[Row]) -> tuple[R, ...]:
    return _record_adapter(kind).validate_python(tuple(rows))


def _replies(rows: Sequence[Row], executors: Iterable[Executor]) -> tuple[MinerReply, ...]:
    by_miner = defaultdict(list)
    for executor in executors:
        by_miner[executor.miner_hotkey].append(executor)
    return _records(MinerReply, ({**row, "executors": by_miner[str(row["hotkey"])]} for row in rows))


def _report_values(row: Row) -> Row:
    """The nested form of a flattened report."""
    bandwidth = None
    if row["bandwidth_samples"] is not None:
        bandwidth = {f.name: row[f"bandwidth_{f.name}"] for f in fields(Bandwidth)}
    return {**row, "facts": {f.name: row[f.name] for f in fields(HostFacts)}, "bandwidth": bandwidth}


def _verdicts(rows: Iterable[Row], proofs: Iterable[Row]) -> tuple[Verdict, ...]:
    cards = defaultdict(list)
    for proof in proofs:
        cards[proof["executor_key"]].append(proof)
    return _records(Verdict, ({**row, "cards": cards[row["executor_key"]]} for row in rows))


def _vector(head: Row, rows: Iterable[Row]) -> WeightVector | None:
    targets = _records(WeightTarget, (row for row in rows if row["kind"] == MEANT))
    if head["burn_share"] is None:
        if targets:
            raise ValueError("it has weights that were meant and no burn_share")
        return None
    values = {**head, "targets": targets, "first_epoch": head["weight_first_epoch"]}
    (vector,) = _records(WeightVector, [values])
    return vector


def _weight_outcome(head: Row, rows: Iterable[Row]) -> WeightOutcome | None:
    if head["weight_status"] is None:
        return None
    values: dict[str, object] = {f.name: head.get(f"weight_{f.name}") for f in fields(WeightOutcome)}
    values["landed"] = _records(WeightTarget, (row for row in rows if row["kind"] == LANDED))
    (outcome,) = _records(WeightOutcome, [values])
    return outcome


def _grounds(head: Row, rows: Rows) -> Grounds | None:
    if head["scored_at"] is None:
        return None
    standings = (
        {**row, "record": {f.name: row[f.name] for f in fields(ExecutorRecord)}} for row in rows["standings"]
    )
    values = {
        **head,
        "neurons": _records(Neuron, rows["neurons"]),
        "standings": _records(Standing, standings),
        "quotes": _records(Quote, rows["prices"]),
        "leases": _records(Lease, rows["leases"]),
    }
    (grounds,) = _records(Grounds, [values])
    return grounds
