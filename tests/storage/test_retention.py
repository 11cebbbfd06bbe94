"""Retention: what is old enough is forgotten, whole days at once, and by default nothing is."""

import os
import shutil
from dataclasses import replace
from datetime import date

import pytest

from storage.history import archived_epochs, read_epoch, read_table, read_transcripts, write_epoch
from storage.retention import Forgotten, Keep, forget, forgettable
from storage.schemas import SCHEMAS
from tests.storage.histories import files, fold, outcome, plain_rows, rows, write_days
from tests.storage.killing import EVERY_OTHER_OR_EACH, killed_at, moments_of

TODAY = date(2026, 8, 4)


def test_by_default_everything_is_kept(root):
    """A policy that names no days forgets none."""
    write_days(root)

    assert forgettable(root, Keep(), TODAY) == []


def test_a_clock_that_is_far_ahead_makes_nothing_old(root):
    """Days are counted from the newest archived one where the clock is beyond it: one wrong night costs nothing."""
    write_days(root)

    assert forgettable(root, Keep(days=2), date(2126, 8, 4)) == forgettable(root, Keep(days=2), TODAY)
    assert forgettable(root, Keep(days=3), date(2126, 8, 4)) == []


@pytest.mark.parametrize("is_folded", [False, True])
def test_days_are_forgotten_whole(root, is_folded):
    """Days before the last two kept are gone from every table, `epochs` first; the others are as they were."""
    write_days(root)
    if is_folded:
        fold(root)
    kept = read_epoch(root, 5)

    old = forgettable(root, Keep(days=2), TODAY)
    for one in old:
        forget(root, one)

    assert {(o.day, o.what) for o in old} == {("2026-08-01", "everything")}
    assert [o.table for o in old] == ["epochs", *(name for name in SCHEMAS if name != "epochs")]
    assert archived_epochs(root) == [3, 4, 5, 6, 7, 8]
    assert read_epoch(root, 5) == kept
    assert {name: "2026-08-01" in files(root, name) for name in SCHEMAS} == dict.fromkeys(SCHEMAS, False)
    assert plain_rows(root) == rows(root)
    assert forgettable(root, Keep(days=2), TODAY) == []


@pytest.mark.parametrize("is_folded", [False, True])
def test_transcripts_are_forgotten_alone(root, is_folded):
    """Old verdicts keep everything but their transcripts, and take less room."""
    write_days(root)
    heavy = outcome(4)
    verdicts = tuple(replace(v, transcript=os.urandom(50_000)) for v in heavy.verdicts)
    write_epoch(root, replace(heavy, verdicts=verdicts))
    if is_folded:
        fold(root)

    old = forgettable(root, Keep(transcript_days=1), TODAY)
    for one in old:
        forget(root, one)

    assert [(o.table, o.day, o.what) for o in old] == [
        ("verdicts", day, "transcripts") for day in ("2026-08-01", "2026-08-02")
    ]
    assert old[1].bytes > 100_000
    assert list(read_transcripts(root, 4)) == [(v.executor_key, b"") for v in heavy.verdicts]
    assert read_epoch(root, 4) == replace(
        heavy, verdicts=tuple(replace(v, transcript=b"") for v in heavy.verdicts)
    )
    assert [t for _, t in read_transcripts(root, 7)] == [b"7 0", b"7 1"]
    assert forgettable(root, Keep(transcript_days=1), TODAY) == []


def test_an_epoch_that_comes_to_a_forgotten_day_counts(root):
    """Forgetting is of what was there: an epoch archived afterwards is history again."""
    write_days(root, epochs=2)
    write_epoch(root, outcome(8))
    for one in forgettable(root, Keep(days=1), TODAY):
        forget(root, one)

    write_epoch(root, outcome(2))

    assert (archived_epochs(root), len(read_table(root, "scores"))) == ([2, 8], 4)


def test_what_is_gone_already_is_no_trouble(root):
    """Two at once, or a plan from before: what is not there is forgotten."""
    write_days(root, epochs=2)

    forget(root, Forgotten("scores", "2026-07-01", "everything", 0))

    assert archived_epochs(root) == [1, 2]


@EVERY_OTHER_OR_EACH
@pytest.mark.parametrize("what", ["everything", "transcripts"])
def test_killed_at_any_line_a_day_is_there_or_gone(tmp_path, what, every):
    """Killed wherever the folder changes: all of the day's rows are as they were or as they will be, the others untouched."""
    whole = tmp_path / "whole"
    write_days(whole, epochs=4, tables=["verdicts"])
    fold(whole, tables=["verdicts"])
    write_epoch(whole, outcome(2))
    old = Forgotten("verdicts", "2026-08-01", what, 0)
    shutil.copytree(whole, tmp_path / "dry")
    moments = moments_of(lambda: forget(tmp_path / "dry", old), tmp_path / "dry")

    def verdicts(root):
        return repr(read_table(root, "verdicts").to_dict("records"))

    before, after = verdicts(whole), verdicts(tmp_path / "dry")
    assert before != after
    assert len(moments) > 5
    for line in moments[::every]:
        root = tmp_path / f"killed-{line}"
        shutil.copytree(whole, root)

        assert killed_at(lambda root=root: forget(root, old), line)

        assert verdicts(root) in (before, after)
        forget(root, old)
        assert verdicts(root) == after
        assert plain_rows(root, "verdicts") == sorted(rows(root, "verdicts"))
        shutil.rmtree(root)
