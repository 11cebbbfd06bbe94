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


def test_by_default_everything_is_kept(tmp_path):
    """A policy that names no days forgets none."""
    write_days(tmp_path)

    assert forgettable(tmp_path, Keep(), TODAY) == []


def test_a_clock_that_is_far_ahead_makes_nothing_old(tmp_path):
    """Days are counted from the newest archived one where the clock is beyond it: one wrong night costs nothing."""
    write_days(tmp_path)

    assert forgettable(tmp_path, Keep(days=2), date(2126, 8, 4)) == forgettable(tmp_path, Keep(days=2), TODAY)
    assert forgettable(tmp_path, Keep(days=3), date(2126, 8, 4)) == []


@pytest.mark.parametrize("is_folded", [False, True])
def test_days_are_forgotten_whole(tmp_path, is_folded):
    """Days before the last two kept are gone from every table, `epochs` first; the others are as they were."""
    write_days(tmp_path)
    if is_folded:
        fold(tmp_path)
    kept = read_epoch(tmp_path, 5)

    old = forgettable(tmp_path, Keep(days=2), TODAY)
    for one in old:
        forget(tmp_path, one)

    assert {(o.day, o.what) for o in old} == {("2026-08-01", "everything")}
    assert [o.table for o in old] == ["epochs", *(name for name in SCHEMAS if name != "epochs")]
    assert archived_epochs(tmp_path) == [3, 4, 5, 6, 7, 8]
    assert read_epoch(tmp_path, 5) == kept
    assert {name: "2026-08-01" in files(tmp_path, name) for name in SCHEMAS} == dict.fromkeys(SCHEMAS, False)
    assert plain_rows(tmp_path) == rows(tmp_path)
    assert forgettable(tmp_path, Keep(days=2), TODAY) == []


@pytest.mark.parametrize("is_folded", [False, True])
def test_transcripts_are_forgotten_alone(tmp_path, is_folded):
    """Old verdicts keep everything but their transcripts, and take less room."""
    write_days(tmp_path)
    heavy = outcome(4)
    verdicts = tuple(replace(v, transcript=os.urandom(50_000)) for v in heavy.verdicts)
    write_epoch(tmp_path, replace(heavy, verdicts=verdicts))
    if is_folded:
        fold(tmp_path)

    old = forgettable(tmp_path, Keep(transcript_days=1), TODAY)
    for one in old:
        forget(tmp_path, one)

    assert [(o.table, o.day, o.what) for o in old] == [
        ("verdicts", day, "transcripts") for day in ("2026-08-01", "2026-08-02")
    ]
    assert old[1].bytes > 100_000
    assert list(read_transcripts(tmp_path, 4)) == [(v.executor_key, b"") for v in heavy.verdicts]
    assert read_epoch(tmp_path, 4) == replace(
        heavy, verdicts=tuple(replace(v, transcript=b"") for v in heavy.verdicts)
    )
    assert [t for _, t in read_transcripts(tmp_path, 7)] == [b"7 0", b"7 1"]
    assert forgettable(tmp_path, Keep(transcript_days=1), TODAY) == []


def test_an_epoch_that_comes_to_a_forgotten_day_counts(tmp_path):
    """Forgetting is of what was there: an epoch archived afterwards is history again."""
    write_days(tmp_path, epochs=2)
    write_epoch(tmp_path, outcome(8))
    for one in forgettable(tmp_path, Keep(days=1), TODAY):
        forget(tmp_path, one)

    write_epoch(tmp_path, outcome(2))

    assert (archived_epochs(tmp_path), len(read_table(tmp_path, "scores"))) == ([2, 8], 4)


def test_what_is_gone_already_is_no_trouble(tmp_path):
    """Two at once, or a plan from before: what is not there is forgotten."""
    write_days(tmp_path, epochs=2)

    forget(tmp_path, Forgotten("scores", "2026-07-01", "everything", 0))

    assert archived_epochs(tmp_path) == [1, 2]


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
