"""Compaction: small files become few, and no reader ever sees a row twice or not at all."""

import os
import shutil
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from storage import compaction, folders, history, places
from storage.compaction import MAX_GROUP_BYTES, compact
from storage.convert import tables_of
from storage.errors import HistoryDamaged
from storage.history import read_epoch, read_table, write_epoch
from storage.schemas import SCHEMAS
from tests.storage.histories import (
    LAST_DAY,
    as_schema,
    files,
    fold,
    manifest,
    outcome,
    plain_rows,
    rows,
    seen,
    write_days,
)
from tests.storage.killing import EVERY_OTHER_OR_EACH, killed_at, moments_of


def test_readers_see_the_same_before_and_after(root):
    """Epochs, transcripts, passed proofs and every table are told as before, and so they are when nothing is left to fold."""
    write_days(root)
    before = seen(root)

    done = fold(root)

    assert seen(root) == before
    assert {(f.table, f.day) for f in done} == {
        (name, day) for name in SCHEMAS for day in ("2026-08-01", "2026-08-02")
    } | {(name, "2026-08-03") for name in SCHEMAS}
    assert fold(root) == []
    assert seen(root) == before


def test_a_past_day_becomes_one_file_a_table(root):
    """Only days before the given one are folded; other tools see the rows of the one file."""
    write_days(root, epochs=8)

    fold(root, before=LAST_DAY - timedelta(days=1))

    names = files(root, "scores")
    assert [len(names[day]) for day in names] == [2, 2, 2]
    assert names["2026-08-03"] == ["epoch-7.parquet", "epoch-8.parquet"]
    assert names["2026-08-02"][0] == "_folds.json"
    assert manifest(root, "scores", "2026-08-02")["folds"][0]["epochs"] == {
        str(epoch): 3 for epoch in range(3, 7)
    }
    assert plain_rows(root) == rows(root)


def test_one_epoch_of_a_folded_day(root):
    """It is read alone, by number or with its day."""
    write_days(root)
    fold(root)

    assert rows(root) == [(e, f"5Alice/m-{m}") for e in range(1, 9) for m in range(2)]
    assert list(read_table(root, "scores", epoch=4)["epoch"]) == [4, 4]
    assert set(read_table(root, "scores", day="2026-08-02")["epoch"]) == {3, 4, 5, 6}
    assert list(read_table(root, "scores", day="2026-08-02", columns=["score"])["score"]) == [0.3] * 8


def test_an_epoch_that_comes_late_to_a_folded_day(root):
    """It counts at once, and the next compaction makes one file of the day again."""
    write_days(root, epochs=8)
    for name in SCHEMAS:
        (root / name / "day=2026-08-02/epoch-4.parquet").unlink()
    fold(root)

    write_epoch(root, outcome(4))

    assert [epoch for epoch, _ in rows(root)][4:10] == [3, 3, 4, 4, 5, 5]
    assert read_epoch(root, 4) == outcome(4)
    fold(root)
    assert [epoch for epoch, _ in rows(root)][4:10] == [3, 3, 4, 4, 5, 5]
    assert len(files(root, "scores")["2026-08-02"]) == 2


def test_a_folded_epoch_is_archived_again(root):
    """The new one counts instead, also when it falls on another day, before and after the next compaction."""
    write_days(root)
    fold(root)

    write_epoch(root, outcome(4, machines=3))
    write_epoch(root, replace(outcome(6, machines=1), started_at=outcome(7).started_at))

    for _ in range(2):
        counts = read_table(root, "scores").groupby("epoch").size().to_dict()
        assert counts == {1: 2, 2: 2, 3: 2, 4: 3, 5: 2, 6: 1, 7: 2, 8: 2}
        assert len(read_epoch(root, 4).scores) == 3
        fold(root)
    assert plain_rows(root) == sorted(rows(root))


def test_older_schemas_fold_with_newer_ones(root):
    """Epochs of schemas 1 and 2 on one day with today's are read as before, tables that they lack as empty."""
    write_days(root)
    as_schema(root, 3, 1)
    as_schema(root, 4, 2)
    before = seen(root)

    fold(root)

    assert seen(root) == before
    assert manifest(root, "epochs", "2026-08-02")["folds"][0]["epochs"] == {
        "3": 1,
        "4": 2,
        "5": 3,
        "6": 3,
    }


def test_row_groups_are_bounded(root):
    """A row group ends at so many bytes or rows: whoever goes through transcripts holds few of them."""
    heavy = outcome(1, machines=70)
    verdicts = tuple(replace(v, transcript=os.urandom(1 << 20)) for v in heavy.verdicts)
    write_epoch(root, replace(heavy, verdicts=verdicts))

    fold(root, tables=["verdicts", "epochs"])

    (path,) = (root / "verdicts").glob("day=*/fold-*.parquet")
    told = places.parquet(path).metadata
    sizes = [told.row_group(at).total_byte_size for at in range(told.num_row_groups)]
    assert len(sizes) > 2
    assert max(sizes) < 2 * MAX_GROUP_BYTES
    assert read_epoch(root, 1).verdicts == verdicts


def test_a_day_with_a_damaged_file_stays_as_it_is(root):
    """It is told, and every other day is folded."""
    write_days(root)
    damaged = root / "scores/day=2026-08-02/epoch-4.parquet"
    damaged.write_bytes(b"PAR1")

    done = fold(root, tables=["scores"])

    assert [(f.day, f.files_after, str(damaged) in f.trouble) for f in done] == [
        ("2026-08-01", 1, False),
        ("2026-08-02", 0, True),
        ("2026-08-03", 1, False),
    ]
    assert len(files(root, "scores")["2026-08-02"]) == 4


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"[1]", b'{"folds": [{"file": "../../epoch-1.parquet", "epochs": {"1": 3}}]}'),
        b'{"folds": [{"file": "fold-%s.parquet", "epochs": {"1": 3}}, {"file": "fold-%s.parquet", "epochs": {"1": 3}}]}'
        % (b"0" * 32, b"1" * 32),
        b'{"folds": [{"file": "fold-%s.parquet", "epochs": {"99999999999999999999": 3}}]}' % (b"0" * 32),
    ],
)
def test_a_strange_manifest_is_named(root, content):
    """A manifest that is none, names a file elsewhere, or an epoch twice, is damage and is not followed."""
    write_days(root)
    (root / "scores/day=2026-08-02/_folds.json").write_bytes(content)

    with pytest.raises(HistoryDamaged, match=r"day=2026-08-02/_folds\.json cannot be read"):
        read_table(root, "scores")


def test_a_fold_that_is_lost_is_damage(root):
    """A file that the manifest counts on and that is gone is told, not read as empty."""
    write_days(root)
    fold(root)
    next((root / "scores/day=2026-08-02").glob("fold-*")).unlink()

    with pytest.raises(HistoryDamaged, match="fold-"):
        read_table(root, "scores")


# --- killed ----------------------------------------------------------------------------------------


@EVERY_OTHER_OR_EACH
def test_killed_at_any_line_no_row_is_lost_or_doubled(tmp_path, every):
    """Killed wherever the folder changes: our readers see every row once, other tools never miss one, the next run ends it."""
    whole = tmp_path / "whole"
    write_days(whole, epochs=5, tables=["scores"])
    fold(whole, tables=["scores"], before=outcome(3).started_at.date())
    history._write_table(whole / "scores", "2026-08-01", 2, tables_of(outcome(2, machines=1))["scores"])
    expected = rows(whole)
    shutil.copytree(whole, tmp_path / "dry")
    moments = moments_of(lambda: fold(tmp_path / "dry", tables=["scores"]), tmp_path / "dry")

    assert len(moments) > 15
    for line in moments[::every]:
        root = tmp_path / f"killed-{line}"
        shutil.copytree(whole, root)

        assert killed_at(lambda root=root: fold(root, tables=["scores"]), line)

        assert rows(root) == expected
        assert set(plain_rows(root)) >= set(expected)
        with places.alone(root):  # as whoever archives the next epoch begins
            history.finish_tidying(root)
        assert rows(root) == expected
        fold(root, tables=["scores"])
        assert rows(root) == plain_rows(root) == expected
        assert not list(root.rglob(".fold*.part"))
        shutil.rmtree(root)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"scores", b"scores nope", b"nope 2026-08-01"])
def test_a_mark_that_lost_its_content_stops_nobody(root, content):
    """After a loss of power the file may be there without what was in it: epochs are archived and days folded."""
    write_days(root, epochs=2)
    (root / history.UNFINISHED).write_bytes(content)

    write_epoch(root, outcome(3))
    fold(root)

    assert history.archived_epochs(root) == [1, 2, 3]
    assert not (root / history.UNFINISHED).exists()


@pytest.mark.parametrize("day", ["2026-08-01", "2026-08-02"])
def test_killed_while_a_folded_epoch_is_archived_again(tmp_path, day):
    """Killed wherever the folder changes: the epoch's rows are the old ones or the new ones, on its day or on a later one."""
    whole = tmp_path / "whole"
    write_days(whole, epochs=4, tables=["scores"])
    fold(whole, tables=["scores"])
    again = tables_of(outcome(2, machines=3))["scores"]
    before, others = rows(whole), [row for row in rows(whole) if row[0] != 2]
    after = sorted([*others, *((2, f"5Alice/m-{m}") for m in range(3))])

    def write(root):
        history._write_table(root / "scores", day, 2, again)

    shutil.copytree(whole, tmp_path / "dry")
    for line in moments_of(lambda: write(tmp_path / "dry"), tmp_path / "dry"):
        root = tmp_path / f"killed-{line}"
        shutil.copytree(whole, root)

        assert killed_at(lambda root=root: write(root), line)

        assert sorted(rows(root)) in (before, after)
        write(root)
        assert sorted(rows(root)) == after
        shutil.rmtree(root)


# --- at the same time ------------------------------------------------------------------------------


def test_readers_beside_a_compaction_see_every_row_once(root):
    """While days are folded, archived again and folded again, each look gives each epoch's rows once."""
    write_days(root, epochs=8)
    expected, done = rows(root), threading.Event()

    def keep_folding():
        for _ in range(3):
            fold(root, tables=["scores", "epochs", "verdicts"])
            for epoch in (1, 4, 7):
                write_epoch(root, outcome(epoch))
        done.set()

    writer = threading.Thread(target=keep_folding)
    writer.start()
    looks = 0
    while not done.is_set():
        assert rows(root) == expected
        assert [v.transcript for v in read_epoch(root, 4).verdicts] == [b"4 0", b"4 1"]
        looks += 1
    writer.join()

    assert looks > 1


def test_an_epoch_archived_again_while_it_is_folded_wins(root):
    """What was read for the fold counts no more, so the fold is given up: nothing of the new epoch is lost."""
    write_days(root)
    (folder,) = (root / "scores").glob("day=2026-08-02")
    parts = folders.parts_of(folder)

    def meanwhile(table):
        if table["epoch"][0].as_py() == 5:
            write_epoch(root, outcome(4, machines=3))
        return table

    assert not compaction.fold_parts(root, "scores", parts, meanwhile)

    assert len(read_table(root, "scores", epoch=4)) == 3
    assert list(compact(root, LAST_DAY, ["scores"]))[1].files_after == 1
