"""Two validators' histories beside each other: which epochs both have, and where scores, verdicts and weights differ.

Validators measure for themselves, so some terms always differ a little; `tolerance` leaves out what differs by no more
than that share. Everything is counted in SQL: no more than the differences ever comes into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from storage.errors import StorageError
from storage.places import Place
from storage.query import Limits, Source, query_views
from storage.schemas import SCHEMAS

LIMITS = Limits(seconds=600.0)
EPOCHS_AT_ONCE = 288
"""Two days of them are joined at once: a month would not fit into the memory that a query may take."""
_TABLES = ("epochs", "scores", "verdicts", "weights")
_NUMBERS = (pa.float64(), pa.int64())


class OtherSubnet(StorageError):
    """The two histories have nothing to do with each other."""


@dataclass(frozen=True, slots=True)
class Varied:
    """One column of one machine or miner, over all epochs in which it differs."""

    table: str
    subject: str
    """The executor's key; of weights, the miner's hotkey."""
    column: str
    """`row` where only one of the two has it."""
    epochs: int
    """In which it differs."""
    largest: float | None
    """Of the differences; None where it is no finite number."""
    mean: float | None
    epoch: int
    """Of the largest difference, and the values there."""
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two histories agree on and what not."""

    both: tuple[int, ...]
    """Epochs, ascending."""
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    compared: int
    """Machines of epochs that both have scored."""
    differences: tuple[Varied, ...]
    """By table, then the largest first."""


def compare(
    a: Place,
    b: Place,
    *,
    tolerance: float = 0.0,
    first: int = 0,
    last: int = 2**62,
    at_once: int = EPOCHS_AT_ONCE,
) -> Comparison:
    """Compare the epochs from `first` to `last` that both histories have.

    OtherSubnet when they are of different subnets; HistoryDamaged, SchemaUnknown when a file can't be read.
    """
    views = {f"{side}_{t}": Source(root, t) for side, root in (("a", a), ("b", b)) for t in _TABLES}

    def rows(sql: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = query_views(views, sql, LIMITS).to_pylist()
        return found

    _refuse_other_subnet(rows(_SUBNETS))
    of_a, of_b = (_EPOCHS.format(side=side, span=_between(first, last)) for side in "ab")
    numbers, others = (_ints(row["epoch"] for row in rows(sql)) for sql in (of_a, of_b))
    both = sorted(numbers & others)
    compared, found = 0, list[Varied]()
    for at in range(0, len(both), at_once):
        these = both[at : at + at_once]
        span = f"{_between(these[0], these[-1])} and epoch in ({of_a} intersect {of_b})"
        compared += sum(_ints(row["n"] for row in rows(_COMPARED + span)))
        found += [_varied(**row) for sql in _questions(span, tolerance) for row in rows(sql)]
    return Comparison(
        both=tuple(both),
        only_a=tuple(sorted(numbers - others)),
        only_b=tuple(sorted(others - numbers)),
        compared=compared,
        differences=tuple(_added_up(found)),
    )


def _between(first: int, last: int) -> str:
    return f"epoch between {first} and {last}"


def _varied(worst: Any, **row: Any) -> Varied:
    return Varied(**row, **worst)


def _added_up(found: Iterable[Varied]) -> Iterator[Varied]:
    """One for each table, subject and column, of several spans; by table, then the largest first."""
    whole: dict[tuple[str, str, str], Varied] = {}
    for one in found:
        key = (one.table, one.subject, one.column)
        whole[key] = _sum(whole[key], one) if key in whole else one
    tables = {name: at for at, name in enumerate(_TABLES)}
    yield from sorted(
        whole.values(), key=lambda v: (tables[v.table], -(v.largest or 0.0), v.subject, v.column)
    )


def _sum(one: Varied, other: Varied) -> Varied:
    """Both, with the values of the larger."""
    worst = max(one, other, key=lambda varied: varied.largest or 0.0)
    epochs = one.epochs + other.epochs
    total = (one.mean or 0.0) * one.epochs + (other.mean or 0.0) * other.epochs
    return replace(worst, epochs=epochs, mean=None if worst.mean is None else total / epochs)


_SUBNETS = """
select a.netuid as a, b.netuid as b from a_epochs a join b_epochs b using (epoch) where a.netuid <> b.netuid limit 1"""


_EPOCHS = "(select epoch::BIGINT as epoch from {side}_epochs where {span})"
_COMPARED = "select count(*) as n from a_scores join b_scores using (epoch, executor_key) where "


def _refuse_other_subnet(rows: Sequence[dict[str, object]]) -> None:
    for row in rows:
        raise OtherSubnet(f"the histories are of different subnets, {row['a']} and {row['b']}")


def _ints(numbers: Iterable[object]) -> frozenset[int]:
    return frozenset(int(str(number)) for number in numbers)


# --- questions -------------------------------------------------------------------------------------


def _questions(span: str, tolerance: float) -> Iterator[str]:
    """One SELECT of `Varied` rows for each table."""
    texts = {name: f"{{side}}.{name}" for name in ("miner_hotkey", "model", "formula")} | {
        "reasons": "list_sort(list_transform({side}.reasons, r -> r.code))::VARCHAR"
    }
    numbers = [
        f.name for f in SCHEMAS["scores"] if f.type in _NUMBERS and f.name not in {"epoch", "miner_uid"}
    ]
    yield _question("scores", "executor_key", _cells(numbers, texts), span, tolerance)
    verdict = {"code": "{side}.code", "severity": "{side}.severity"}
    yield _question("verdicts", "executor_key", _cells([], verdict), span, tolerance)
    meant = "where kind = 'meant'"
    yield _question("weights", "hotkey", _cells(["weight"], {}), span, tolerance, where=meant)


def _cells(numbers: Sequence[str], texts: dict[str, str]) -> str:
    """A list with each column's values of both sides, as numbers and as text."""
    cells = [
        f"{{'name': '{name}', 'x': a.{name}::DOUBLE, 'y': b.{name}::DOUBLE, 'a': a.{name}::VARCHAR, 'b': b.{name}::VARCHAR}}"
        for name in numbers
    ]
    for name, form in texts.items():
        of_a, of_b = form.format(side="a"), form.format(side="b")
        cells.append(f"{{'name': '{name}', 'x': null::DOUBLE, 'y': null::DOUBLE, 'a': {of_a}, 'b': {of_b}}}")
    return "[" + ", ".join(cells) + "]"


def _question(
    table: str, key: str, cells: str, span: str, tolerance: float, *, where: str = "where true"
) -> str:
    row = (
        "{'name': 'row', 'x': null, 'y': null, 'a': if(has_a, 'there', null), 'b': if(has_b, 'there', null)}"
    )
    return f"""
    with one as (select *, true as has_a from a_{table} {where} and {span}),
    other as (select *, true as has_b from b_{table} {where} and {span}),
    pairs as (
        select coalesce(a.epoch, b.epoch) as epoch, coalesce(a.{key}, b.{key}, '') as subject,
            if(has_a and has_b, {cells}, [{row}]) as cells
        from one a full join other b on a.epoch = b.epoch and a.{key} = b.{key}
    ),
    values_ as (select epoch, subject, unnest(cells) as v from pairs),
    differing as (
        select epoch, subject, v.name as name, v.a as a, v.b as b,
            if(isfinite(v.x - v.y), abs(v.x - v.y), null) as difference from values_
        where v.a is distinct from v.b and not coalesce(
            isfinite(v.x) and isfinite(v.y) and abs(v.x - v.y) <= {tolerance!r} * greatest(abs(v.x), abs(v.y)), false)
    )
    select '{table}' as "table", subject, name as "column", count(*) as epochs, max(difference) as largest,
        avg(difference) as mean, max_by({{'epoch': epoch, 'a': a, 'b': b}}, [coalesce(difference, 0), -epoch]) as worst
    from differing group by all order by largest desc nulls last, subject, "column"
    """  # noqa: S608  our own names and a number
