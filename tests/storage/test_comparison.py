"""Two histories beside each other: what both have, and where they differ, by machine and column."""

import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.comparison import OtherSubnet, Varied, compare
from storage.history import write_epoch
from storage.records import WeightTarget, WeightVector
from tests.storage.histories import fold, outcome, write_days


def _changed(made, **changes):
    """The epoch with these changes of its first machine's score."""
    first, *others = made.scores
    return replace(made, scores=(replace(first, **changes), *others))


def test_the_same_history_does_not_differ_from_itself(tmp_path):
    """Nor does a folded copy, and days may be cut differently."""
    write_days(tmp_path / "a")
    write_days(tmp_path / "b")
    fold(tmp_path / "b")

    found = compare(tmp_path / "a", tmp_path / "b")

    assert (found.both, found.only_a, found.only_b, found.compared, found.differences) == (
        *(tuple(range(1, 9)), (), ()),
        *(16, ()),
    )


def test_epochs_that_one_alone_has(tmp_path):
    """They are listed; only those of both are compared, and of these only the range asked for."""
    for epoch in (1, 2, 3):
        write_epoch(tmp_path / "a", outcome(epoch))
    for epoch in (2, 3, 4):
        write_epoch(tmp_path / "b", _changed(outcome(epoch), score=0.5))

    found = compare(tmp_path / "a", tmp_path / "b")

    assert (found.both, found.only_a, found.only_b, found.compared) == ((2, 3), (1,), (4,), 4)
    assert compare(tmp_path / "a", tmp_path / "b", first=3).both == (3,)


def test_differences_by_machine_and_column(tmp_path):
    """How many epochs, the largest with its values, the mean; text has no size."""
    for epoch, score in ((1, 0.3), (2, 0.4), (3, 0.6)):
        write_epoch(tmp_path / "a", outcome(epoch))
        write_epoch(tmp_path / "b", _changed(outcome(epoch), score=score, model="RTX 3090"))

    found = compare(tmp_path / "a", tmp_path / "b").differences

    assert found == (
        Varied("scores", "5Alice/m-0", "score", 2, pytest.approx(0.3), pytest.approx(0.2), 3, "0.3", "0.6"),
        Varied("scores", "5Alice/m-0", "model", 3, None, None, 1, "RTX 4090", "RTX 3090"),
    )
    assert compare(tmp_path / "a", tmp_path / "b", at_once=2).differences == (
        replace(found[0], largest=pytest.approx(0.3), mean=pytest.approx(0.2)),
        found[1],
    )
    (alone,) = compare(tmp_path / "a", tmp_path / "b", tolerance=0.4).differences[:-1]
    assert (alone.column, alone.epochs) == ("score", 1)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_differs_from_one(tmp_path, score):
    """Whatever the tolerance: a NaN is within no share of anything, and has no size that could be told."""
    write_epoch(tmp_path / "a", outcome(1))
    write_epoch(tmp_path / "b", _changed(outcome(1), score=score))

    (found,) = compare(tmp_path / "a", tmp_path / "b", tolerance=1.0).differences

    assert (found.column, found.largest, found.mean, found.a) == ("score", None, None, "0.3")


def test_rows_without_a_key_are_told(tmp_path):
    """Another validator's file may hold what ours never write."""
    for side in "ab":
        write_epoch(tmp_path / side, outcome(1))
    (path,) = (tmp_path / "b" / "scores").glob("day=*/epoch-1.parquet")
    table = pq.ParquetFile(path).read()
    keys = pa.array([None] * len(table), pa.string())
    pq.write_table(table.set_column(table.column_names.index("executor_key"), "executor_key", keys), path)

    found = compare(tmp_path / "a", tmp_path / "b").differences

    assert [(d.subject, d.column) for d in found] == [
        ("", "row"),
        ("5Alice/m-0", "row"),
        ("5Alice/m-1", "row"),
    ]


def test_verdicts_reasons_weights_and_missing_rows(tmp_path):
    """Codes of verdicts and of reasons, the shares that were meant, and a machine that one of them did not score."""
    ours = outcome(1)
    target = WeightTarget(4, "5Alice", 0.75)
    theirs = replace(
        ours,
        scores=(replace(ours.scores[0], reasons=()),),
        verdicts=(replace(ours.verdicts[0], code="WALK_TOO_SLOW"), *ours.verdicts[1:]),
        weights=WeightVector(1, (target, replace(target, uid=5, hotkey="5Bob", weight=0.25)), 0.2),
    )
    write_epoch(tmp_path / "a", ours)
    write_epoch(tmp_path / "b", theirs)

    found = compare(tmp_path / "a", tmp_path / "b").differences

    assert {(d.table, d.subject, d.column, d.a, d.b) for d in found} == {
        ("scores", "5Alice/m-0", "reasons", "[GPU_VRAM_MISMATCH]", "[]"),
        ("scores", "5Alice/m-1", "row", "there", None),
        ("verdicts", "5Alice/m-0", "code", "PROVED", "WALK_TOO_SLOW"),
        ("weights", "5Alice", "weight", "1.0", "0.75"),
        ("weights", "5Bob", "row", None, "there"),
    }


def test_other_subnets_are_refused(tmp_path):
    """Their epochs have the same numbers and nothing else in common."""
    write_epoch(tmp_path / "a", outcome(1))
    write_epoch(tmp_path / "b", replace(outcome(1), netuid=51))

    with pytest.raises(OtherSubnet, match="different subnets, 3 and 51"):
        compare(tmp_path / "a", tmp_path / "b")
