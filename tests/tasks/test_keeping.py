"""Keeping the history: every past day is folded, old ones go, and damage is told when the rest is done."""

import asyncio
from datetime import date

import pytest

from storage.errors import HistoryDamaged
from storage.history import archived_epochs
from storage.retention import Keep
from storage.schemas import SCHEMAS
from tasks.keeping import fold, forget_old
from tests.storage.histories import files, rows, write_days


def test_past_days_are_folded_and_old_ones_forgotten(tmp_path):
    """Today stays as it is."""
    write_days(tmp_path)

    async def keep():
        forgotten = await forget_old(tmp_path, Keep(days=1), date(2026, 8, 3))
        return forgotten, await fold(tmp_path, date(2026, 8, 3))

    forgotten, folded = asyncio.run(keep())

    assert {(one.day, one.what) for one in forgotten} == {("2026-08-01", "everything")}
    assert [(one.table, one.day) for one in folded] == [(name, "2026-08-02") for name in SCHEMAS]
    assert [len(names) for names in files(tmp_path, "scores").values()] == [2, 2]
    assert archived_epochs(tmp_path) == [3, 4, 5, 6, 7, 8]


def test_a_damaged_day_is_told_after_the_others_are_folded(tmp_path):
    """The run fails with the file's name, and nothing else is left undone."""
    write_days(tmp_path)
    damaged = tmp_path / "scores/day=2026-08-02/epoch-4.parquet"
    whole = damaged.read_bytes()
    damaged.write_bytes(b"PAR1")

    with pytest.raises(HistoryDamaged, match=r"1 of 42 days and tables.*epoch-4\.parquet"):
        asyncio.run(fold(tmp_path, date(2026, 8, 4)))

    damaged.write_bytes(whole)
    assert [len(names) for names in files(tmp_path, "scores").values()] == [2, 4, 2]
    assert len(rows(tmp_path)) == 16
